/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor: the process with rights beside a sink, which has none. The door of this room.
 *
 * Theory of operation
 *
 * The sink parses what another host sends, so it runs as a user without rights (drop.c). What needs
 * rights is done by a second process, the monitor, which is forked before anything is received and
 * has no connection to the other host (the model is OpenSSH's). The sink asks it for a handful of
 * things, the verbs (verbs.h), each a struct of fixed size over a pair of sockets. The monitor does
 * not trust the sink: it takes nothing from it that would make it act on another VM, another folder
 * or another program than the ones of this session.
 *
 *   twinvmd --fork--> sink (user sink_user) ==TLS== the other host
 *                       | fork, before the rights are dropped
 *                       | three pairs of sockets
 *                     monitor (root): QEMU's start and end, taps, notes, the arbiter
 *
 * Not the daemon does it: its death must not stop a promotion.
 *
 * Three pairs, each served by a thread of its own, because a caller must not wait for what another
 * caller waits for: the sink's loop (short things only), its apply thread (QEMU), the arbiter's
 * questions (which take as long as a network does).
 *
 * Ends. The monitor ends when the sink has closed its ends, so with the sink at the latest. When
 * the monitor dies, every call of the sink fails with TV_E_GONE, and monitor_fd is readable. The
 * standby's QEMU is a child of init and outlives both; twinvmd reaps it.
 *
 * Call order: monitor_start, monitor_drop, then what must not have rights; monitor_vm once,
 * monitor_slot once, then the rest. Calls of one group belong to one thread at a time. All but
 * monitor_claim return at once, or after what QEMU's start takes. Return codes: see common.h.
 */
#ifndef REPLICATOR_MONITOR_MONITOR_H
#define REPLICATOR_MONITOR_MONITOR_H

#include "failover/failover.h"
#include "hv/host/host.h"
#include "replicator/session/session.h"

struct monitor; /* the sink's side */

/* ---- start ---- */
/*
 * Forks the monitor; c is copied. In it all descriptors above 2 are closed. -errno of a socket or a
 * process.
 */
int monitor_start(const struct config *c, struct monitor **out, struct tv_err *e) TV_MUST_CHECK;
/*
 * Gives up all rights of this process, for good: user and groups, capabilities, new privileges,
 * core files, and the system calls that a sink has no use for. -ENOENT: there is no such user as
 * sink_user names; then the process has become nobody, and only a refusal can be sent. Any other
 * code: the process still has rights and must end.
 */
int monitor_drop(const struct config *c, struct tv_err *e) TV_MUST_CHECK;
/* Readable when the monitor has ended. */
int monitor_fd(const struct monitor *m);
/* The monitor ends. NULL is allowed. */
void monitor_free(struct monitor *m);

/* ---- the loop's ---- */
/* The VM that this session is about, and its generation. Once; -EINVAL: no id, or again. */
int monitor_vm(struct monitor *m, const char *vm_id, uint64_t generation,
	       struct tv_err *e) TV_MUST_CHECK;
/* The slot of the standby (slot.h): its run directory is made, old notes go. dir: its name. Once. */
int monitor_slot(struct monitor *m, unsigned slot, char dir[256], struct tv_err *e) TV_MUST_CHECK;
/* The note that the standby is promoted; from now on its taps may be attached. -EPERM: not with
 * that generation. */
int monitor_promoted(struct monitor *m, uint64_t generation, struct tv_err *e) TV_MUST_CHECK;
/* Sends one frame on this host's bridge: virtio header, then the frame. Only of a promoted VM. */
int monitor_frame(struct monitor *m, const void *frame, size_t bytes) TV_MUST_CHECK;

/* ---- the apply thread's: see hv/host/host.h; arg is the struct monitor ---- */
extern const struct hv_host_ops monitor_host_ops;

/* ---- the arbiter's ---- */
/* Opens the arbiter with that URL, which must be one of this host's, and proves that it answers. */
int monitor_arbiter(struct monitor *m, const char *url, int heartbeat_ms,
		    struct tv_err *e) TV_MUST_CHECK;
/* fo_claim_fn (failover/arbiter/arbiter.h), for FO_ASK_PROMOTE and FO_ASK_LOOK, and this VM only; arg
 * is the struct monitor. May block. */
int monitor_claim(void *m, enum fo_question q, const struct fo_claim *c, struct fo_record *out,
		  struct tv_err *e) TV_MUST_CHECK;

#endif
