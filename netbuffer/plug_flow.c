/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plug's barrier and release, and how they are kept apart. See plug.c. */
#include "netbuffer/plug.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* First barrier: what was passing leaves within microseconds, or this host is in trouble. */
#define SETTLE_NS (50 * TV_NS_PER_MS)
/* Nothing has left for so long though it may: the kernel's own race, see plug.c. */
#define STUCK_NS (20 * TV_NS_PER_MS)
/*
 * The owner had the right to release when it called nb_release. A release that could not be carried
 * out at once is carried out a little later by the timer; but not after this process has stood
 * still meanwhile, when that right may have ended. The owner's next release lets the same frames
 * leave.
 */
#define FRESH_NS (50 * TV_NS_PER_MS)

int plug_fail(struct plug *p, const char *port, int rc)
{
	if (!p->failed_rc) {
		p->failed_rc = rc;
		tv_copy(p->failed_port, sizeof(p->failed_port), port);
	}
	return rc;
}

void plug_prepare(struct plug *p)
{
	p->seal = p->release = p->open = p->ask = (struct tc_batch){0};
	for (unsigned i = 0; i < p->taps_n; i++) {
		const struct plug_tap *t = &p->taps[i];

		tc_batch_plug(&p->seal, t->dev.ifb_ifindex, t->handle, TCQ_PLUG_BUFFER);
		tc_batch_plug(&p->release, t->dev.ifb_ifindex, t->handle, TCQ_PLUG_RELEASE_ONE);
		tc_batch_plug(&p->open, t->dev.ifb_ifindex, t->handle, TCQ_PLUG_RELEASE_INDEFINITE);
		tc_batch_get(&p->ask, t->dev.ifb_ifindex);
	}
}

/* ---- counters ---- */

static void count(struct plug *p, const struct tc_counters *old, const struct tc_counters *new)
{
	uint64_t left = new->packets - old->packets, was_held;

	p->counts.dropped_frames += new->drops - old->drops;
	if (p->mode == NB_HOLD) {
		p->counts.released_frames += left;
		return;
	}
	was_held = left < p->late ? left : p->late;
	p->late -= was_held;
	p->counts.released_frames += was_held;
	p->counts.passed_frames += left - was_held;
}

/* One batch to the kernel; the counters as they are after it. */
static int talk(struct plug *p, struct tc_batch *b)
{
	struct tc_counters c[PLUG_MAX_TAPS] = {{0}};
	int rc = tc_exchange(p->fd, &p->seq, b, c);

	p->read_ns = tv_now_ns();
	if (rc)
		return plug_fail(p, p->taps_n == 1 ? p->taps[0].name : "(one of several)",
				 rc == -ENODEV || rc == -ENOENT || rc == -EINVAL ? -EPIPE : rc);
	for (unsigned i = 0; i < p->taps_n; i++) {
		struct plug_tap *t = &p->taps[i];

		if (c[i].handle != t->handle) /* somebody has put another queue there */
			return plug_fail(p, t->name, -EPIPE);
		if (c[i].bytes != t->now.bytes)
			p->moved_ns = p->read_ns;
		count(p, &t->now, &c[i]);
		t->now = c[i];
	}
	return 0;
}

/* Rule 1, seen from outside: the kernel has let out no more than was released. */
static int check_rule_1(struct plug *p)
{
	for (unsigned i = 0; p->mode == NB_HOLD && i < p->taps_n; i++)
		if (p->taps[i].now.bytes > p->taps[i].open_bytes)
			return plug_fail(p, p->taps[i].name, -EPROTO);
	return 0;
}

int plug_read(struct plug *p)
{
	int rc = talk(p, &p->ask);

	return rc ? rc : check_rule_1(p);
}

static bool has_left(const struct plug *p)
{
	for (unsigned i = 0; i < p->taps_n; i++) {
		const struct plug_tap *t = &p->taps[i];

		if (p->mode == NB_HOLD ? t->now.bytes < t->open_bytes : t->now.qlen)
			return false;
	}
	return true;
}

/* ---- the barrier: any thread, hot ---- */

/* Frames that pass are no epoch's: they must be out before the queue begins to count. */
static int settle(struct plug *p)
{
	int64_t until = tv_now_ns() + SETTLE_NS;
	int rc;

	for (;;) {
		rc = plug_read(p);
		if (rc || has_left(p))
			return rc;
		if (tv_now_ns() >= until)
			return -ETIMEDOUT;
		poll(NULL, 0, 1); /* lets whoever moves them run */
	}
}

static int close_queues(struct plug *p, uint64_t epoch)
{
	int rc = settle(p);

	if (rc)
		return rc;
	rc = talk(p, &p->seal);
	if (rc)
		return rc;
	for (unsigned i = 0; i < p->taps_n; i++)
		p->taps[i].open_bytes = p->taps[i].now.bytes;
	p->mode = NB_HOLD;
	p->armed = p->sealed = p->draining = false;
	p->released_epoch = p->wanted_epoch = epoch;
	return 0;
}

static int seal(struct plug *p, uint64_t epoch)
{
	int rc = talk(p, &p->seal);

	if (rc)
		return rc;
	/* Nothing moves: the guest is stopped, the last release has left. So the sum is exact. */
	for (unsigned i = 0; i < p->taps_n; i++)
		p->taps[i].sealed_bytes = p->taps[i].now.bytes + p->taps[i].now.backlog_bytes;
	p->sealed = true;
	p->sealed_epoch = epoch;
	p->sealed_first_ns = p->first_ns;
	return check_rule_1(p);
}

static void begin_epoch(struct plug *p)
{
	for (unsigned i = 0; i < p->taps_n; i++)
		plug_watch_empty(p->taps[i].watch_fd);
	p->announced = false;
	p->first_ns = 0;
}

/* Sets the epoch's frames apart, if there is room for another epoch in the kernel. */
static int end_epoch(struct plug *p, uint64_t epoch)
{
	int64_t first_ns = p->first_ns;
	int rc = 0;

	if (p->draining || p->sealed) {
		rc = plug_read(p);
		p->draining = p->draining && !has_left(p);
	}
	if (rc)
		return rc;
	if (!p->draining && !p->sealed) {
		rc = seal(p, epoch);
		first_ns = 0;
	}
	/* No room: its frames stay with those that follow, and leave with them. Later than they
	 * might, never earlier. */
	if (!rc)
		begin_epoch(p);
	p->first_ns = first_ns;
	return rc;
}

int plug_barrier_locked(struct plug *p, uint64_t epoch)
{
	int rc = 0;

	if (epoch <= p->last_epoch)
		return -EINVAL;
	if (p->failed_rc)
		return p->failed_rc;
	if (p->armed) {
		rc = close_queues(p, epoch);
		if (!rc)
			begin_epoch(p);
	} else if (p->mode == NB_PASS) {
		rc = plug_read(p);
	} else {
		rc = end_epoch(p, epoch);
	}
	if (!rc)
		p->last_epoch = epoch;
	return rc;
}

/* ---- release ---- */

static void assert_may_release(const struct plug *p)
{
	if (p->sealed_epoch <= p->wanted_epoch && p->sealed_epoch <= p->last_epoch)
		return;
	tv_log(TV_ERROR,
	       "output rule broken: epoch %llu would leave, but only %llu is released; aborting, "
	       "output stays held",
	       (unsigned long long)p->sealed_epoch, (unsigned long long)p->wanted_epoch);
	abort();
}

static void release_sealed(struct plug *p)
{
	int rc;

	assert_may_release(p);
	p->sealed = false;
	p->released_epoch = p->sealed_epoch;
	p->sealed_first_ns = 0;
	for (unsigned i = 0; i < p->taps_n; i++)
		p->taps[i].open_bytes = p->taps[i].sealed_bytes;
	p->draining = true;
	rc = talk(p, &p->release);
	p->moved_ns = p->read_ns;
	if (!rc && !plug_read(p))
		p->draining = !has_left(p);
}

static bool is_stuck(const struct plug *p)
{
	return p->read_ns - p->moved_ns >= STUCK_NS;
}

/* Frames that may leave do not: the release is sent once more. */
static void nudge(struct plug *p)
{
	p->moved_ns = p->read_ns;
	if (p->mode == NB_PASS)
		plug_open(p);
	else if (!p->sealed && talk(p, &p->release))
		return; /* reported by plug_fail */
}

/* A release that had to wait for too long is not carried out by the timer any more: see
 * FRESH_NS. */
static bool is_wanted(const struct plug *p)
{
	return p->sealed && p->wanted_epoch >= p->sealed_epoch &&
	       tv_now_ns() - p->wanted_ns < FRESH_NS;
}

bool plug_advance(struct plug *p)
{
	bool wanted = is_wanted(p);

	if (p->failed_rc || (!p->draining && !wanted))
		return false;
	if (p->draining) {
		if (plug_read(p))
			return false;
		p->draining = !has_left(p);
	}
	if (p->draining && is_stuck(p)) {
		/* Nobody is taking anything out: a release can meet nobody. */
		if (wanted)
			p->draining = false;
		else
			nudge(p);
	}
	if (!p->draining && wanted)
		release_sealed(p);
	return !p->failed_rc && (p->draining || is_wanted(p));
}

void plug_open(struct plug *p)
{
	p->sealed = p->armed = false;
	p->sealed_first_ns = p->first_ns = 0;
	p->last_epoch = p->sealed_epoch = p->wanted_epoch = p->released_epoch = 0;
	if (p->mode == NB_HOLD)
		for (unsigned i = 0; i < p->taps_n; i++)
			p->late += p->taps[i].now.qlen;
	p->mode = NB_PASS;
	p->draining = true;
	p->moved_ns = p->read_ns;
	if (talk(p, &p->open))
		tv_log(TV_WARN, "cannot open the queue of %s", p->failed_port);
}
