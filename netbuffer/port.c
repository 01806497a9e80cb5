/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One port: reading its capture socket, its queue, writing its inject socket, its failure. */
#include "netbuffer/relay_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>

/* One turn of a port, so that other events of the loop come in between. */
#define READS_PER_TURN 8

/* ---- memory: the relay stays until the outermost callback has returned ---- */

void port_dispose(struct port *p)
{
	if (p->readable)
		event_free(p->readable);
	if (p->writable)
		event_free(p->writable);
	if (p->report)
		event_free(p->report);
	p->readable = p->writable = p->report = NULL;
	queue_frame_free(&p->queue, p->coming);
	p->coming = NULL;
	queue_dispose(&p->queue);
	tv_close_fd(&p->capture_fd);
	tv_close_fd(&p->inject_fd);
}

void relay_destroy(struct relay *nb)
{
	for (unsigned i = 0; i < nb->ports_n; i++)
		port_dispose(&nb->ports[i]);
	pthread_mutex_destroy(&nb->lock);
	free(nb);
}

void relay_enter(struct relay *nb)
{
	nb->depth++;
	nb->now_ns = tv_now_ns();
}

void relay_leave(struct relay *nb)
{
	if (!--nb->depth && nb->freed)
		relay_destroy(nb);
}

/* ---- failure ---- */

static void on_report(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;
	struct relay *nb = p->nb;

	(void)fd, (void)what;
	relay_enter(nb);
	if (nb->conf.failed)
		nb->conf.failed(nb->conf.arg, p->name, p->failed_rc);
	relay_leave(nb);
}

/* Reported from the loop, not from inside the owner's call that found it. Once per port. */
static void port_fail(struct port *p, int rc)
{
	struct timeval now = {0, 0};
	bool first;

	pthread_mutex_lock(&p->nb->lock);
	first = !p->failed_rc;
	if (first)
		p->failed_rc = rc;
	pthread_mutex_unlock(&p->nb->lock);
	if (first)
		event_add(p->report, &now);
}

/* ---- writing ---- */

static void check_rule_1(void *arg, const struct nb_frame *f)
{
	struct port *p = arg;

	gate_assert_may_leave(&p->leaving, f->end_pos, p->leaving_epoch);
}

static void count_sent(void *arg, const struct nb_frame *f)
{
	struct port *p = arg;

	if (f->passing)
		p->nb->counts.passed_frames++;
	else
		p->nb->counts.released_frames++;
}

static void port_mute(struct port *p, int rc)
{
	p->mute = true;
	event_del(p->writable);
	p->nb->counts.dropped_frames += p->queue.count;
	queue_dispose(&p->queue);
	port_fail(p, rc);
}

void port_flush(struct port *p)
{
	const struct queue_watch watch = {check_rule_1, count_sent, p};
	int r;

	if (p->mute || !queue_first(&p->queue))
		return;
	pthread_mutex_lock(&p->nb->lock);
	p->leaving = p->gate;
	p->leaving_epoch = p->nb->released_epoch;
	pthread_mutex_unlock(&p->nb->lock);
	r = queue_write(&p->queue, p->inject_fd, gate_open_pos(&p->leaving), &watch);
	if (r < 0)
		port_mute(p, r);
	else if (r)
		event_del(p->writable);
	else
		event_add(p->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)fd, (void)what;
	relay_enter(p->nb);
	port_flush(p);
	relay_leave(p->nb);
}

/* ---- reading ---- */

static uint8_t *frame_begins(void *arg, size_t wire_bytes)
{
	struct port *p = arg;

	p->coming = p->mute ? NULL : queue_frame_new(&p->queue, wire_bytes);
	p->skipping = !p->coming;
	return p->coming ? p->coming->data : NULL;
}

/* True once per barrier interval, for the first frame of the epoch that has no barrier yet. */
static bool note_arrival(struct port *p, struct nb_frame *f)
{
	struct relay *nb = p->nb;
	bool first;

	pthread_mutex_lock(&nb->lock);
	f->passing = !p->gate.holding || f->end_pos <= p->gate.hold_pos;
	first = p->gate.holding && f->end_pos > p->gate.last_pos && !nb->announced && !nb->quiet;
	if (first)
		nb->announced = true;
	pthread_mutex_unlock(&nb->lock);
	return first;
}

static bool frame_ends(void *arg, uint64_t end_pos)
{
	struct port *p = arg;
	struct nb_frame *f = p->coming;
	struct relay *nb = p->nb;

	p->coming = NULL;
	if (p->skipping) {
		p->skipping = false;
		nb->counts.dropped_frames++;
		return true;
	}
	f->end_pos = end_pos;
	f->arrived_ns = nb->now_ns;
	queue_add(&p->queue, f);
	if (note_arrival(p, f) && nb->conf.first_held)
		nb->conf.first_held(nb->conf.arg, nb->now_ns);
	return !nb->freed;
}

static void stop_parsing(struct port *p)
{
	p->discard = true;
	queue_frame_free(&p->queue, p->coming);
	p->coming = NULL;
	p->skipping = false;
}

/* The only place that reads: the count and the read are one step for the barrier's eyes. */
static ssize_t read_counted(struct port *p)
{
	ssize_t r;

	pthread_mutex_lock(&p->nb->lock);
	r = read(p->capture_fd, p->nb->buf, NB_READ_BYTES);
	if (r > 0)
		p->read_pos += (uint64_t)r;
	else if (r < 0)
		r = -errno;
	pthread_mutex_unlock(&p->nb->lock);
	return r;
}

static void parse(struct port *p, size_t n)
{
	const struct deframe_ops ops = {frame_begins, frame_ends, p};
	int rc = deframe_feed(&p->deframe, &ops, p->nb->buf, n);

	if (!rc)
		return;
	stop_parsing(p);
	port_fail(p, rc);
}

/* One read; false when there is nothing more to read now. */
static bool port_read(struct port *p)
{
	ssize_t r = read_counted(p);

	if (r == -EINTR)
		return true;
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		event_del(p->readable);
		stop_parsing(p);
		port_fail(p, r ? (int)r : -EPIPE);
		return false;
	}
	if (!p->discard)
		parse(p, (size_t)r);
	return !p->nb->freed;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)fd, (void)what;
	relay_enter(p->nb);
	for (int i = 0; i < READS_PER_TURN && port_read(p); i++)
		;
	/* Straight to the socket: waiting for writability would cost a turn of the loop. */
	if (!p->nb->freed)
		port_flush(p);
	relay_leave(p->nb);
}

/* ---- for relay.c ---- */

static size_t unread(const struct port *p)
{
	int n = 0;

	return ioctl(p->capture_fd, SIOCINQ, &n) ? 0 : (size_t)n;
}

void port_drop(struct port *p)
{
	uint64_t stop_pos = p->read_pos + unread(p), open_pos;

	/* What the gone state has sent is read here, or it would arrive later as if it were new. */
	while (p->read_pos < stop_pos && port_read(p))
		;
	pthread_mutex_lock(&p->nb->lock);
	open_pos = gate_open_pos(&p->gate);
	pthread_mutex_unlock(&p->nb->lock);
	p->nb->counts.dropped_frames += queue_drop_after(&p->queue, open_pos);
	port_flush(p);
}

bool port_idle(struct port *p)
{
	const struct nb_frame *f = queue_first(&p->queue);
	uint64_t open_pos;

	pthread_mutex_lock(&p->nb->lock);
	open_pos = gate_open_pos(&p->gate);
	pthread_mutex_unlock(&p->nb->lock);
	if (f && f->end_pos <= open_pos)
		return false;
	return p->discard || (deframe_between(&p->deframe) && !unread(p));
}

int port_init(struct port *p, struct relay *nb, const struct nb_port *from)
{
	p->nb = nb;
	memcpy(p->name, from->name, sizeof(p->name));
	p->name[sizeof(p->name) - 1] = '\0';
	p->capture_fd = from->capture_fd;
	p->inject_fd = from->inject_fd;
	p->deframe.vnet_hdr = from->vnet_hdr;
	queue_init(&p->queue, &nb->budget);
	if (evutil_make_socket_nonblocking(p->capture_fd) ||
	    evutil_make_socket_nonblocking(p->inject_fd))
		return -EBADF;
	p->readable = event_new(nb->base, p->capture_fd, EV_READ | EV_PERSIST, on_readable, p);
	p->writable = event_new(nb->base, p->inject_fd, EV_WRITE, on_writable, p);
	p->report = evtimer_new(nb->base, on_report, p);
	if (!p->readable || !p->writable || !p->report)
		return -ENOMEM;
	return event_add(p->readable, NULL) ? -ENOMEM : 0;
}
