/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test failovers of the VMs that this host is the backup of (clone/): each is started, watched, ended and
 * cleaned up after here, whatever becomes of the command that asked, or of the daemon that began it.
 */
#ifndef DAEMON_CLONES_H
#define DAEMON_CLONES_H

#include "clone/clone.h"
#include "daemon/daemon.h"

/* Starts the maker; before this daemon gives up the right to make namespaces. */
void clones_begin(void);
/* What an earlier daemon has left is ended and removed. After registry_load. */
void clones_load(struct daemon *d);
/* False: it was not the maker. */
bool clones_exit(pid_t pid);
/* Is that process one of a clone? Then it is no VM. */
bool clones_has(pid_t pid);

/*
 * Begins a test of that VM. o: all of it but config, vm_id, vm, peer and ordered_ns, which are filled in. by:
 * as in the history; waiter: gets lines of progress, and a last one with `report`; NULL: nobody waits.
 * TV_E_REFUSED: not now (the sentence has the reason), -EBUSY: there is one; then waiter is the caller's, and
 * what was refused is in the history.
 */
int clones_test(struct vm *vm, struct clone_order *o, const char *by, const char *note,
		struct ctl *waiter, struct tv_err *e) TV_MUST_CHECK;
/* Ends the test of that VM; waiter (NULL: none) is answered when nothing of it is left. -ENOENT: there is
 * none. */
int clones_stop(struct vm *vm, struct ctl *waiter, struct tv_err *e) TV_MUST_CHECK;

/* ---- clones_report.c: pure ---- */
/* The lag of the host that runs the VM, as far as it is seen from here; NAN: not known. */
struct clones_lag {
	double before_ms, while_ms, after_ms; /* while: the highest */
};
/*
 * The report for people and programs (docs/REHEARSAL.md): of the clone's (may be NULL), with the lag, what
 * is left (borrowed), and the last failover's event (borrowed, may be NULL).
 */
json_t *clones_report(const json_t *clones, const struct clones_lag *lag, const json_t *left,
		      const json_t *failover);
/* The same with less output of probes, so that the history has room for it. */
json_t *clones_brief(const json_t *report);
/* In a list of what other hosts know (cluster.h): the VM's lag where it runs; NAN: not known. */
double clones_lag_of(const json_t *cluster, const char *vm_id);

/* ---- children.c ---- */
int spawn_clones(int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;

#endif
