/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the standby's files share. Private to hv/. */
#ifndef HV_STANDBY_H
#define HV_STANDBY_H

#include "hv/hv.h"
#include "hv/qmp.h"

#include <net/if.h>

/* Our own names in conf->dir; the rewriter gives them to nobody else. */
#define HV_STANDBY_LOG "standby.log"
#define HV_STANDBY_FILES "standby.files" /* what else lies there because of us, a name a line */
#define HV_STANDBY_QMP "standby.qmp"

struct hv_standby {
	pid_t pid;
	uint64_t start_ticks;
	int pidfd;
	int mem_fd; /* /proc/PID/mem, opened when it is needed; -1 */
	struct hv_qmp *qmp;
	char dir[4096];
	char name[128];
	char qmp_path[108];
	char bridge[IFNAMSIZ]; /* "": the user attaches the taps */
	char **argv;

	struct hv_block blocks[HV_MAX_BLOCKS]; /* in the order of desc["blocks"] */
	unsigned n_blocks, main_block;
	uint8_t *map; /* of main RAM */
	int ram_fd;
};

/* ---- standby_check.c ---- */
/*
 * Can this host run it? Files, memory, bridge, QEMU's version and machine types. *binary is the
 * QEMU to start, the caller's to free.
 */
int hv_standby_check(json_t *desc, const struct hv_standby_conf *conf, char *const *argv,
		     char **binary, struct tv_err *e) TV_MUST_CHECK;
/* MemAvailable in the text of /proc/meminfo, in bytes; 0 when it is not there. */
uint64_t hv_meminfo_available(const char *text);
/* Major * 1000 + minor of the first "N.N" in text; 0 when there is none. */
unsigned hv_version_number(const char *text);
/* Is machine the first word of a line of `-machine help`? */
bool hv_machine_listed(const char *help, const char *machine);

/* ---- standby_spawn.c ---- */
/*
 * Starts a program as nobody's child (init's), in its own session, with stdin from /dev/null,
 * stdout and stderr to log_path, and no other file of ours. cwd is used when it exists.
 */
int hv_spawn_detached(const char *path, char *const *argv, const char *cwd, const char *log_path,
		      pid_t *pid, int *pidfd, struct tv_err *e) TV_MUST_CHECK;
/* Runs a program to its end and returns what it wrote to stdout, the caller's to free. */
int hv_spawn_capture(const char *path, char *const *argv, int timeout_ms, char **out,
		     struct tv_err *e) TV_MUST_CHECK;
/* SIGKILL, and waits until the process has ended. -ETIMEDOUT, -errno. */
int hv_pidfd_kill(int pidfd, int timeout_ms) TV_MUST_CHECK;
/* Has it ended? Waits at most timeout_ms. */
bool hv_pidfd_ended(int pidfd, int timeout_ms);

/* ---- standby_files.c ---- */
/* The last lines of standby.log in one, "" when there are none. */
void hv_standby_last_words(const char *dir, char *out, size_t room);
/* Writes down which files in dir this command line makes QEMU create. */
int hv_standby_note_files(const char *dir, char *const *argv, struct tv_err *e) TV_MUST_CHECK;
/* Removes them; with_log: standby.log too. */
void hv_standby_remove_files(const char *dir, bool with_log);

/* ---- standby_tap.c ---- */
/* The nth tap of a command line; false when there are no more. */
bool hv_standby_tap(char *const *argv, unsigned nth, char name[IFNAMSIZ]);
/* All taps join the bridge and go up. */
int hv_standby_taps_up(const struct hv_standby *sb, struct tv_err *e) TV_MUST_CHECK;

#endif
