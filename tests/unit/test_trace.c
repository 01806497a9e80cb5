/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trace: the ring, also while it is written and when its writer lies; what an event costs. */
#include "tests/unit/trace_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void refuses(int fd, int want)
{
	struct trace_set s;
	struct tv_err e = {0};

	assert_int_equal(trace_read(fd, &s, &e), want);
	assert_true(e.text[0]);
	trace_set_free(&s);
}

/* ---- the ring ---- */

static void test_what_is_added_is_read(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_event theirs = {TRACE_APPLY, 5, 3000, 40, 0};
	struct trace_set s;

	(void)state;
	assert_true(trace_is_empty(t));
	refuses(trace_fd(t), -ENODATA);
	trace_add(t, TRACE_PAUSE, 5, 1000, 1500, 42);
	trace_add(t, TRACE_STOP, 5, 1000, 0, 0);     /* did not happen */
	trace_add(t, TRACE_STOP, 5, 1000, 999, 0);   /* nor that */
	trace_add(t, TRACE_APPLY, 5, 1000, 1100, 0); /* is the backup's */
	trace_add_peers(t, &theirs);
	assert_false(trace_is_empty(t));
	s = set_of(t);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.role, TRACE_P);
	assert_int_equal(s.generation, 7);
	assert_string_equal(s.vm, "vm1");
	assert_string_equal(s.half[TRACE_P].host, "hostA");
	assert_string_equal(s.half[TRACE_B].host, "hostB");
	assert_true(s.half[TRACE_P].there && s.half[TRACE_B].there);
	assert_int_equal(s.events[0].phase, TRACE_PAUSE);
	assert_int_equal(s.events[0].length_ns, 500);
	assert_int_equal(s.events[0].value, 42);
	assert_int_equal(s.events[1].phase, TRACE_APPLY);
	assert_int_equal(s.events[1].start_ns, 3000);
	assert_int_equal(s.events[1].length_ns, 40);
	assert_int_equal(s.lost + s.refused, 0);
	trace_set_free(&s);
	trace_free(t);
	trace_add(NULL, TRACE_PAUSE, 5, 1000, 1500, 42); /* without memory there is none */
	trace_free(NULL);
}

static void test_the_oldest_are_lost(void **state)
{
	struct trace *t = ring_of(TRACE_B);
	struct trace_set s;

	(void)state;
	for (uint64_t n = 1; n <= TRACE_SLOTS + 100; n++)
		trace_add(t, TRACE_APPLY, n, (int64_t)n, (int64_t)n + 1, 0);
	s = set_of(t);
	assert_int_equal(s.lost, 100 + TRACE_MARGIN);
	assert_int_equal(s.n, TRACE_SLOTS - TRACE_MARGIN);
	assert_int_equal(s.events[0].epoch, 101 + TRACE_MARGIN);
	assert_int_equal(s.events[s.n - 1].epoch, TRACE_SLOTS + 100);
	trace_set_free(&s);
	trace_free(t);
}

struct writer {
	struct trace *t;
	atomic_bool stop;
	atomic_uint_fast64_t n;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	for (uint64_t n = 1; !atomic_load(&w->stop); n++) {
		trace_add(w->t, TRACE_APPLY, n, (int64_t)n * 3, (int64_t)n * 3 + 5, (int64_t)n * 7);
		atomic_store(&w->n, n);
	}
	return NULL;
}

/* The reader gets only whole events, in order, and the writer never waits. */
static void test_is_read_while_it_is_written(void **state)
{
	struct writer w = {.t = ring_of(TRACE_B)};
	unsigned cut = 0;
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, write_on, &w);
	while (!atomic_load(&w.n))
		;
	for (int i = 0; i < 60; i++) {
		struct trace_set s = {0};
		struct tv_err e = {0};
		/* All of it may have been written over meanwhile. */
		int rc = trace_read(trace_fd(w.t), &s, &e);

		assert_true(!rc || rc == -ENODATA);
		assert_int_equal(s.refused, 0);
		for (size_t k = 0; k < s.n; k++) {
			const struct trace_event *ev = &s.events[k];

			assert_int_equal(ev->start_ns, ev->epoch * 3);
			assert_int_equal(ev->value, ev->epoch * 7);
			assert_int_equal(ev->epoch, s.events[0].epoch + k);
		}
		cut += s.n && s.n < TRACE_SLOTS;
		trace_set_free(&s);
	}
	assert_true(cut); /* else nothing was written while it was read */
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	trace_free(w.t);
}

static void test_what_is_reported(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_event of_peer = {TRACE_APPLY, 1, 1, 1, 0}, out[TRACE_REPORT];

	(void)state;
	assert_int_equal(trace_unreported(NULL, out), 0);
	assert_int_equal(trace_unreported(t, out), 0);
	trace_add(t, TRACE_SEND, 1, 10, 20, 3);
	trace_add_peers(t, &of_peer); /* is not sent back */
	trace_add(t, TRACE_ACK, 1, 20, 30, 0);
	assert_int_equal(trace_unreported(t, out), 2);
	assert_int_equal(out[0].phase, TRACE_SEND);
	assert_int_equal(out[0].value, 3);
	assert_int_equal(out[1].phase, TRACE_ACK);
	assert_int_equal(trace_unreported(t, out), 0);
	for (uint64_t n = 1; n <= 1000; n++) /* nobody to report to for long */
		trace_add(t, TRACE_SEND, n, 10, 20, 0);
	assert_int_equal(trace_unreported(t, out), TRACE_REPORT);
	assert_int_equal(out[0].epoch, 1000 - 2 * TRACE_REPORT + 1);
	trace_free(t);
}

/* ---- what a peer may say ---- */

static void test_a_peer_that_lies(void **state)
{
	static const struct trace_event bad[] = {
		{TRACE_NONE, 1, 1, 1, 0},
		{TRACE_PHASE_END, 1, 1, 1, 0},
		{(enum trace_phase)0x7fffffff, 1, 1, 1, 0},
		{TRACE_SEND, 1, 1, 1, 0}, /* ours */
		{TRACE_CLOCK, 0, 1, 1, 0},
		{TRACE_APPLY, 0, 1, 1, 0},
		{TRACE_APPLY, UINT64_MAX, 1, 1, 0},
		{TRACE_APPLY, TRACE_MAX_NUMBER, 1, 1, 0},
		{TRACE_APPLY, 1, 0, 1, 0},
		{TRACE_APPLY, 1, -1, 1, 0},
		{TRACE_APPLY, 1, INT64_MAX, 1, 0},
		{TRACE_APPLY, 1, TRACE_MAX_NS, 1, 0},
		{TRACE_APPLY, 1, 1, -1, 0},
		{TRACE_APPLY, 1, 1, INT64_MAX, 0},
		{TRACE_APPLY, 1, 1, TRACE_MAX_LENGTH_NS + 1, 0},
		{TRACE_APPLY, 1, 1, 1, -1},
		{TRACE_APPLY, 1, 1, 1, INT64_MAX},
	};
	struct trace *t = ring_of(TRACE_P);
	struct trace_event good = {TRACE_APPLY, 1, TRACE_MAX_NS - 1, TRACE_MAX_LENGTH_NS,
				   TRACE_MAX_NUMBER - 1};
	struct trace_set s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		trace_add_peers(t, &bad[i]);
	assert_true(trace_is_empty(t));
	trace_add_peers(t, &good);
	s = set_of(t);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.refused, sizeof(bad) / sizeof(*bad));
	trace_set_free(&s);
	trace_free(t);
}

/* Every time is believed until it is compared: nothing overflows, and the outputs stay whole. */
static void test_absurd_times_come_through(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_event ev = {TRACE_APPLY, 1, TRACE_MAX_NS - 1, TRACE_MAX_LENGTH_NS, 0};
	TV_FREE char *text = NULL;
	struct trace_set s;
	json_t *o;
	size_t n;
	FILE *f;

	(void)state;
	trace_add(t, TRACE_CLOCK, 0, 1, 2, -TRACE_MAX_NS + 1);
	trace_add(t, TRACE_CLOCK, 0, 5, 9, TRACE_MAX_NS - 1);
	trace_add(t, TRACE_SEND, 1, 1, 2, 0);
	trace_add_peers(t, &ev);
	ev.phase = TRACE_RECEIVE;
	ev.start_ns = 1;
	trace_add_peers(t, &ev);
	s = set_of(t);
	trace_align(&s);
	f = open_memstream(&text, &n);
	assert_int_equal(trace_perfetto(&s, f), 0);
	fclose(f);
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	json_decref(o);
	o = trace_summary(&s);
	assert_non_null(o);
	json_decref(o);
	trace_set_free(&s);
	trace_free(t);
}

/* ---- a ring whose writer is anybody's ---- */

static struct trace_head *open_up(struct trace *t)
{
	void *p = mmap(NULL, TRACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, trace_fd(t), 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void test_a_ring_that_is_none(void **state)
{
	int fd = memfd_create("x", MFD_ALLOW_SEALING), seals, fds[2];
	struct trace *t = ring_of(TRACE_P);
	struct trace_head *h = open_up(t);

	(void)state;
	seals = fcntl(trace_fd(t), F_GET_SEALS);
	assert_true(trace_fd_ok(trace_fd(t)));
	assert_int_equal(ftruncate(fd, TRACE_BYTES), 0);
	refuses(fd, -EINVAL); /* could be cut short while it is read */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	assert_true(trace_fd_ok(fd));
	refuses(fd, -EINVAL); /* zeroes */
	close(fd);
	fd = memfd_create("x", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, TRACE_HEAD_BYTES), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	refuses(fd, -EINVAL); /* short */
	close(fd);
	assert_int_equal(pipe(fds), 0);
	assert_false(trace_fd_ok(fds[0])); /* would wait */
	refuses(fds[0], -EINVAL);
	close(fds[0]);
	close(fds[1]);
	fd = open("/etc/shadow", O_PATH); /* anybody may have that */
	assert_false(trace_fd_ok(fd));
	close(fd);
	assert_false(trace_fd_ok(-1));
	trace_add(t, TRACE_SEND, 1, 1, 2, 0);
	h->slots = 1u << 30;
	refuses(trace_fd(t), -EINVAL);
	h->slots = TRACE_SLOTS;
	h->role = 2;
	refuses(trace_fd(t), -EINVAL);
	h->role = TRACE_P;
	atomic_store(&h->done, UINT64_MAX);
	refuses(trace_fd(t), -EINVAL);
	assert_int_equal(ftruncate(trace_fd(t), 0), -1); /* nor cut short while it is read */
	munmap(h, TRACE_BYTES);
	trace_free(t);
}

static void test_slots_that_are_none(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_head *h = open_up(t);
	struct trace_slot *slots = (struct trace_slot *)((char *)h + TRACE_HEAD_BYTES);
	struct trace_set s;

	(void)state;
	for (uint64_t n = 1; n <= 6; n++)
		trace_add(t, TRACE_SEND, n, 10, 20, 0);
	slots[0].phase = 99;
	slots[1].peers = 2;
	slots[2].peers = 1; /* a SEND of the backup */
	slots[3].number = 17;
	slots[4].length_ns = -1;
	memset(h->vm, 0xff, sizeof(h->vm)); /* no UTF-8, and no end */
	memcpy(h->host, "a\nb\x1b[2J", 8);
	s = set_of(t);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.events[0].epoch, 6);
	assert_int_equal(s.refused, 5);
	assert_true(tv_is_utf8(s.vm));
	assert_string_equal(s.half[TRACE_P].host, "a?b?[2J");
	trace_set_free(&s);
	munmap(h, TRACE_BYTES);
	trace_free(t);
}

/* ---- cost ---- */

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * S + ts.tv_nsec;
}

/* An event costs less than some readings of the clock, and those some tens of ns: in one run, one by the
 * other, since no absolute time is the same on two machines. */
static void test_cost_of_an_event(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	int64_t best_clock = INT64_MAX, best_event = INT64_MAX;
	volatile int64_t sink = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		int64_t from = cpu_ns(), mid, to;

		for (int i = 0; i < 2000; i++)
			sink += tv_now_ns();
		mid = cpu_ns();
		for (int i = 0; i < 2000; i++)
			trace_add(t, TRACE_SEND, (uint64_t)i + 1, 10, 20, 0);
		to = cpu_ns();
		best_clock = mid - from < best_clock ? mid - from : best_clock;
		best_event = to - mid < best_event ? to - mid : best_event;
	}
	print_message("an event: %lld ns, a reading of the clock: %lld ns\n",
		      (long long)best_event / 2000, (long long)best_clock / 2000);
	assert_true(best_event < 20 * best_clock);
	trace_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_added_is_read),
		cmocka_unit_test(test_the_oldest_are_lost),
		cmocka_unit_test(test_is_read_while_it_is_written),
		cmocka_unit_test(test_what_is_reported),
		cmocka_unit_test(test_a_peer_that_lies),
		cmocka_unit_test(test_absurd_times_come_through),
		cmocka_unit_test(test_a_ring_that_is_none),
		cmocka_unit_test(test_slots_that_are_none),
		cmocka_unit_test(test_cost_of_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
