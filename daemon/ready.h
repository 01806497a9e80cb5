/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rehearsal of the decision: would a failover of this VM succeed if its host died now? A list of checks,
 * each with a verdict, made on the backup's host without side effects (docs/REHEARSAL.md). ready_list.c
 * judges, and is pure; ready_look.c looks at what may block, in a process of its own; ready.c keeps what it
 * found, and answers `twinvm test-failover VM --check`.
 */
#ifndef DAEMON_READY_H
#define DAEMON_READY_H

#include "daemon/daemon.h"

enum ready_verdict {
	READY_YES,
	READY_NO,
	READY_UNKNOWN,	/* it was not looked at, or cannot be */
	READY_OPERATOR, /* it works, and only at an operator's order */
	READY_VERDICTS,
};
const char *ready_verdict_word(enum ready_verdict v);

struct ready_check {
	const char *name; /* docs/REHEARSAL.md */
	bool needed;	  /* a failover needs it: a NO is one of the whole list */
	enum ready_verdict verdict;
	char text[280]; /* why; of a NO with the remedy */
};
#define READY_MAX_CHECKS 12
struct ready_list {
	unsigned n;
	struct ready_check checks[READY_MAX_CHECKS];
};

/* What a process finds on this host and at the arbiter. */
struct ready_look {
	/* The record: 0, -ENOENT, or why it cannot be read. */
	int record_rc;
	char record_text[200];
	uint64_t record_generation;
	bool record_alone;
	char record_primary[64], record_backup[64], record_session[33];
	char bridge[16], bridge_is[16]; /* "", ok, missing, other (no bridge), down */
	uint64_t taps, taps_lost;	/* of the standby's QEMU; gone from the host */
	char run[4];			/* its process's state letter; "": it has ended */
	uint64_t swap_kib, locked_kib, free_kib,
		limit_left_kib; /* UINT64_MAX: not known, no limit */
	bool program_gone;	/* its program's file is not there any more */
	uint64_t images, image_bytes, grow_bytes, disk_free_bytes;
	int disks_rc;
	bool fence_asked;
	int fence_status; /* exit status; -1: it did not end by itself */
	char fence_text[160];
};
extern const struct fields ready_look_fields;

/* All that is judged. Texts are borrowed. */
struct ready_facts {
	const char *vm, *host, *peer, *session;
	uint64_t generation, epoch;
	bool arbiter;				 /* not "none" */
	bool fence, fence_decides, fence_checks; /* fence_command, fence_required, fence_check */
	bool whole;				 /* a session runs, and its state is protected */
	const char *state;			 /* of it */
	bool kept;				 /* a promotion has failed: FO_B_KEPT */
	double silent_s;  /* since the replicator has reported; since the primary's */
	double contact_s; /* last sign of life; NAN: not known */
	enum fo_health health, peer_health;
	const char *health_why, *peer_health_why;
	bool peer_answers, peer_away, reprotect; /* peer_away: it is in maintenance */
	const struct ready_look *look;		 /* NULL: none yet */
};
/* (ready_list.c) Pure. */
void ready_judge(const struct ready_facts *f, struct ready_list *out);
/* The first needed check that says no; NULL: none does. */
const struct ready_check *ready_first_no(const struct ready_list *l);
/* {"ready": bool, "why": text, "checks": [...]}. NULL: no memory. */
json_t *ready_json(const struct ready_list *l);

/* (ready_look.c) The process: writes what it found to fd, as JSON. */
int ready_look_main(const char *job_text, bool ask_fence, int fd);

/* ---- ready.c ---- */
/* From now on the VMs of which this host is the backup are looked at now and then. */
void ready_start(struct daemon *d);
/* False: it was not such a process. */
bool ready_exit(struct daemon *d, pid_t pid, int status);
/* For this host as the backup, by the last look and what is known now. False: it is not its backup. */
bool ready_of(const struct vm *vm, struct ready_list *out);
/*
 * For status: as ready_json, with `host`, which is the backup, and `time` of the last look (s since 1970).
 * On the primary what the backup has reported last, if it answers. NULL: nothing is known.
 */
json_t *ready_status(const struct vm *vm);
/*
 * A fresh look, then cb is called in the loop, once: l is the list. For those who rehearse: on the backup's
 * host only. -EBUSY, -errno: cb is not called.
 */
typedef void ready_cb(struct daemon *d, const char *vm_id, const struct ready_list *l, void *arg);
int ready_ask(struct vm *vm, ready_cb *cb, void *arg, struct tv_err *e) TV_MUST_CHECK;

/* ---- children.c ---- */
int spawn_ready(struct vm *vm, bool ask_fence, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;

#endif
