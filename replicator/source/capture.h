/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture thread: the only one that talks to the VM. It attaches, copies the whole VM, captures
 * epochs and detaches, as the loop orders; answers come back in the loop, in order. That the VM be
 * stopped or run is a wish beside the orders (capture_wish.c).
 */
#ifndef REPLICATOR_SOURCE_CAPTURE_H
#define REPLICATOR_SOURCE_CAPTURE_H

#include "replicator/source/encoder.h"
#include "hv/hv.h"
#include "replicator/session/session.h"

enum cap_cmd {
	CAP_HASH,	 /* before the VM is attached -> CAP_EV_HASHING..., CAP_EV_HASHED */
	CAP_ATTACH,	 /* -> CAP_EV_ATTACHED */
	CAP_READ_FILE,	 /* n = file << 48 | offset -> CAP_EV_FILE */
	CAP_HOLD_NET,	 /* n = enum cap_net -> CAP_EV_NET_HELD */
	CAP_SYNC,	 /* -> CAP_EV_PROGRESS..., CAP_EV_SYNCED */
	CAP_EPOCH,	 /* n = epoch -> CAP_EV_CAPTURED, NOT_RUNNING or OVERTAKEN */
	CAP_TIMED_EPOCH, /* the same; nobody waits for it: pages may be copied ahead of its pause */
	CAP_LAST_EPOCH,	 /* the same, and the VM stays stopped */
	CAP_STILL_EPOCH, /* the same, of a VM that an operator has suspended; OVERTAKEN: it runs */
	CAP_LOOK,	 /* -> CAP_EV_STATE; not while a wish or an epoch stops it */
	CAP_EXPORT, /* n = a listening socket: the disks as NBD exports there -> CAP_EV_EXPORTED */
	CAP_UNEXPORT, /* not any more */
	CAP_COMPARE,  /* there is something to read for conf.compare */
	CAP_QUIT_VM,  /* ends its process: -> CAP_EV_VM_GONE, or CAP_EV_FAILED */
	CAP_DETACH,   /* n != 0: leave the VM stopped -> CAP_EV_DETACHED, the last */
};
/* CAP_NET_ANY looks for taps first (hv_opts.net_below), and adds filters where that is not
 * possible. */
enum cap_net { CAP_NET_ANY, CAP_NET_FILTERS };
enum cap_event_kind {
	CAP_EV_HASHING, /* bytes of all_bytes of the files that the VM reads are read */
	CAP_EV_HASHED,
	CAP_EV_ATTACHED,
	CAP_EV_FILE,
	CAP_EV_NET_HELD,
	CAP_EV_EXPORTED,
	CAP_EV_PROGRESS,
	CAP_EV_SYNCED,
	CAP_EV_CAPTURED,
	CAP_EV_NOT_RUNNING, /* instead of CAPTURED: an operator has paused the VM */
	CAP_EV_OVERTAKEN,   /* instead of CAPTURED: there is a wish since the order */
	CAP_EV_STOPPED,	    /* a wish for that was carried out; there may be a newer one */
	CAP_EV_SUSPENDED,   /* cap_want_suspended was carried out, or not: rc */
	CAP_EV_UNPAUSED,    /* after cap_holds_up */
	CAP_EV_VM,
	CAP_EV_STATE, /* the run state, after an event of QEMU's or CAP_LOOK */
	CAP_EV_VM_GONE,
	CAP_EV_FAILED,
	CAP_EV_DETACHED,
};
/*
 * When each part of an epoch's pause was over, for the trace. Between barrier_ns and taken_ns pages are
 * found, copied and waited for in turns: of these there are sums.
 */
struct cap_stamps {
	int64_t stopped_ns, barrier_ns, taken_ns, saved_ns, running_ns;
	int64_t harvest_ns, copy_ns, room_ns; /* how long */
	int64_t checked_ns;		      /* after the pause: the epoch is whole */
	int64_t ahead_ns;     /* before the pause: copying pages ahead was begun; 0: it was not */
	uint64_t ahead_pages; /* that were */
	uint64_t state_bytes;
};
struct cap_event {
	enum cap_event_kind kind;
	int rc;
	struct tv_err e;
	char *text; /* ATTACHED: description as JSON; the receiver frees it. NET_HELD: see there.
		     * FILE: what was read */
	uint64_t bytes;	    /* FILE, HASHING */
	uint64_t all_bytes; /* HASHING */
	double progress;    /* PROGRESS */
	unsigned ndisks;    /* PROGRESS: of disks; 0: that is not known now */
	float copied[HV_MAX_DISKS];
	uint64_t epoch, pages;
	uint64_t wish; /* STOPPED: for cap_is_newest */
	bool still;    /* CAPTURED: by CAP_STILL_EPOCH; SUSPENDED: what was wanted */
	int64_t pause_start_ns, pause_ns;
	int64_t stop_ns;	  /* of pause_ns, until the VM was stopped and its disks flushed */
	struct cap_stamps stamps; /* CAPTURED */
	/* NET_HELD: taps to be held below QEMU, or else ports of filters; text says why not taps */
	struct hv_tap taps[HV_MAX_NICS];
	struct hv_net_port ports[HV_MAX_NICS];
	unsigned ntaps, nports;
	enum hv_event
		vm_event; /* VM; a memory error, once, comes before what is not captured for it: e */
	bool unreadable;  /* VM, of a memory error: a page was met that cannot be read */
	const struct hv_run_state *state; /* STATE; NULL: QEMU did not say */
};

struct cap;
struct cap_conf {
	struct hv_vm_id vm;
	struct hv_opts opts;
	struct cap_page *page;
	/* HOT: a pause is about to be asked for, or is over. */
	void (*pausing)(void *arg, bool on);
	/* HOT: sets the barrier of network and disks; called with the VM paused. */
	int (*barrier)(void *arg, uint64_t epoch);
	/* Disks: QEMU's end of a socket to mirror a disk of that size to; and all of them are
	 * copied. */
	int (*disk)(void *arg, uint64_t bytes, int *fd);
	/* Waits until each of these sockets has carried a request. -ETIMEDOUT, -ECANCELED. */
	int (*disks_begun)(void *arg, int timeout_ms);
	void (*disks_copied)(void *arg);
	/* Would disk() wait now, for the backup? Then memory is copied first. */
	bool (*disks_wait)(void *arg);
	struct compare *compare; /* parts of the VM that are compared with the backup */
	void (*event)(const struct cap_event *ev, void *arg);
	void *arg;
};
int cap_new(struct event_base *base, const struct cap_conf *conf, struct encoder *en,
	    struct cap **out) TV_MUST_CHECK;
/* Loop. At most CAP_ORDERS are open at once; more is a mistake of the caller's, and ends the
 * process. */
#define CAP_ORDERS 16
void cap_post(struct cap *c, enum cap_cmd cmd, uint64_t n);
/*
 * Loop. The VM is to be stopped (-> CAP_EV_STOPPED, one at least for the newest such wish), or to
 * run again if a wish or CAP_LAST_EPOCH stopped it; what an operator has stopped stays so. Any
 * number of wishes may be open: the newest counts. It may be carried out before orders that were
 * posted before it, never after orders that were posted after it. It waits for the end of a first
 * copy: encoder_stop brings that about.
 */
void cap_want_stopped(struct cap *c, bool stopped);
/* Loop. Has none been made since the one that a CAP_EV_STOPPED is about? */
bool cap_is_newest(const struct cap *c, uint64_t wish);
/*
 * Loop. An operator wants the VM suspended, or to run: carried out between epochs, at any time, also
 * during a first copy and before the VM is attached; never lost. A VM that is to be stopped by a wish
 * as well runs again when both allow it. One at a time: -> CAP_EV_SUSPENDED.
 */
void cap_want_suspended(struct cap *c, bool suspended);
/*
 * Loop. Does QEMU stand in a pause, or is it about to? It reads nothing then, so what is written to it
 * waits there. CAP_EV_UNPAUSED follows.
 */
bool cap_holds_up(struct cap *c);
/* Loop, while the VM is attached. Since when QEMU owes an answer (0: it does not), and what its
 * process waits for. */
int64_t cap_asked_ns(const struct cap *c);
const char *cap_stuck(const struct cap *c);
/* Loop. SIGKILL to QEMU, which hangs: CAP_EV_VM_GONE follows. */
int cap_kill_vm(struct cap *c) TV_MUST_CHECK;
/* Loop. Joins the thread (after encoder_stop); detaches first from a VM that nothing was done with
 * yet. */
void cap_free(struct cap *c);

#endif
