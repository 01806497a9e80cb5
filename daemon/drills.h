/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drills: a planned switch there and back, with a report (docs/REHEARSAL.md). The daemon of the host that
 * runs the VM carries it out: it orders the switch, becomes the backup, shows in its view that it wants the
 * VM back (view.c), and the other host's daemon, which sees that, orders the switch back. Whoever asked for
 * the drill may go away meanwhile.
 */
#ifndef DAEMON_DRILLS_H
#define DAEMON_DRILLS_H

#include "daemon/daemon.h"

/* ---- drills.c ---- */
void drills_start(struct daemon *d);
/* What this host wants back, for other hosts: an array of {id, generation}; NULL: nothing. */
json_t *drills_json(struct daemon *d);
/* Does a drill of that VM run here? */
bool drills_has(const struct daemon *d, const char *vm_id);

/* ---- drill_may.c: the start ---- */
/* 0; TV_E_REFUSED and why; -EINVAL: this host does not run it. */
int drill_may_begin(const struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* Another rehearsal of the VM runs, here or on its other host. */
bool drill_is_rehearsed(const struct vm *vm);
/* The bridge of the VM's first tap; without one the configured. */
void drill_find_bridge(const struct vm *vm, char *out, size_t room);

/* ---- drill_figures.c: pure ---- */
/* Lag and pauses of a session. */
json_t *drill_numbers(const struct session_stats *s);
/* Of an event `failover` of that generation: its outage, in phases. NULL: none. Numbers only: it may be
 * another host's. */
json_t *drill_outage_of(const json_t *events, const char *vm_id, uint64_t generation);

/* ---- drill_back.c: the other host's side ---- */
/* A VM has come here by a planned switch: its former host may ask for it back. */
void drill_back_note(const struct vm *vm);
/* What an earlier daemon has noted, as its events have it. */
void drill_back_start(struct daemon *d);
/* A peer wants these back, as its view has it: a peer's word. What may be given back is. */
void drill_back_wishes(struct daemon *d, const char *peer, const json_t *wishes);
/* In turn of the drills: what a peer wants back is given back, if it may be. */
void drill_back_look(struct daemon *d);

/* ---- inner.c: this daemon as a client of its own commands ---- */
/* run: command_run. Set once, before the loop turns. */
void inner_start(void (*run)(struct daemon *d, struct ctl *c, json_t *msg));
/*
 * Carries out a command as if an operator had given it; msg is stolen. cb (may be NULL) is called once, in
 * the loop, with the last line: rc, and why it failed. -errno: it was not called, and is not.
 */
typedef void inner_cb(struct daemon *d, int rc, const char *error, json_t *last, void *arg);
int inner_run(struct daemon *d, json_t *msg, inner_cb *cb, void *arg) TV_MUST_CHECK;
/* The same with all lines of the answer: *out is the client's connection, the caller's. */
int inner_open(struct daemon *d, json_t *msg, const struct ctl_ops *ops, void *arg,
	       struct ctl **out) TV_MUST_CHECK;

/* ---- pinger.c: how long did the VM not answer? ---- */
struct pinger;
struct pinger_gap {
	unsigned sent, answered;
	double longest_ms; /* between two answers that followed each other */
};
/* ARP probes to that IPv4 address from this host's bridge, every 10 ms. -EINVAL: no address; -ENODEV: no
 * such bridge; -errno. */
int pinger_start(struct daemon *d, const char *bridge, const char *address, struct pinger **out,
		 struct tv_err *e) TV_MUST_CHECK;
/* Ends a stretch: cb is called once with what was seen in it, ok: false when the process is gone. */
typedef void pinger_cb(void *arg, bool ok, const struct pinger_gap *gap);
void pinger_mark(struct pinger *p, pinger_cb *cb, void *arg);
/* Its callback is not called any more. NULL: does nothing. */
void pinger_stop(struct pinger *p);
/* The process: until fd closes. */
int pinger_main(const char *bridge, const char *address, int fd);

/* ---- children.c ---- */
int spawn_pinger(const char *bridge, const char *address, int fd, pid_t *pid,
		 struct tv_err *e) TV_MUST_CHECK;

#endif
