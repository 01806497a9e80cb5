/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One test failover. Private to clones*.c. */
#ifndef DAEMON_CLONES_INT_H
#define DAEMON_CLONES_INT_H

#include "daemon/clones.h"
#include "daemon/rehearsals.h"

struct clone_test {
	TAILQ_ENTRY(clone_test) link;
	struct daemon *d;
	struct clone_order order;
	char note[200];
	enum { CLONE_ASKED, CLONE_RUNS, CLONE_ENDS } phase;
	struct clone_world world;
	bool had_world; /* it had begun */
	bool stopped;	/* by an operator */
	struct ctl *c;	/* the clone's; NULL: closed */
	struct ctl *waiter;
	struct event *tick;
	uint64_t history; /* its entry there; 0: none */
	double began_s;
	int64_t ended_ns;
	json_t *report; /* of the clone; NULL: not yet */
	json_t *left;	/* at the last look */
	struct clones_lag lag;
	enum rehearsal_result result;
	char why[512];
	int asked_rc; /* why it never began */
};

/* ---- clones_notes.c ---- */
/* A note for the next daemon: run_dir/test-ID.json. */
void clones_note(const struct clone_test *t);
void clones_note_remove(const struct clone_test *t);
/* All tests of which there is a note, or a file. */
void clones_each_noted(struct daemon *d, void (*cb)(struct daemon *d, const char *vm_id,
						    const char *name, const struct clone_world *w));
/* The lag now, where the VM runs; NAN: not known. */
double clones_lag(const struct clone_test *t);

/* ---- clones_tell.c ---- */
/* The caller's. */
json_t *clones_whole_report(const struct clone_test *t);
/* Its entry in the history: it begins, it has ended, or it never began. */
void clones_begin_history(struct clone_test *t, const char *by, const struct vm *vm);
void clones_tell_history(struct clone_test *t, const json_t *report);
void clones_note_refused(struct vm *vm, const char *by, const char *note, const char *why);

#endif
