/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netbuffer: holds the guest's output per epoch. One interface, two ways. `relay`: frames arrive on
 * a capture socket and leave through an inject socket of the same port (QEMU filter-redirectors,
 * see hv_net_hold). `plug`: frames stay in the kernel, in a queue (sch_plug) that the taps are
 * redirected to; it also works with vhost and several queues. Knows neither QEMU nor what an epoch
 * contains.
 *
 * States. NB_PASS: frames leave at once (the arbiter has recorded that the VM runs alone). NB_HOLD:
 * frames wait for their epoch's release. nb_barrier decides a frame's epoch, not the time at which
 * the frame was read. Limits: held bytes are bounded; when the buffer is full, new frames are
 * dropped and counted (a network may lose frames; memory may not grow). Frames that wait for a full
 * inject socket count towards the same bound. Rule 1 (output commit) is asserted here: in NB_HOLD a
 * frame of epoch N leaves only after nb_release(N).
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
	/* The first frame since the last barrier that has to wait (Kemari's trigger). Once per
	 * barrier; not for frames that a barrier has already given an epoch. May be NULL. */
	void (*first_held)(void *arg, int64_t now_ns);
	/* A port's peer closed it (-EPIPE) or sent malformed data (TV_E_PROTOCOL). The port is dead
	 * and barriers fail from now on. Once per port. Frames received before a capture socket was
	 * closed still leave when released. After malformed data the socket is still read, and what
	 * is read is discarded, so that QEMU does not block. May be NULL. */
	void (*failed)(void *arg, const char *port, int rc);
	void *arg;
};
struct nb_stats {
	uint64_t held_frames, held_bytes; /* now */
	uint64_t released_frames,
		passed_frames;	 /* written whole: after being held, or sent while the VM ran alone.
				  * plug: as the kernel counts, and a few ms late */
	uint64_t dropped_frames; /* no room, thrown away by nb_drop, or the inject socket is dead */
	int64_t oldest_held_ns;	 /* arrival of the oldest held frame (tv_now_ns), 0 when none */
};

/* The relay way. Starts in NB_PASS. Takes over the ports' fds, also on failure. -E2BIG over 32
 * ports. */
int nb_relay_new(struct event_base *base, const struct nb_port *ports, unsigned n,
		 const struct nb_conf *conf, struct nb **out, struct tv_err *e) TV_MUST_CHECK;
/* A tap of the VM, in the network namespace of this process. */
struct nb_plug_tap {
	char name[64];	 /* of the port, for messages */
	char ifname[16]; /* IFNAMSIZ */
	unsigned ifindex;
};
/* How many digits of a VM's id are in the names of the kernel devices made for it. */
#define NB_PLUG_ID_DIGITS 8
/*
 * Does this kernel support plug queues, and has this process the rights to use them? Tries
 * everything once on a device made for that; loads modules. 0, or -ENOTSUP with the reason. Takes
 * some 10 ms; not to be called while the VM is paused.
 */
int nb_plug_probe(struct tv_err *e) TV_MUST_CHECK;
/*
 * The plug way: makes a queueing device for each tap, named after vm_id. Starts in NB_PASS. Devices
 * that an earlier process left for this VM are removed first, and the frames they hold are dropped.
 * On failure nothing is left behind. -E2BIG over 32 taps; -ENOTSUP the kernel or a tap does not
 * allow it (the sentence names the reason: another ingress queue, packet steering).
 */
int nb_plug_new(struct event_base *base, const struct nb_plug_tap *taps, unsigned n,
		const char *vm_id, const struct nb_conf *conf, struct nb **out,
		struct tv_err *e) TV_MUST_CHECK;
/*
 * Removes, by name, the devices that a dead process's plug has left in the kernel; 0 also when
 * there are none. release: held frames leave first, in order (the arbiter has recorded that the VM
 * runs alone); otherwise they are dropped. Until this is called, frames wait up to the limit and
 * are dropped beyond it. Takes at most a second.
 */
int nb_plug_clean(const char *vm_id, bool release, struct tv_err *e) TV_MUST_CHECK;

/* "relay" or "plug". */
const char *nb_way(const struct nb *nb);
/*
 * How many captured and uncommitted epochs are useful. More are allowed, but the plug can set apart
 * the frames of one epoch only: those of the others leave together with a later one.
 */
unsigned nb_max_in_flight(const struct nb *nb);

/*
 * NB_HOLD from the next barrier on. Frames sent before that barrier still pass (the VM was alone);
 * frames sent after it belong to the epoch of the barrier that follows. Epoch numbers start again,
 * at 1 or more.
 */
void nb_hold(struct nb *nb);
/*
 * HOT, any thread, allocates nothing. Called while the VM is paused: all frames that the guest has
 * sent and that no earlier barrier took now belong to `epoch`. Applies to all ports or, on failure,
 * to none. -EINVAL epoch does not grow; -ENOSPC 16 epochs are unreleased (relay); -EPIPE,
 * TV_E_PROTOCOL a port is dead (noticed here even before the loop notices); -ETIMEDOUT (plug, first
 * barrier) frames that were passing have not left. In NB_PASS without nb_hold it only checks. When
 * the plug's barrier fails, frames may have become an epoch on some ports only: nothing is released
 * any more, and only nb_pass, nb_drop and nb_free may follow.
 */
int nb_barrier(struct nb *nb, uint64_t epoch) TV_MUST_CHECK;
/* The epoch is committed: its frames and those of older epochs leave, in order. A release of an
 * epoch that has had no barrier has no effect, now or later; nor has one with another generation
 * than nb_conf's. */
void nb_release(struct nb *nb, uint64_t generation, uint64_t epoch);
/* The arbiter has recorded that the VM runs alone: releases all held frames; NB_PASS from
 * now on. */
void nb_pass(struct nb *nb);
/* Drops all held frames, unread ones included (the VM's state that sent them is gone), but not
 * those that are released and wait for room. The VM must not run meanwhile. */
void nb_drop(struct nb *nb);
/* Changes to NB_HOLD with the first barrier, not with nb_hold. */
enum nb_mode nb_mode(const struct nb *nb);
void nb_stats(struct nb *nb, struct nb_stats *out);
/* True when all that was released is in the kernel and nothing is left to read. */
bool nb_idle(struct nb *nb);
/* Calls cb for each frame that waits for the release of `epoch` or of an older one and has been
 * read, oldest first: the virtio header, and the frame after it. Stops after limit_bytes. The plug
 * has none to give: its frames are in the kernel. */
#define NB_VNET_HDR_BYTES 10
typedef void (*nb_frame_cb)(const uint8_t vnet_hdr[NB_VNET_HDR_BYTES], const uint8_t *frame,
			    size_t bytes, void *arg);
void nb_each_held(struct nb *nb, uint64_t epoch, size_t limit_bytes, nb_frame_cb cb, void *arg);
/* Stops reading, closes the fds, drops held frames. NULL is allowed. */
void nb_free(struct nb *nb);

/*
 * ---- recent frames, replayed after a failover (recent.c) ----
 *
 * A network may repeat a frame and may delay it. So frames that were on their way to or from a VM
 * when its host died can be replayed to its successor: those that came in after the committed
 * epoch, and those that the committed epoch sent. Best effort, never needed for safety: it saves
 * the peers' retransmission time-outs. Each frame has its virtio header, as the kernel hands it out
 * (PACKET_VNET_HDR).
 */
struct nb_tap;
/* Calls cb for each unicast frame of at most 2 KiB that goes to the guest behind this tap. A packet
 * socket gets copies; QEMU and the frame itself are not affected. -ENODEV no such device here. */
int nb_tap_watch(struct event_base *base, const char *ifname, nb_frame_cb cb, void *arg,
		 struct nb_tap **out) TV_MUST_CHECK;
/* Off: no more calls. On again: frames that came meanwhile are discarded first. */
void nb_tap_enable(struct nb_tap *t, bool on);
void nb_tap_free(struct nb_tap *t);
/* A socket that sends frames as if they came out of this host's bridge; -ENODEV. */
int nb_replay_open(const char *bridge) TV_MUST_CHECK;
/* 0, or -errno: the frame is lost, as a network may lose one. */
int nb_replay_send(int fd, const uint8_t vnet_hdr[NB_VNET_HDR_BYTES], const uint8_t *frame,
		   size_t bytes) TV_MUST_CHECK;

#endif
