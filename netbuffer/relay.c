/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * QEMU writes each frame that the guest sends into a port's capture socket; frames that the relay
 * writes into the port's inject socket leave for the network. In between, the frames of an epoch
 * wait until the epoch is committed.
 *
 * Which epoch? The barrier comes from another thread, while frames sent before it may still be
 * unread in the socket. So an epoch is a stretch of the captured byte stream: while the VM is
 * paused nothing is added, and the position "bytes read so far + bytes waiting in the socket
 * (SIOCINQ)" is the same whenever it is computed. read() with its count, and SIOCINQ with that
 * count, exclude each other by `lock`, which is held around these calls and a few assignments only:
 * a barrier never waits for parsing or writing. Every frame knows the position at which it ends;
 * the gate (gate.c) turns positions into "may leave". A frame that straddles a barrier (QEMU never
 * does that) comes after it.
 *
 * Modes. Pass: the gate is open. nb_hold arms; the first barrier then closes the gate behind its
 * own position, in the barrier's thread, atomically for all ports. After that nb_release opens it
 * barrier by barrier, and nb_pass opens it entirely. All that was read before the first barrier
 * lies before its position, so a loop that still sees an open gate a moment later releases no frame
 * that must wait.
 *
 * One list per port holds both what waits for its epoch and what waits for room in the inject
 * socket; order is kept by construction. All frames of all ports share one budget; a frame that
 * does not fit is skipped whole as it comes and counted.
 *
 * Failures. A peer that closes, or a malformed stream, kills the port: barriers fail from then on
 * (an epoch whose output is not held must not be committed), and `failed` is called once from the
 * loop. After that the capture socket is read and what is read is discarded, as long as it is open:
 * QEMU blocks on a full one. Frames captured before the end of a capture socket still leave when
 * released.
 *
 * Limits: NB_MAX_PORTS ports, 128 KiB a frame, GATE_BARRIERS unreleased epochs, limit_bytes of
 * frames.
 */
#include "netbuffer/relay_int.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>

static struct relay *relay_of(struct nb *nb)
{
	return (struct relay *)nb; /* it begins with it */
}

/* ---- the barrier: any thread, hot ---- */

/* The peer may have closed without the loop having read that far. */
static int check_alive(struct relay *nb)
{
	struct pollfd fds[NB_MAX_PORTS];
	int r;

	for (unsigned i = 0; i < nb->ports_n; i++) {
		if (nb->ports[i].failed_rc)
			return nb->ports[i].failed_rc;
		fds[i] = (struct pollfd){.fd = nb->ports[i].capture_fd, .events = POLLRDHUP};
	}
	do {
		r = poll(fds, nb->ports_n, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? -EPIPE : 0;
}

static int find_positions(const struct relay *nb, uint64_t pos[])
{
	for (unsigned i = 0; i < nb->ports_n; i++) {
		int waiting = 0;

		if (ioctl(nb->ports[i].capture_fd, SIOCINQ, &waiting))
			return -errno;
		pos[i] = nb->ports[i].read_pos + (uint64_t)waiting;
	}
	return 0;
}

static void set_gates(struct relay *nb, const uint64_t pos[], uint64_t epoch)
{
	for (unsigned i = 0; i < nb->ports_n; i++) {
		if (nb->armed)
			gate_hold(&nb->ports[i].gate, pos[i], epoch);
		else
			gate_barrier(&nb->ports[i].gate, pos[i], epoch);
	}
	if (nb->armed) {
		nb->mode = NB_HOLD;
		nb->released_epoch = epoch;
	}
	nb->armed = false;
	nb->announced = false;
}

static int barrier_locked(struct relay *nb, uint64_t epoch)
{
	uint64_t pos[NB_MAX_PORTS];
	int rc;

	if (epoch <= nb->last_epoch)
		return -EINVAL;
	rc = check_alive(nb);
	if (rc)
		return rc;
	for (unsigned i = 0; i < nb->ports_n; i++)
		if (gate_full(&nb->ports[i].gate))
			return -ENOSPC;
	rc = find_positions(nb, pos);
	if (rc)
		return rc;
	if (nb->armed || nb->mode == NB_HOLD)
		set_gates(nb, pos, epoch);
	nb->last_epoch = epoch;
	return 0;
}

static int relay_barrier(struct nb *base, uint64_t epoch)
{
	struct relay *nb = relay_of(base);
	int rc;

	pthread_mutex_lock(&nb->lock);
	rc = barrier_locked(nb, epoch);
	pthread_mutex_unlock(&nb->lock);
	return rc;
}

/* ---- the owner's other calls, in the loop ---- */

static void flush_all(struct relay *nb)
{
	for (unsigned i = 0; i < nb->ports_n; i++)
		port_flush(&nb->ports[i]);
}

static void relay_hold(struct nb *base)
{
	struct relay *nb = relay_of(base);

	pthread_mutex_lock(&nb->lock);
	if (nb->mode == NB_PASS && !nb->armed) {
		nb->armed = true;
		nb->last_epoch = 0;
	}
	pthread_mutex_unlock(&nb->lock);
}

static void relay_release(struct nb *base, uint64_t generation, uint64_t epoch)
{
	struct relay *nb = relay_of(base);

	if (generation != nb->conf.generation)
		return;
	pthread_mutex_lock(&nb->lock);
	if (nb->mode == NB_HOLD) {
		for (unsigned i = 0; i < nb->ports_n; i++)
			gate_release(&nb->ports[i].gate, epoch);
		if (epoch > nb->last_epoch)
			epoch = nb->last_epoch;
		if (epoch > nb->released_epoch)
			nb->released_epoch = epoch;
	}
	pthread_mutex_unlock(&nb->lock);
	flush_all(nb);
}

static void relay_pass(struct nb *base)
{
	struct relay *nb = relay_of(base);

	pthread_mutex_lock(&nb->lock);
	nb->mode = NB_PASS;
	nb->armed = false;
	nb->last_epoch = nb->released_epoch = 0;
	for (unsigned i = 0; i < nb->ports_n; i++)
		gate_pass(&nb->ports[i].gate);
	pthread_mutex_unlock(&nb->lock);
	flush_all(nb);
}

static enum nb_mode relay_mode(struct nb *base)
{
	struct relay *nb = relay_of(base);
	enum nb_mode mode;

	pthread_mutex_lock(&nb->lock);
	mode = nb->mode;
	pthread_mutex_unlock(&nb->lock);
	return mode;
}

static void relay_drop(struct nb *base)
{
	struct relay *nb = relay_of(base);

	if (relay_mode(base) == NB_PASS)
		return;
	nb->quiet = true;
	relay_enter(nb);
	for (unsigned i = 0; i < nb->ports_n; i++)
		port_drop(&nb->ports[i]);
	nb->quiet = false;
	relay_leave(nb);
}

static void relay_stats(struct nb *base, struct nb_stats *out)
{
	struct relay *nb = relay_of(base);

	*out = nb->counts;
	for (unsigned i = 0; i < nb->ports_n; i++) {
		const struct nb_queue *q = &nb->ports[i].queue;
		const struct nb_frame *f = queue_first(q);

		out->held_frames += q->count;
		out->held_bytes += q->bytes;
		if (f && (!out->oldest_held_ns || f->arrived_ns < out->oldest_held_ns))
			out->oldest_held_ns = f->arrived_ns;
	}
}

static size_t deliver_frame(const struct port *p, const struct nb_frame *f, nb_frame_cb cb,
			    void *arg)
{
	uint8_t hdr[NB_VNET_HDR_BYTES] = {0};
	const uint8_t *body = f->data + 4;
	size_t bytes = f->bytes - 4, head = 0;

	if (p->deframe.vnet_hdr) {
		head = (size_t)f->data[4] << 24 | (size_t)f->data[5] << 16 |
		       (size_t)f->data[6] << 8 | f->data[7];
		body += 4;
		bytes -= 4;
	}
	if (head > bytes)
		return 0;
	memcpy(hdr, body, head < sizeof(hdr) ? head : sizeof(hdr));
	cb(hdr, body + head, bytes - head, arg);
	return bytes;
}

static void relay_each_held(struct nb *base, uint64_t epoch, size_t limit_bytes, nb_frame_cb cb,
			    void *arg)
{
	struct relay *nb = relay_of(base);
	size_t given = 0;

	for (unsigned i = 0; i < nb->ports_n; i++) {
		struct port *p = &nb->ports[i];
		struct nb_frame *f;
		uint64_t pos;
		bool holding;

		pthread_mutex_lock(&nb->lock);
		holding = p->gate.holding;
		pos = gate_pos_of(&p->gate, epoch);
		pthread_mutex_unlock(&nb->lock);
		if (!holding)
			continue;
		STAILQ_FOREACH(f, &p->queue.frames, next) {
			if (f->end_pos > pos || given >= limit_bytes)
				break;
			given += deliver_frame(p, f, cb, arg);
		}
	}
}

static bool relay_idle(struct nb *base)
{
	struct relay *nb = relay_of(base);

	for (unsigned i = 0; i < nb->ports_n; i++)
		if (!port_idle(&nb->ports[i]))
			return false;
	return true;
}

/* ---- beginning and end ---- */

static void close_all(const struct nb_port *ports, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		close(ports[i].capture_fd);
		close(ports[i].inject_fd);
	}
}

static void relay_free(struct nb *base)
{
	struct relay *nb = relay_of(base);

	if (!nb->depth) {
		relay_destroy(nb);
		return;
	}
	nb->freed = true;
	for (unsigned i = 0; i < nb->ports_n; i++)
		port_dispose(&nb->ports[i]);
}

static const struct nb_ops relay_ops = {
	.name = "relay",
	.max_in_flight = 2,
	.hold = relay_hold,
	.barrier = relay_barrier,
	.release = relay_release,
	.pass = relay_pass,
	.drop = relay_drop,
	.mode = relay_mode,
	.stats = relay_stats,
	.idle = relay_idle,
	.each_held = relay_each_held,
	.free = relay_free,
};

int nb_relay_new(struct event_base *base, const struct nb_port *ports, unsigned n,
		 const struct nb_conf *conf, struct nb **out, struct tv_err *e)
{
	struct relay *nb = n <= NB_MAX_PORTS ? calloc(1, sizeof(*nb)) : NULL;
	int rc = 0, r;

	*out = NULL;
	if (!nb) {
		close_all(ports, n);
		return tv_fail(e, n <= NB_MAX_PORTS ? -ENOMEM : -E2BIG,
			       "cannot hold the output of %u network ports (at most %d)", n,
			       NB_MAX_PORTS);
	}
	nb->nb.ops = &relay_ops;
	nb->base = base;
	nb->conf = conf ? *conf : (struct nb_conf){0};
	nb->budget.limit_bytes =
		nb->conf.limit_bytes ? nb->conf.limit_bytes : NB_DEFAULT_LIMIT_BYTES;
	pthread_mutex_init(&nb->lock, NULL);
	/* Each port takes its fds over even when one before it has failed. */
	for (unsigned i = 0; i < n; i++) {
		r = port_init(&nb->ports[i], nb, &ports[i]);
		nb->ports_n++;
		if (r && !rc)
			rc = tv_fail(e, r, "cannot watch the sockets of network port %s: %s",
				     ports[i].name, strerror(-r));
	}
	if (rc)
		relay_destroy(nb);
	else
		*out = &nb->nb;
	return rc;
}
