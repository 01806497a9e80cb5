/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The history of rehearsals of each VM on this host: what was tried before it was needed, when, and what
 * came of it. Kept in state_dir/rehearsals/VMID, over the daemon's end: REHEARSALS_KEPT for a VM, of which
 * the newest of each kind, and the newest of each kind that passed, are never the ones that go. The command
 * that rehearses calls rehearsals_begin and rehearsals_end; events, status, metrics and the dashboard follow
 * from that. In the loop only.
 */
#ifndef DAEMON_REHEARSALS_H
#define DAEMON_REHEARSALS_H

#include "replicator/session/session.h"

struct daemon;

enum rehearsal_kind {
	REHEARSAL_TEST_FAILOVER, /* an isolated clone was started */
	REHEARSAL_DRILL,	 /* a planned switch there and back */
	REHEARSAL_VERIFY,	 /* both sides were compared */
	REHEARSAL_SNAPSHOT,	 /* an epoch was written to files */
	REHEARSAL_KINDS,
};
enum rehearsal_result {
	REHEARSAL_RUNNING, /* it has not ended */
	REHEARSAL_PASSED,
	REHEARSAL_FAILED,    /* what was tried does not work */
	REHEARSAL_REFUSED,   /* nothing was tried */
	REHEARSAL_CUT_SHORT, /* something more important came, or a process of twinvm died */
	REHEARSAL_RESULTS,
};
/* "test-failover", "drill", "verify", "snapshot"; "running", "passed", "failed", "refused", "cut short".
 * _parse: REHEARSAL_KINDS, REHEARSAL_RESULTS: no such word. */
extern const struct field_words rehearsal_kind_words, rehearsal_result_words;
/* The same as a field's name: test_failover. */
const char *rehearsal_key(enum rehearsal_kind kind);
extern const struct fields rehearsal_fields; /* of struct rehearsal */

struct rehearsal {
	uint64_t id; /* of this VM on this host: only grows; 0: none. rehearsals_begin gives it */
	enum rehearsal_kind kind;
	enum rehearsal_result result;
	double started, ended;	    /* CLOCK_REALTIME, s since 1970; ended is NAN while it runs */
	uint64_t generation, epoch; /* what was rehearsed; 0: not known (yet) */
	char by[96];		    /* "operator", "operator on HOST", "schedule", "dashboard" */
	char reason[320]; /* one line for people: why it failed, or what it found; may be "" */
	char note[200];	  /* the operator's own */
	/* What was measured, an object of the command's own: docs/REHEARSAL.md. NULL: nothing. One whose text
	 * is longer than REHEARSAL_FIGURES_BYTES is left out; the reason has a word of that. */
	json_t *figures;
};
#define REHEARSALS_KEPT 24
#define REHEARSAL_FIGURES_BYTES (6u << 10)
#define REHEARSALS_FILE_BYTES (REHEARSALS_KEPT * (REHEARSAL_FIGURES_BYTES + 4096u))

/*
 * One begins: an event, and an entry that runs. Of r count kind, generation, epoch, by and note; figures are
 * stolen. Texts are made UTF-8 of one line. vm_id: 32 hexadecimal digits; name: for events. Returns its id;
 * 0: that is no VM's id. It never waits but for the disk, and a disk that is full changes nothing: the
 * history is written when there is room.
 */
uint64_t rehearsals_begin(struct daemon *d, const char *vm_id, const char *name,
			  struct rehearsal *r);
/*
 * It has ended: of r count result (not RUNNING), reason, and where they are set generation, epoch, note and
 * figures (stolen). An event. -ENOENT: there is no such entry that runs (r->figures is freed all the same).
 */
int rehearsals_end(struct daemon *d, const char *vm_id, const char *name, uint64_t id,
		   struct rehearsal *r);
/* What never began: begin and end in one (one event). */
void rehearsals_refused(struct daemon *d, const char *vm_id, const char *name, struct rehearsal *r);
/* Each VM of which there is a history here; cb may end entries of it. */
void rehearsals_each(struct daemon *d, void (*cb)(struct daemon *d, const char *vm_id, void *arg),
		     void *arg);
/* After a start of the daemon: those of that kind that run by the file, which the caller has not found
 * again, have been cut short. vm_id: NULL: of all VMs. */
void rehearsals_cut_short(struct daemon *d, const char *vm_id, enum rehearsal_kind kind,
			  const char *why);

/* The newest of that kind, of any result but RUNNING (passed: only such); NULL: none is kept. Borrowed
 * until the next call of one of these functions. */
const struct rehearsal *rehearsals_last(struct daemon *d, const char *vm_id,
					enum rehearsal_kind kind, bool passed);
/* The newest of that kind that runs; NULL: none. */
const struct rehearsal *rehearsals_running(struct daemon *d, const char *vm_id,
					   enum rehearsal_kind kind);
/* Since when this VM's history is kept here, in s since 1970: for one of which nothing is, from now_s on. */
double rehearsals_since(struct daemon *d, const char *vm_id, double now_s);
/* As JSON (docs/REHEARSAL.md); figures: with them. NULL: no memory. */
json_t *rehearsal_json(const struct rehearsal *r, bool figures);
/* The newest `limit` (0: all) of a VM as an array, newest first. */
json_t *rehearsals_json(struct daemon *d, const char *vm_id, unsigned limit, bool figures);
/* For status: an object with the last one of each kind, without figures, and when it passed last:
 * {"drill": {"last": {…}, "passed": s since 1970, "running": {…}}}. Empty: none is kept. */
json_t *rehearsals_status(struct daemon *d, const char *vm_id);
/* Frees what is in memory; the files stay. */
void rehearsals_stop(struct daemon *d);

#endif
