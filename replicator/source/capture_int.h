/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture thread's insides; private to this room. Its files in layers, each calls only files of
 * the layers before: capture_report; capture_wish, capture_epoch; capture_sync; capture.
 */
#ifndef REPLICATOR_SOURCE_CAPTURE_INT_H
#define REPLICATOR_SOURCE_CAPTURE_INT_H

#include "common/mailbox.h"
#include "replicator/source/capture.h"
#include "replicator/source/precopy.h"

#include <pthread.h>
#include <stdatomic.h>

/* A QEMU that hangs is waited for, or ended, as hung_qemu has it (hung.c). */
#define QMP_TIMEOUT_MS (3600 * 1000)

struct cap_order {
	enum cap_cmd cmd;
	uint64_t n;
	uint64_t wish, operator; /* the newest ones when it was posted */
};

struct cap {
	struct cap_conf conf;
	struct encoder *en;
	pthread_t thread;
	struct tv_box orders; /* loop -> thread, struct cap_order; never waits */
	struct tv_box events; /* thread -> loop, struct cap_event; the thread may wait */
	struct event *ev;
	atomic_uint_fast64_t wish;     /* the loop's; odd: the VM is to be stopped */
	atomic_uint_fast64_t operator; /* the loop's; odd: an operator wants it suspended */
	atomic_bool pausing;	       /* the thread's: see cap_holds_up */
	atomic_bool release_waits;     /* the loop's, for the end of that */
	/* the thread's: */
	uint64_t operator_obeyed;
	uint64_t obeyed; /* the wish that was carried out last */
	struct hv_vm *vm;
	bool gone, disks_copied;
	bool cut;	   /* the monitor's connection has ended, QEMU has not */
	bool ending;	   /* QEMU has reported that it shuts down */
	bool look;	   /* the run state may have changed */
	bool look_media;   /* what is in the drives may have changed */
	bool looked_disks; /* a mirror has ended: it was asked whether its disk is gone */
	bool changed;	   /* it has: reported, once */
	bool poisoned;	   /* a memory error was seen: reported, and nothing is captured any more */
	int64_t looked_ns;
	bool three_commands; /* an epoch takes them: that was logged */
	bool raised;	     /* its priority */
	struct precopy precopy;
	struct slot *kept;  /* what an epoch that came to nothing has copied ahead; NULL: none */
	bool only_attached; /* nothing was done with the VM since */
	bool stopped; /* by us, between epochs: in_pause shows it to whoever cleans up after us */
};

/* ---- capture_report.c: to the loop ---- */
/* PROGRESS may be dropped when the loop is behind, everything else waits for room. */
void cap_emit(struct cap *c, const struct cap_event *ev);
/* A call failed (e may be NULL): FAILED, or GONE when it did because QEMU is ending. */
void cap_fail(struct cap *c, int rc, const struct tv_err *e, const char *what);
/* A memory error in the VM: the loop gets it, once. why: of a page that cannot be read; NULL: QEMU's word. */
void cap_poison(struct cap *c, enum hv_event what, const struct tv_err *why);
/* For hv_events. */
void cap_on_vm_event(enum hv_event what, const char *name, void *arg);
void cap_vm_gone(struct cap *c);
/* hv_events has failed: the VM's end, or that of the connection to its monitor. */
void cap_cut(struct cap *c, int rc);

/* ---- capture_media.c: what is in the drives, how large the disks are, and are they there ---- */
/*
 * Is it still as described? Asked when QEMU has sent an event of it, and once a second: not every drive
 * has an event. False: it is not, the loop has got FAILED, and no epoch counts any more. Only while the VM
 * is not stopped by us.
 */
bool cap_media_ok(struct cap *c);
/* Milliseconds until that is due; -1: never. */
int cap_media_due_ms(const struct cap *c);

/* ---- capture_wish.c: stopped or running ---- */
/* HOT. A pause is about to be asked for, or is over: for the disks, and for the daemon, which looks
 * after us while the VM may stand (page.h). */
void cap_pausing(struct cap *c, bool on);
/* Carries out the newest wish, and an operator's, if that was not done yet. */
void cap_obey(struct cap *c);
/* An operator's only: at a moment at which the VM may be stopped or run, in a first copy too. */
void cap_obey_operator(struct cap *c);
/* Any thread. Is there one that was not carried out yet? */
bool cap_operator_waits(struct cap *c);
/* HOT, any thread. */
bool cap_wants_stopped(const struct cap *c);
/* Is there a newer wish than when the order was posted? */
bool cap_is_overtaken(const struct cap *c, const struct cap_order *o);
/*
 * HOT. The end of a pause that hv_pause or hv_epoch_begin began with pause_rc: the VM runs again,
 * unless an operator had paused it, or it is to stay stopped (then c->stopped is set). QEMU may
 * have resumed it by itself.
 */
int cap_end_pause(struct cap *c, int pause_rc, bool stay);

/* ---- capture_epoch.c ---- */
void cap_epoch(struct cap *c, const struct cap_order *o);
/* Harvests and copies what has room in s. HOT. t (may be NULL): how long; taken_ns is the end of what was
 * before. */
int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur, struct cap_stamps *t);
bool cap_has_disks(struct cap *c);

/* ---- capture_sync.c: the first copy ---- */
void cap_sync(struct cap *c);

#endif
