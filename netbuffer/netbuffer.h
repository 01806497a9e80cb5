/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netbuffer: holds the guest's output per epoch. One interface, two ways. `relay`: frames arrive on
 * a capture socket and leave through an inject socket of the same port (QEMU filter-redirectors,
 * see hv_net_hold). `plug`: frames stay in the kernel, in a queue (sch_plug) that the taps are
 * redirected to; for vhost and several queues too. Knows neither QEMU nor epochs' contents.
 *
 * States: NB_PASS frames go on at once (the VM runs alone, by record); NB_HOLD frames wait for
 * their epoch's release. A frame's epoch is decided by nb_barrier, never by when it was read.
 * Limits: held bytes are bounded; when full, new frames are dropped and counted (a network may lose
 * frames; memory may not grow). Inject sockets that are full make frames wait within the same
 * bound. Rule 1 is asserted here: a frame of epoch N leaves only after nb_release(N) in NB_HOLD.
 *
 * Threads: nb_barrier may be called from another thread than the event_base's; all else from the
 * loop. Callbacks come from the loop (first_held not from inside a call, failed neither) and may
 * make any call, nb_free included.
 */
#ifndef NETBUFFER_H
#define NETBUFFER_H

#include "common/common.h"
#include <event2/event.h>

struct nb;
struct nb_port {
	char name[64];
	int capture_fd, inject_fd; /* taken over by nb; non-blocking UNIX stream sockets */
	bool vnet_hdr;		   /* see struct hv_net_port */
};
enum nb_mode { NB_PASS, NB_HOLD };
struct nb_conf {
	size_t limit_bytes;  /* memory of all frames of all ports; 0: 8 MiB */
	uint64_t generation; /* fencing token: a release must name it */
	/* The first frame that has to wait since the last barrier (Kemari's trigger), once per
	 * barrier; not for frames that a barrier has already given an epoch. May be NULL. */
	void (*first_held)(void *arg, int64_t now_ns);
	/* A port's peer went away (-EPIPE) or sent nonsense (TV_E_PROTOCOL); the port is dead and
	 * barriers fail from now on. Once per port. What a closed capture socket had sent still
	 * leaves when released; nonsense is read on and discarded, so that QEMU does not block. May
	 * be NULL. */
	void (*failed)(void *arg, const char *port, int rc);
	void *arg;
};
struct nb_stats {
	uint64_t held_frames, held_bytes; /* now */
	uint64_t released_frames,
		passed_frames;	 /* written whole: held before, or sent by a VM alone. plug: as the
				  * kernel counts, and a few ms late */
	uint64_t dropped_frames; /* no room, thrown away by nb_drop, or the inject socket is dead */
	int64_t oldest_held_ns;	 /* arrival of the oldest held frame (tv_now_ns), 0 when none */
};

/* The relay. Starts in NB_PASS. Takes over the ports' fds, also on failure. -E2BIG over 32
 * ports. */
int nb_relay_new(struct event_base *base, const struct nb_port *ports, unsigned n,
		 const struct nb_conf *conf, struct nb **out, struct tv_err *e) TV_MUST_CHECK;
/* A tap of the VM, in the network namespace of this process. */
struct nb_plug_tap {
	char name[64];	 /* of the port, for people */
	char ifname[16]; /* IFNAMSIZ */
	unsigned ifindex;
};
/* Of a VM's id the first hexadecimal digits, which name what is made in the kernel. */
#define NB_PLUG_ID_DIGITS 8
/*
 * Can this kernel, and may we, hold frames in a plug queue? Tries everything once on a device of
 * its own; loads modules. 0, or -ENOTSUP with the reason. Some 10 ms. Not from inside a pause.
 */
int nb_plug_probe(struct tv_err *e) TV_MUST_CHECK;
/*
 * The plug way: for each tap a queueing device of ours, named after vm_id. Starts in NB_PASS. What
 * an earlier life of this VM left is removed first, and what it held is dropped. On failure nothing
 * is left. -E2BIG over 32 taps; -ENOTSUP the kernel, or something about a tap (the sentence says
 * what: another ingress queue, packet steering), does not allow it.
 */
int nb_plug_new(struct event_base *base, const struct nb_plug_tap *taps, unsigned n,
		const char *vm_id, const struct nb_conf *conf, struct nb **out,
		struct tv_err *e) TV_MUST_CHECK;
/*
 * Removes what a dead process's plug has left in the kernel, by name; nothing there is no failure.
 * release: what is held leaves first, in order (the VM runs alone by record); otherwise it is
 * dropped. Until this is called frames wait up to the limit and are dropped beyond it. At most a
 * second.
 */
int nb_plug_clean(const char *vm_id, bool release, struct tv_err *e) TV_MUST_CHECK;

/* "relay" or "plug". */
const char *nb_way(const struct nb *nb);
/*
 * How many captured and uncommitted epochs are useful: more are allowed, but the plug, which can
 * set apart the frames of one epoch only, lets those of the others leave with a later one.
 */
unsigned nb_max_in_flight(const struct nb *nb);

/*
 * NB_HOLD from the next barrier on: frames sent before it still pass (the VM was alone), whatever
 * is sent after it belongs to the epoch of the barrier that follows. Epoch numbers begin anew (at
 * least 1).
 */
void nb_hold(struct nb *nb);
/*
 * HOT, any thread, allocates nothing. Called while the VM is paused: all frames that the guest sent
 * up to now and that no earlier barrier took belong to `epoch`. All ports or, on failure, none.
 * -EINVAL epoch does not grow; -ENOSPC 16 epochs are unreleased (relay); -EPIPE, TV_E_PROTOCOL a
 * port is dead (found here also before the loop knows); -ETIMEDOUT (plug, first barrier) what was
 * passing has not left. In NB_PASS without nb_hold it only checks. After a failure of the plug's
 * barrier frames may have become an epoch on some ports only: nothing is released any more, only
 * nb_pass, nb_drop and nb_free are of use.
 */
int nb_barrier(struct nb *nb, uint64_t epoch) TV_MUST_CHECK;
/* Epoch is committed: lets its frames and those of older epochs out, in order. An epoch without its
 * barrier lets nothing out, now or later; nor does a generation that is not nb_conf's. */
void nb_release(struct nb *nb, uint64_t generation, uint64_t epoch);
/* The VM runs alone by record: releases all that is held, NB_PASS from now on. */
void nb_pass(struct nb *nb);
/* Throws away what is held, the unread included (the VM's state that caused it is gone); not what
 * has been released and waits for room. The VM does not run meanwhile. */
void nb_drop(struct nb *nb);
/* Changes to NB_HOLD with the first barrier, not with nb_hold. */
enum nb_mode nb_mode(const struct nb *nb);
void nb_stats(struct nb *nb, struct nb_stats *out);
/* Nothing read or to write is left: true when all that was released is in the kernel. */
bool nb_idle(struct nb *nb);
/* Frames that wait for the release of `epoch` or of an older one, oldest first, as far as they have
 * been read: for each, the virtio header and the frame after it. Stops after limit_bytes. The plug
 * says none: they are in the kernel. */
#define NB_VNET_HDR_BYTES 10
typedef void (*nb_frame_cb)(const uint8_t vnet_hdr[NB_VNET_HDR_BYTES], const uint8_t *frame,
			    size_t bytes, void *arg);
void nb_each_held(struct nb *nb, uint64_t epoch, size_t limit_bytes, nb_frame_cb cb, void *arg);
/* Ends reading; the fds are closed. What is held is dropped. NULL is allowed. */
void nb_free(struct nb *nb);

/*
 * ---- frames that may be said twice (recent.c) ----
 *
 * A network may repeat a frame and may delay it. So what was on its way to or from a VM when its
 * host died can be given to its successor: what came in after the committed epoch, and what the
 * committed epoch sent. Best effort, never needed for safety: it saves the peers' retransmission
 * time-outs. Frames go with their virtio header, as the kernel hands them out (PACKET_VNET_HDR).
 */
struct nb_tap;
/* Calls cb for each unicast frame of at most 2 KiB that goes to the guest behind this tap, by a
 * packet socket that neither QEMU nor the frame notices. -ENODEV no such device here. */
int nb_tap_watch(struct event_base *base, const char *ifname, nb_frame_cb cb, void *arg,
		 struct nb_tap **out) TV_MUST_CHECK;
/* No more calls until it is switched on again; what came meanwhile is forgotten. */
void nb_tap_enable(struct nb_tap *t, bool on);
void nb_tap_free(struct nb_tap *t);
/* A socket that sends frames as if they came out of this host's bridge; -ENODEV. */
int nb_replay_open(const char *bridge) TV_MUST_CHECK;
/* 0, or -errno: the frame is lost, as frames are. */
int nb_replay_send(int fd, const uint8_t vnet_hdr[NB_VNET_HDR_BYTES], const uint8_t *frame,
		   size_t bytes) TV_MUST_CHECK;

#endif
