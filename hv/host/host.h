/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv/host: everything for a standby that needs rights on this host. It starts the QEMU of one
 * standby, opens its memory for others, signals it, attaches its taps, and removes what it leaves
 * behind. Plain structs and descriptors go in and come out; nothing that a peer sent is parsed
 * here, but for the command line that QEMU gets, which is passed on as it is.
 *
 * hv/standby calls it through struct hv_host_ops, so that each call can become one message to a
 * process with more rights than the caller's. In one process: hv_host_new, then hv_host_ops with
 * the struct hv_host as arg.
 *
 * Call order: hv_host_new; start, then qmp, signal and taps in any order; start again after the
 * first QEMU has ended; clean after the last has; hv_host_free. hv_host_reap by pid, from any
 * process with rights, when the owner died.
 *
 * Ownership: descriptors that come out belong to the caller; those that go in stay the caller's.
 * The QEMU is a child of init and outlives everybody here. One thread at a time per struct hv_host.
 */
#ifndef HV_HOST_HOST_H
#define HV_HOST_HOST_H

#include "hv/qemu/qemu.h"

#include <net/if.h>

#define HV_HOST_MAX_TAPS 16

/* Chosen on this host, by its configuration and its own names: never by a peer. */
struct hv_host_conf {
	const char *dir;    /* the standby's run directory; exists */
	const char *bridge; /* that taps join at promotion; NULL: none, an operator attaches them */
};
struct hv_host;
int hv_host_new(const struct hv_host_conf *conf, struct hv_host **out,
		struct tv_err *e) TV_MUST_CHECK;
/* QEMU is left as it is. NULL is allowed. */
void hv_host_free(struct hv_host *h);

/* What to start. */
struct hv_host_start {
	const char *binary;
	char *const *argv; /* argv[0] is replaced by binary */
	bool again;	   /* after an earlier one: its log is continued, not begun anew */
	/* Names of the taps on the command line. */
	char taps[HV_HOST_MAX_TAPS][IFNAMSIZ];
	unsigned n_taps;
};
/* What came of it. */
struct hv_host_qemu {
	pid_t pid;
	uint64_t start_ticks;
	int pidfd;		/* readable when QEMU has ended */
	struct hv_proc_fds fds; /* its memory, its map, its program */
	int log_fd;		/* what it prints, to be read */
};
void hv_host_qemu_init(struct hv_host_qemu *q);
/* Closes the descriptors. */
void hv_host_qemu_dispose(struct hv_host_qemu *q);

struct hv_host_ops {
	/* Runs that QEMU without a machine, and asks it what it can do: as hv_qemu_run. */
	int (*qemu)(void *arg, const char *binary, struct hv_qemu *out, json_t **machines,
		    struct tv_err *e) TV_MUST_CHECK;
	/* Starts QEMU; what an earlier one left in the run directory is removed before. When it
	 * fails, nothing runs. */
	int (*start)(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		     struct tv_err *e) TV_MUST_CHECK;
	/* A new connection to QEMU's monitor. -ENOENT, -ECONNREFUSED: not yet. */
	int (*qmp)(void *arg, int *fd, struct tv_err *e) TV_MUST_CHECK;
	/* SIGKILL, SIGSTOP or SIGCONT for the QEMU started last; one that has ended is no error. */
	int (*signal)(void *arg, int sig) TV_MUST_CHECK;
	/* The taps of the QEMU started last go up and join the bridge; may be called again.
	 * TV_E_GONE: QEMU has ended. */
	int (*taps)(void *arg, struct tv_err *e) TV_MUST_CHECK;
	/* Removes what QEMU, which has ended, left in the run directory; with_log: its log too. */
	void (*clean)(void *arg, bool with_log);
};
/* In this process; arg is a struct hv_host. */
extern const struct hv_host_ops hv_host_ops;

/* Ends the QEMU with that pid, if it is that one by its start time, and removes what lies in dir. */
void hv_host_reap(pid_t pid, uint64_t start_ticks, const char *dir);

/* ---- programs ---- */
/* The path without its folders. */
const char *hv_host_base_name(const char *path);
/*
 * The QEMU with the base name of that name in one of the folders ("/a:/b"); *out is the caller's to
 * free. -EINVAL: it is no QEMU's name; -ENOENT: none of them has it.
 */
int hv_host_find_emulator(const char *folders, const char *name, char **out) TV_MUST_CHECK;

/* ---- names in the run directory ---- */
#define HV_HOST_LOG "standby.log"
#define HV_HOST_FILES "standby.files" /* what else lies there because of QEMU, a name a line */
#define HV_HOST_QMP "standby.qmp"

#endif
