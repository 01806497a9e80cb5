/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * netbuffer: holds the guest's output per epoch. One interface, several ways; the way built so far is
 * `relay`: frames arrive on a capture socket and leave through an inject socket of the same port
 * (QEMU filter-redirectors, see hv_net_hold). Knows neither QEMU nor epochs' contents.
 *
 * States: NB_PASS frames go on at once (the VM runs alone, by record); NB_HOLD frames wait for their
 * epoch's release. A frame's epoch is decided by nb_barrier, never by when it was read.
 * Limits: held bytes are bounded; when full, new frames are dropped and counted (a network may lose
 * frames; memory may not grow). Inject sockets that are full make frames wait within the same bound.
 * Rule 1 is asserted here: a frame of epoch N leaves only after nb_release(N) in NB_HOLD.
 *
 * Threads: nb_barrier may be called from another thread than the event_base's; all else from the loop.
 */
#ifndef NETBUFFER_H
#define NETBUFFER_H

#include "common/common.h"
#include <event2/event.h>

struct nb;
struct nb_port {
	char name[64];
	int capture_fd, inject_fd; /* taken over by nb; non-blocking UNIX stream sockets */
	bool vnet_hdr;             /* see struct hv_net_port */
};
enum nb_mode { NB_PASS, NB_HOLD };
struct nb_conf {
	size_t limit_bytes; /* held bytes over all ports; 0: 8 MiB */
	/* The first frame that has to wait since the last barrier (Kemari's trigger); may be NULL. */
	void (*first_held)(void *arg, int64_t now_ns);
	/* A port's peer went away or sent nonsense (TV_E_PROTOCOL); the port is dead. */
	void (*failed)(void *arg, const char *port, int rc);
	void *arg;
};
struct nb_stats {
	uint64_t held_frames, held_bytes; /* now */
	uint64_t released_frames, passed_frames, dropped_frames;
	int64_t oldest_held_ns; /* arrival of the oldest held frame (tv_now_ns), 0 when none */
};

/* Starts in NB_PASS. Takes over the ports' fds, also on failure. */
int nb_relay_new(struct event_base *base, const struct nb_port *ports, unsigned n,
		 const struct nb_conf *conf, struct nb **out, struct tv_err *e) TV_MUST_CHECK;
/* NB_HOLD from the next barrier on, which names the first held epoch; frames before it still pass. */
void nb_hold(struct nb *nb);
/*
 * HOT, any thread, allocates nothing. Called while the VM is paused: all frames that the guest sent
 * up to now and that no earlier barrier took belong to `epoch`. Epochs must grow.
 */
int nb_barrier(struct nb *nb, uint64_t epoch) TV_MUST_CHECK;
/* Epoch is committed: lets its frames and those of older epochs out, in order. */
void nb_release(struct nb *nb, uint64_t epoch);
/* The VM runs alone by record: releases all that is held, NB_PASS from now on. */
void nb_pass(struct nb *nb);
/* Throws away what is held (the VM's state that caused it is gone). */
void nb_drop(struct nb *nb);
enum nb_mode nb_mode(const struct nb *nb);
void nb_stats(struct nb *nb, struct nb_stats *out);
/* Nothing read or to write is left: true when all that was released is in the kernel. */
bool nb_idle(struct nb *nb);
/* Ends reading; the fds are closed. What is held is dropped. NULL is allowed. */
void nb_free(struct nb *nb);

#endif
