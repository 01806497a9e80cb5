/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the standby's files share. Private to hv/standby; the door is hv/hv_standby.h. */
#ifndef HV_STANDBY_STANDBY_INT_H
#define HV_STANDBY_STANDBY_INT_H

#include "hv/host/host.h"
#include "hv/hv_standby.h"
#include "hv/qemu/qemu.h"

struct hv_standby {
	const struct hv_host_ops *host; /* all that needs rights */
	void *host_arg;
	struct hv_host_qemu vm; /* its process */
	struct hv_qmp *qmp;
	struct hv_qemu qemu;
	char dir[4096];
	char name[128];
	char qmp_path[108];

	struct hv_block blocks[HV_MAX_BLOCKS]; /* in the order of desc["blocks"] */
	unsigned n_blocks, main_block;
	uint8_t *map;		   /* of main RAM */
	struct hv_host_start what; /* stays, for a fresh QEMU */
	struct tv_buf sections; /* what its own state is made of (sections.c); no data: unknown */
	json_t *desc;
	/* A promotion that failed is tried again with a fresh QEMU and these. */
	uint8_t *kept[HV_MAX_BLOCKS]; /* the blocks that lie in QEMU's memory; NULL: not kept yet */
	struct tv_err taps_why;	      /* of the last promotion; "": the taps are attached */
	char *domain;		      /* what.domain */
	bool clone;		      /* its main RAM is full from the start */
	bool spent;		      /* this QEMU has begun to load a state: it cannot again */
	bool stays;		      /* stopped, when the state is loaded */
	bool ran;		      /* the VM ran: what the memory holds is no epoch any more */
};

/* ---- argv.c ---- */
/*
 * Pure: rewrites the primary's command line into the standby's, for the QEMU that is to run it
 * (struct hv_qemu). Versioned machine type, suppress-vmdesc=on, send-configuration=off, main RAM
 * as a shared memory-backend-file, -incoming defer, every socket, pid or log file into the standby's
 * own folder, displays off, -daemonize and -S dropped; main RAM, QMP and taps are descriptors
 * (HV_HOST_FD_*). *out is a NULL-terminated vector, freed with hv_argv_free. TV_E_REFUSED names
 * what is not allowed or cannot be carried over. files, an array, gets the files of this host that
 * the standby will read: they are not looked at here, hv_media_check must. Of what, the taps are
 * filled in.
 */
int hv_standby_argv(json_t *desc, const struct hv_standby_conf *conf, const struct hv_qemu *qemu,
		    json_t *files, struct hv_host_start *what, char ***out,
		    struct tv_err *e) TV_MUST_CHECK;
void hv_argv_free(char **argv);

/* ---- domain.c ---- */
/*
 * What this host's libvirt needs to make a domain of the standby (hv_host_start.domain), the caller's
 * to free. NULL: the VM is no domain, or none that can be described; then its standby is none.
 */
char *hv_standby_domain(json_t *desc, const struct hv_standby_conf *conf);

/* ---- check_host.c ---- */
/*
 * Finds the QEMU that is to run it, and asks it: its version, what it can do, and whether it has
 * the machine type. *binary is the caller's to free. TV_E_REFUSED: it is to be another program.
 * -ENOTSUP
 */
int hv_standby_qemu(json_t *desc, const struct hv_standby_conf *conf, char **binary,
		    struct hv_qemu *out, struct tv_err *e) TV_MUST_CHECK;
/* Can this host, and the user that standbys run as, run it? Memory, bridge, TPM, KVM, files. */
int hv_standby_check(json_t *desc, const struct hv_standby_conf *conf, json_t *files,
		     const struct hv_host_start *what, struct tv_err *e) TV_MUST_CHECK;
/* May a VM go from one QEMU to another? desc: the VM's; machines: query-machines of the other. */
int hv_standby_match(json_t *desc, const char *binary, const struct hv_qemu *m, json_t *machines,
		     struct tv_err *e) TV_MUST_CHECK;
/* MemAvailable in the text of /proc/meminfo, in bytes; 0 when it is not there. */
uint64_t hv_meminfo_available(const char *text);

/* ---- mem.c ---- */
/*
 * Clears all of a fresh standby's memory. What its QEMU put there at its start (option ROMs, ACPI
 * tables) may be another version's, and a page that the primary's QEMU never touched is never sent.
 */
int hv_standby_zero(struct hv_standby *sb) TV_MUST_CHECK;

/* Copies the blocks that lie in QEMU's memory, once; they are lost with its process. */
int hv_standby_keep(struct hv_standby *sb, struct tv_err *e) TV_MUST_CHECK;
/* Writes them into the QEMU that there is now. */
int hv_standby_refill(struct hv_standby *sb) TV_MUST_CHECK;

/* ---- lost.c: pages that this host has lost ---- */
/* Main RAM is mapped: from now on what this process learns of it is noted. Of the thread that applies. */
void hv_standby_watch_map(const struct hv_standby *sb);
/* It is about to be unmapped. */
void hv_standby_unwatch_map(void);
/* Notes that a page of a block cannot be reached; returns TV_E_POISON. */
int hv_standby_lose(const struct hv_block *b, uint64_t offset);

/* ---- standby.c ---- */
/* Ends QEMU, if that has not ended by itself, and starts a fresh one with the memory kept. */
int hv_standby_restart(struct hv_standby *sb, struct tv_err *e) TV_MUST_CHECK;

/* ---- sections.c ---- */
/* Fills sb->sections. */
int hv_standby_sections(struct hv_standby *sb, struct tv_err *e) TV_MUST_CHECK;

/* ---- tpm_state.c ---- */
/* Can the standby's swtpm load the TPM's state? section: what follows the section's head. */
int hv_standby_check_tpm(const uint8_t *section, size_t bytes, struct tv_err *e) TV_MUST_CHECK;

/* ---- process.c ---- */
/* Starts QEMU with sb->what and connects to its monitor; again: after an earlier one. */
int hv_standby_launch(struct hv_standby *sb, bool again, struct tv_err *e) TV_MUST_CHECK;
/* SIGKILL, and waits until it has ended. */
int hv_standby_end(struct hv_standby *sb) TV_MUST_CHECK;
/* The last lines of a log (an open file) in one, "" when there are none. */
void hv_standby_last_words(int log_fd, char *out, size_t room);

/* The primary's oom_score_adj, within what a peer's VM may have; 0 of an older host. (check_host.c) */
int hv_standby_oom(json_t *desc);
/* Its nice value, likewise. */
int hv_standby_nice(json_t *desc);

#endif
