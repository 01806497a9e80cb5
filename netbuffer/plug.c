/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the plug
 *
 * Frames stay in the kernel, as in Xen's Remus (tools/libs/light/libxl_netbuffer.c):
 *
 *   guest -> tap, ingress -> (matchall, mirred) -> IFB, root queue: plug -> tap again -> world
 *
 * Nothing of it is inside QEMU, so vhost and several queues make no difference: all that comes out
 * of the tap, whatever its protocol and whoever wrote it, goes through one queue.
 *
 * The plug queue (net/sched/sch_plug.c) keeps three numbers of frames: those of the running epoch
 * (counted as they come in), those of the epoch that was sealed last, and those that may leave.
 * BUFFER moves the first to the second (a barrier), RELEASE_ONE adds the second to the third (a
 * release), RELEASE_INDEFINITE opens the queue (pass). A second BUFFER before RELEASE_ONE would
 * forget the sealed number, and its frames would stay for ever. So BUFFER and RELEASE_ONE alternate
 * strictly: a barrier that comes while an epoch is sealed leaves its frames with those that follow,
 * and they leave with a later epoch. With one epoch in flight (nb_max_in_flight) that happens only
 * while releases have to wait (no record yet, no lease).
 *
 * Positions. The kernel's answer to a change carries the queue's counters: bytes ever taken out,
 * and bytes in it. Their sum, while nothing moves, is a position in the tap's stream of bytes, as
 * in the relay: "sealed up to here" and "open up to here" are such positions. (Frames would not do:
 * large ones are counted as segments on the way out, or as none.) So each look at the counters also
 * checks the output rule as the world sees it: more bytes out than were opened fail the session.
 *
 * The kernel changes those three numbers without the lock under which frames go in and out. What
 * follows from that, and what is done about it:
 * - BUFFER while a frame goes in could count it twice, and let a frame of the next epoch out with
 *   this one. So no frame may be on its way when BUFFER is sent: see "Stillness" below.
 * - RELEASE_ONE while frames of the one before still leave could lose an update: one frame too many
 *   might leave, or the rest be held back. So it is sent only when the counters say that the last
 *   release has left entirely; a timer asks every millisecond.
 * - The queue goes to sleep ("throttled") when it finds nothing to release. RELEASE_ONE or
 *   RELEASE_INDEFINITE in just that moment may be slept through. When nothing has moved for
 *   STUCK_NS though it may, it is sent again; nobody takes anything out then, so it meets nobody.
 * - The first BUFFER does not count what is still passing. It is sent when the queue is empty; the
 *   VM is paused, so it gets empty.
 *
 * Stillness. QEMU has answered `stop`, so no frame is on its way:
 * - Without vhost QEMU's main loop and vCPUs write to the tap. `stop` ends both, and QEMU completes
 *   or purges what its own queues hold (net.c, net_vm_change_state_handler).
 * - With vhost `stop` takes the back end away from the kernel's worker (virtio_net_vhost_status,
 *   vhost_net_stop, VHOST_NET_SET_BACKEND -1). The kernel does that under the lock under which the
 *   worker sends, and flushes it (drivers/vhost/net.c, vhost_net_set_backend).
 * - A write to a tap puts the frame through ingress, mirred and into the IFB's queue before it
 *   returns (drivers/net/tun.c: netif_receive_skb with softirqs off). Exceptions are packet
 *   steering (RPS), refused when the plug is made, and taps in NAPI mode, which hv does not name.
 * - Nobody else sends on the IFB: it has no address, and IPv6 is off on it.
 * Nothing of this is waited for, so it costs nothing. A frame that came late all the same would
 * belong to the next epoch: too late, not too early, but for the double count above, which the
 * check of positions finds.
 *
 * Hot path: one request per tap in one send(2), made beforehand. It is carried out inside that
 * call, so reading the answer is no wait. It takes the kernel's RTNL mutex: README, weaknesses.
 *
 * The first frame of an epoch wakes the loop through a packet socket at the tap (plug_watch.c).
 * That comes within microseconds and only once an epoch; asking for counters every millisecond
 * would cost a thousand turns of the loop a second, and half a millisecond of every answer.
 *
 * Failure. If somebody removes the queue, the filter or the device, the kernel reports it and the
 * session ends. If this process dies, the queue keeps holding and drops what exceeds its limit,
 * like the daemon's draining of the relay's sockets. nb_plug_clean with release, once the arbiter
 * has recorded that the VM runs alone (rule 4), lets the held frames leave and removes everything.
 * nb_plug_clean without release is for a VM that is gone or fenced.
 *
 * Limits: PLUG_MAX_TAPS taps; limit_bytes of frames, shared out evenly; what exceeds it is dropped,
 * newest first.
 */
#include "netbuffer/plug.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netlink/route/link.h>

#define AGAIN_NS TV_NS_PER_MS
#define STATS_AGE_NS (50 * TV_NS_PER_MS)
#define DROP_WAIT_NS (100 * TV_NS_PER_MS)
#define MIN_LIMIT_BYTES (256u << 10)

static struct plug *plug_of(struct nb *nb)
{
	return (struct plug *)nb; /* it begins with it */
}

static void destroy(struct plug *p);

static void enter(struct plug *p)
{
	p->depth++;
}

static void leave(struct plug *p)
{
	if (!--p->depth && p->freed)
		destroy(p);
}

/* ---- events of the loop ---- */

static void report_failure(struct plug *p)
{
	struct timeval now = {0, 0};

	/* From the loop, not from inside the owner's call that found it. Once. */
	if (p->failed_rc && p->report && p->conf.failed &&
	    !event_pending(p->report, EV_TIMEOUT, NULL))
		event_add(p->report, &now);
}

static void on_report(evutil_socket_t fd, short what, void *arg)
{
	struct plug *p = arg;
	void (*failed)(void *, const char *, int) = p->conf.failed;

	(void)fd, (void)what;
	p->conf.failed = NULL;
	enter(p);
	failed(p->conf.arg, p->failed_port, p->failed_rc);
	leave(p);
}

/* Releases what may leave; runs again as long as something is on its way. */
static void advance(struct plug *p)
{
	struct timeval soon = tv_timeval(AGAIN_NS);
	bool more;

	pthread_mutex_lock(&p->lock);
	more = plug_advance(p);
	pthread_mutex_unlock(&p->lock);
	if (more)
		event_add(p->again, &soon);
	report_failure(p);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	advance(arg);
}

/*
 * Edge-triggered, and what is in the socket stays until the next barrier takes it out: frames after
 * the first wake nobody. A barrier may have come in between; then there is nothing in it.
 */
static void on_frame(evutil_socket_t fd, short what, void *arg)
{
	struct plug_tap *t = arg;
	struct plug *p = t->plug;
	int64_t now_ns = tv_now_ns();
	bool first;

	(void)what;
	pthread_mutex_lock(&p->lock);
	first = p->mode == NB_HOLD && !p->announced && plug_watch_has(fd);
	if (first) {
		p->announced = true;
		if (!p->first_ns)
			p->first_ns = now_ns;
	}
	pthread_mutex_unlock(&p->lock);
	if (!first || !p->conf.first_held)
		return;
	enter(p);
	p->conf.first_held(p->conf.arg, now_ns);
	leave(p);
}

static void on_news(evutil_socket_t fd, short what, void *arg)
{
	uint8_t buf[16384] __attribute__((aligned(8)));
	struct plug *p = arg;
	ssize_t r;

	(void)what;
	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
		pthread_mutex_lock(&p->lock);
		for (unsigned i = 0; i < p->taps_n; i++)
			if (plug_news_read(buf, (size_t)r, &p->taps[i].dev, p->taps[i].handle) ==
			    PLUG_NEWS_LOST)
				plug_fail(p, p->taps[i].name, -EPIPE);
		pthread_mutex_unlock(&p->lock);
	}
	report_failure(p);
}

/* ---- the owner's calls ---- */

static int plug_barrier(struct nb *nb, uint64_t epoch)
{
	struct plug *p = plug_of(nb);
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = plug_barrier_locked(p, epoch);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void plug_hold(struct nb *nb)
{
	struct plug *p = plug_of(nb);

	pthread_mutex_lock(&p->lock);
	if (p->mode == NB_PASS && !p->armed) {
		p->armed = true;
		p->last_epoch = 0;
	}
	pthread_mutex_unlock(&p->lock);
}

static void plug_release(struct nb *nb, uint64_t generation, uint64_t epoch)
{
	struct plug *p = plug_of(nb);

	if (generation != p->conf.generation)
		return;
	pthread_mutex_lock(&p->lock);
	if (p->mode == NB_HOLD) {
		if (epoch > p->last_epoch)
			epoch = p->last_epoch;
		if (epoch > p->wanted_epoch)
			p->wanted_epoch = epoch;
		p->wanted_ns = tv_now_ns();
	}
	pthread_mutex_unlock(&p->lock);
	advance(p);
}

static void plug_pass(struct nb *nb)
{
	struct plug *p = plug_of(nb);

	pthread_mutex_lock(&p->lock);
	plug_open(p);
	pthread_mutex_unlock(&p->lock);
	advance(p);
}

/* What has been released leaves first: it takes microseconds. */
static void drain(struct plug *p)
{
	int64_t until = tv_now_ns() + DROP_WAIT_NS;

	while (p->draining && plug_advance(p) && tv_now_ns() < until)
		poll(NULL, 0, 1);
}

static void plug_drop(struct nb *nb)
{
	struct plug *p = plug_of(nb);
	struct tv_err e = {0};

	pthread_mutex_lock(&p->lock);
	if (p->mode == NB_HOLD) {
		drain(p);
		if (plug_read(p))
			tv_log(TV_WARN, "%s: the number of dropped frames is unknown",
			       p->failed_port);
		for (unsigned i = 0; i < p->taps_n; i++) {
			struct plug_tap *t = &p->taps[i];
			uint32_t handle = t->handle ^ (3 * PLUG_HANDLE); /* 1: and 2: in turn */

			p->counts.dropped_frames += t->now.qlen;
			if (plug_dev_renew(p->sk, &t->dev, handle, p->tap_limit_bytes, &e)) {
				tv_log(TV_WARN, "%s", e.text);
				plug_fail(p, t->name, -EPIPE);
				continue;
			}
			t->handle = handle;
			t->now = (struct tc_counters){.handle = handle};
			t->open_bytes = t->sealed_bytes = 0;
		}
		p->sealed = p->draining = false;
		p->sealed_first_ns = p->first_ns = 0;
		plug_prepare(p);
	}
	pthread_mutex_unlock(&p->lock);
	report_failure(p);
}

static enum nb_mode plug_mode(struct nb *nb)
{
	struct plug *p = plug_of(nb);
	enum nb_mode mode;

	pthread_mutex_lock(&p->lock);
	mode = p->mode;
	pthread_mutex_unlock(&p->lock);
	return mode;
}

static void plug_stats(struct nb *nb, struct nb_stats *out)
{
	struct plug *p = plug_of(nb);

	pthread_mutex_lock(&p->lock);
	if (!p->failed_rc && tv_now_ns() - p->read_ns > STATS_AGE_NS && plug_read(p))
		tv_log(TV_WARN, "cannot read the counters of %s", p->failed_port);
	*out = p->counts;
	for (unsigned i = 0; p->mode == NB_HOLD && i < p->taps_n; i++) {
		out->held_frames += p->taps[i].now.qlen;
		out->held_bytes += p->taps[i].now.backlog_bytes;
	}
	out->oldest_held_ns = p->sealed_first_ns ? p->sealed_first_ns : p->first_ns;
	pthread_mutex_unlock(&p->lock);
	report_failure(p);
}

static bool plug_idle(struct nb *nb)
{
	struct plug *p = plug_of(nb);
	bool idle = true;

	pthread_mutex_lock(&p->lock);
	if (!p->failed_rc && !plug_read(p))
		for (unsigned i = 0; i < p->taps_n && idle; i++) {
			const struct plug_tap *t = &p->taps[i];

			idle = p->mode == NB_HOLD ? t->now.bytes == t->open_bytes : !t->now.qlen;
			idle = idle && !plug_dev_on_their_way(p->sk, &t->dev);
		}
	pthread_mutex_unlock(&p->lock);
	return idle;
}

/* ---- beginning and end ---- */

static void event_end(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

static void stop_listening(struct plug *p)
{
	event_end(&p->again);
	event_end(&p->report);
	event_end(&p->news);
	tv_close_fd(&p->monitor_fd);
	for (unsigned i = 0; i < p->taps_n; i++)
		event_end(&p->taps[i].frame);
}

static void destroy(struct plug *p)
{
	bool release = p->mode == NB_PASS;
	struct tv_err e = {0};

	stop_listening(p);
	for (unsigned i = 0; i < p->taps_n; i++) {
		if (plug_dev_remove(p->sk, &p->taps[i].dev, release, &e))
			tv_log(TV_WARN, "%s", e.text);
		tv_close_fd(&p->taps[i].watch_fd);
	}
	plug_sock_close(p->sk);
	tv_close_fd(&p->fd);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void plug_free(struct nb *nb)
{
	struct plug *p = plug_of(nb);

	if (!p->depth) {
		destroy(p);
		return;
	}
	p->freed = true;
	stop_listening(p);
}

static const struct nb_ops plug_ops = {
	.name = "plug",
	.max_in_flight = 1,
	.hold = plug_hold,
	.barrier = plug_barrier,
	.release = plug_release,
	.pass = plug_pass,
	.drop = plug_drop,
	.mode = plug_mode,
	.stats = plug_stats,
	.idle = plug_idle,
	.free = plug_free,
};

static int add_tap(struct plug *p, const struct nb_plug_tap *from, const char *vm_id,
		   struct tv_err *e)
{
	struct plug_tap *t = &p->taps[p->taps_n];
	int rc;

	*t = (struct plug_tap){.plug = p, .handle = PLUG_HANDLE, .watch_fd = -1};
	memcpy(t->name, from->name, sizeof(t->name) - 1);
	memcpy(t->dev.ifname, from->ifname, sizeof(t->dev.ifname) - 1);
	t->dev.ifindex = from->ifindex;
	plug_dev_name(t->dev.ifb, vm_id, p->taps_n);
	p->taps_n++;
	rc = plug_watch_open(t->dev.ifindex, &t->watch_fd, e);
	if (rc)
		return rc;
	t->frame = event_new(p->base, t->watch_fd, EV_READ | EV_ET | EV_PERSIST, on_frame, t);
	if (!t->frame || event_add(t->frame, NULL))
		return tv_fail(e, -ENOMEM, "no memory");
	return plug_dev_make(p->sk, &t->dev, p->tap_limit_bytes, e);
}

static int set_up(struct plug *p, const struct nb_plug_tap *taps, unsigned n, const char *vm_id,
		  struct tv_err *e)
{
	int rc = tc_open(&p->fd);

	if (rc)
		return tv_fail(e, rc, "cannot open a netlink socket: %s", tv_strerror(rc));
	if (!(event_base_get_features(p->base) & EV_FEATURE_ET))
		return tv_fail(e, -ENOTSUP, "the event loop has no edge-triggered events");
	p->again = evtimer_new(p->base, on_again, p);
	p->report = evtimer_new(p->base, on_report, p);
	if (!p->again || !p->report)
		return tv_fail(e, -ENOMEM, "no memory");
	rc = plug_sock_open(&p->sk, e);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = add_tap(p, &taps[i], vm_id, e);
	/* Not earlier: while the devices are made, the kernel reports what looks like a loss (a
	 * device that is down). */
	if (rc || (rc = plug_monitor_open(&p->monitor_fd, e)))
		return rc;
	p->news = event_new(p->base, p->monitor_fd, EV_READ | EV_PERSIST, on_news, p);
	if (!p->news || event_add(p->news, NULL))
		return tv_fail(e, -ENOMEM, "no memory");
	plug_prepare(p);
	rc = plug_read(p);
	return rc ? tv_fail(e, rc, "cannot read the counters of %s: %s", p->failed_port,
			    tv_strerror(rc))
		  : 0;
}

static uint32_t share(size_t limit_bytes, unsigned n)
{
	size_t each = (limit_bytes ? limit_bytes : NB_DEFAULT_LIMIT_BYTES) / (n ? n : 1);

	if (each < MIN_LIMIT_BYTES)
		each = MIN_LIMIT_BYTES; /* some large frames */
	return each > INT32_MAX ? INT32_MAX : (uint32_t)each;
}

int nb_plug_new(struct event_base *base, const struct nb_plug_tap *taps, unsigned n,
		const char *vm_id, const struct nb_conf *conf, struct nb **out, struct tv_err *e)
{
	struct plug *p;
	int rc;

	*out = NULL;
	if (n > PLUG_MAX_TAPS)
		return tv_fail(e, -E2BIG, "cannot hold the output of %u taps (at most %d)", n,
			       PLUG_MAX_TAPS);
	rc = nb_plug_clean(vm_id, false, e);
	if (rc)
		return rc;
	p = calloc(1, sizeof(*p));
	if (!p)
		return tv_fail(e, -ENOMEM, "no memory");
	p->nb.ops = &plug_ops;
	p->base = base;
	p->conf = conf ? *conf : (struct nb_conf){0};
	p->tap_limit_bytes = share(p->conf.limit_bytes, n);
	p->fd = p->monitor_fd = -1;
	pthread_mutex_init(&p->lock, NULL);
	rc = set_up(p, taps, n, vm_id, e);
	if (rc)
		destroy(p);
	else
		*out = &p->nb;
	return rc;
}
