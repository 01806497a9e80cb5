/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the capture thread's tests share: the real thread, the real encoder, a VM of a few variables
 * (hv_fake_kit.h), and the loop's side. Included by one test program. */
#ifndef TESTS_UNIT_CAP_KIT_H
#define TESTS_UNIT_CAP_KIT_H

#include "replicator/source/capture.h"

#include "tests/unit/hv_fake_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- the VM, suspended by an operator ---- */
int hv_still_begin(struct hv_vm *v, int timeout_ms)
{
	int rc;

	(void)v;
	(void)timeout_ms;
	pthread_mutex_lock(&vm.lock);
	rc = vm.running ? -EAGAIN : 0;
	vm.stills += !rc;
	pthread_mutex_unlock(&vm.lock);
	return rc;
}

int hv_suspend(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	if (vm.one) /* inside an epoch */
		abort();
	vm.running = vm.paused = false;
	vm.suspends++;
	pthread_cond_broadcast(&vm.changed);
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_unsuspend(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	if (vm.one)
		abort();
	vm.running = true;
	vm.paused = false;
	pthread_cond_broadcast(&vm.changed);
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_keep_stopped(struct hv_vm *v, int timeout_ms)
{
	(void)v;
	(void)timeout_ms;
	pthread_mutex_lock(&vm.lock);
	vm.running = false;
	vm.paused = true;
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_suspend_vm(const struct hv_vm_id *id, bool stop, struct tv_err *e)
{
	(void)id;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	vm.running = !stop;
	vm.outside++;
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_unreadable(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	return tv_fail(e, TV_E_POISON, "the page at 0x1000 of pc.ram cannot be read");
}

/* ---- the loop's side ---- */
static struct event_base *base;
static struct encoder *en;
static struct cap *cap;
static struct cap_page page;
static bool link_stalled;
static int begun_rc;			   /* of the wait for the mirror's first request */
static int fail_rc;			   /* of FAILED; 0: begun_rc */
static unsigned seen[CAP_EV_DETACHED + 1]; /* by kind */
static unsigned markers;		   /* of an epoch's end */
static unsigned still_markers;		   /* of one of a suspended VM */
static uint64_t last_epoch;		   /* CAPTURED or OVERTAKEN */
static uint64_t last_pages, last_ahead;	   /* CAPTURED */
static uint64_t sent_pages;		   /* of the last epoch that has ended */
static enum cap_event_kind order_of[8];	   /* STOPPED, CAPTURED, OVERTAKEN as they came */
static unsigned order_n;
static unsigned poisons;
static char poison_text[256];

static bool on_piece(const struct piece *p, void *arg)
{
	(void)arg;
	markers += p->kind == PIECE_END;
	sent_pages = p->kind == PIECE_END ? p->pages : sent_pages;
	still_markers += p->kind == PIECE_END && p->still;
	return !link_stalled;
}

/* The parts of a pause follow each other, without a gap, and are in it. */
static void check_stamps(const struct cap_event *ev)
{
	const struct cap_stamps *t = &ev->stamps;
	int64_t end_ns = ev->pause_start_ns + ev->pause_ns;

	assert_true(ev->pause_start_ns > 0 && t->stopped_ns >= ev->pause_start_ns);
	assert_true(t->barrier_ns >= t->stopped_ns);
	assert_true(t->harvest_ns > 0 && t->copy_ns >= 0 && t->room_ns >= 0);
	assert_int_equal(t->taken_ns, t->barrier_ns + t->harvest_ns + t->copy_ns + t->room_ns);
	assert_true(t->saved_ns >= t->taken_ns && t->running_ns >= t->saved_ns);
	assert_true(end_ns >= t->running_ns && t->checked_ns >= end_ns);
}

static void on_event(const struct cap_event *ev, void *arg)
{
	(void)arg;
	if (ev->kind == CAP_EV_CAPTURED)
		check_stamps(ev);
	if (ev->kind == CAP_EV_CAPTURED) {
		last_pages = ev->pages;
		last_ahead = ev->stamps.ahead_pages;
	}
	free(ev->text);
	if (ev->kind == CAP_EV_FAILED)
		assert_int_equal(ev->rc, fail_rc ? fail_rc : begun_rc);
	seen[ev->kind]++;
	if (ev->kind == CAP_EV_VM && hv_event_is_poison(ev->vm_event)) {
		poisons++;
		snprintf(poison_text, sizeof(poison_text), "%s", ev->e.text);
	}
	if (ev->kind == CAP_EV_CAPTURED || ev->kind == CAP_EV_OVERTAKEN)
		last_epoch = ev->epoch;
	if ((ev->kind == CAP_EV_CAPTURED || ev->kind == CAP_EV_OVERTAKEN ||
	     ev->kind == CAP_EV_STOPPED) &&
	    order_n < 8)
		order_of[order_n++] = ev->kind;
}

static int on_barrier(void *arg, uint64_t epoch)
{
	(void)arg;
	pthread_mutex_lock(&vm.lock);
	vm.barriers++;
	vm.barrier = epoch;
	if (vm.running || page.pauses % 2 != 1)
		abort();
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

static void on_pausing(void *arg, bool on)
{
	(void)arg;
	(void)on;
}

static int on_disk(void *arg, uint64_t bytes, int *fd)
{
	(void)arg;
	assert_int_equal(bytes, 1 << 20);
	*fd = -1;
	return 0;
}

static int on_disks_begun(void *arg, int timeout_ms)
{
	(void)arg;
	assert_true(timeout_ms > 0);
	if (READ_VM(running) == READ_VM(iothreads) || !READ_VM(mirrors))
		abort();
	return begun_rc;
}

static void on_disks_copied(void *arg)
{
	(void)arg;
}

static bool no_wait(void *arg)
{
	(void)arg;
	return false;
}

static void await_event(enum cap_event_kind kind, unsigned n)
{
	while (seen[kind] < n)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

#ifndef STAGING_BYTES
#define STAGING_BYTES (1 << 20)
#endif

static int set_up(void **state)
{
	struct cap_conf conf = {.page = &page,
				.pausing = on_pausing,
				.barrier = on_barrier,
				.disk = on_disk,
				.disks_begun = on_disks_begun,
				.disks_copied = on_disks_copied,
				.disks_wait = no_wait,
				.event = on_event};

	(void)state;
	fake_hv_init();
	memset(&page, 0, sizeof(page));
	memset(seen, 0, sizeof(seen));
	poisons = order_n = markers = still_markers = 0;
	begun_rc = 0;
	link_stalled = false;
	base = event_base_new();
	assert_int_equal(encoder_new(base, STAGING_BYTES, 1 << 20, on_piece, NULL, &en), 0);
	assert_int_equal(cap_new(base, &conf, en, &cap), 0);
	cap_post(cap, CAP_ATTACH, 0);
	await_event(CAP_EV_ATTACHED, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	encoder_stop(en);
	cap_free(cap);
	encoder_free(en);
	event_base_free(base);
	fake_hv_dispose();
	return 0;
}

/* Until the thread has carried out all that was ordered and wished for. */
__attribute__((unused)) static void catch_up(void)
{
	unsigned n = seen[CAP_EV_NET_HELD];

	cap_post(cap, CAP_HOLD_NET, CAP_NET_FILTERS);
	await_event(CAP_EV_NET_HELD, n + 1);
}

__attribute__((unused)) static void flap(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		cap_want_stopped(cap, true);
		cap_want_stopped(cap, false);
	}
}

__attribute__((unused)) static void capture(uint64_t epoch)
{
	unsigned n = seen[CAP_EV_CAPTURED];

	cap_post(cap, CAP_EPOCH, epoch);
	await_event(CAP_EV_CAPTURED, n + 1);
	assert_int_equal(last_epoch, epoch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
