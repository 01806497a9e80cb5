/* SPDX-License-Identifier: GPL-2.0-or-later */
/* trace: one time for two hosts, the file for Perfetto, the summary, and what hosts report to each other. */
#include "replicator/session/session.h"
#include "tests/unit/trace_kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- clocks ---- */

static void test_four_stamps(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_clock c = {0};
	struct trace_set s;

	(void)state;
	trace_clock_add(&c, t, 100 * MS, 0, 0, 101 * MS);	   /* an older peer */
	trace_clock_add(&c, t, 100 * MS, 7 * S, 6 * S, 101 * MS);  /* back in time */
	trace_clock_add(&c, t, 100 * MS, 7 * S, 8 * S, 101 * MS);  /* longer there than away */
	trace_clock_add(&c, t, 100 * MS, -7 * S, -6 * S, 200 * S); /* no times */
	trace_clock_add(&c, t, 100 * MS, 7 * S, INT64_MAX, INT64_MAX - 1);
	assert_int_equal(c.since_ns, 0);
	/* 7 s ahead; 1 ms there, 3 ms in it, 1 ms back. */
	trace_clock_add(&c, t, 100 * MS, 7 * S + 101 * MS, 7 * S + 104 * MS, 105 * MS);
	/* Of the next second the shortest, however it is placed. */
	trace_clock_add(&c, t, 200 * MS, 7 * S + 250 * MS, 7 * S + 250 * MS, 251 * MS);
	trace_clock_add(&c, t, 300 * MS, 7 * S + 300 * MS + 400000, 7 * S + 300 * MS + 400000,
			300 * MS + 800000);
	trace_clock_add(&c, t, 400 * MS, 7 * S + 401 * MS, 7 * S + 401 * MS, 460 * MS);
	trace_clock_add(&c, t, 1400 * MS, 8 * S + 440 * MS, 8 * S + 440 * MS, 1450 * MS);
	trace_add(t, TRACE_SEND, 1, 10, 20, 0);
	s = set_of(t);
	assert_int_equal(s.n, 3);
	assert_int_equal(s.events[0].phase, TRACE_CLOCK);
	assert_int_equal(s.events[0].value, 7 * S);
	assert_int_equal(s.events[0].length_ns, 2 * MS);
	assert_int_equal(s.events[1].value, 7 * S);
	assert_int_equal(s.events[1].length_ns, 800000);
	trace_set_free(&s);
	trace_free(t);
}

/*
 * Two clocks 5,000 s and 100 parts in a million apart, ways of 0.2 to 0.4 ms: after the alignment no time of
 * the backup is wrong by more than the trace says, though over the whole trace the clocks drift by 20 ms.
 */
static int64_t theirs(int64_t ours)
{
	return ours + 5000 * S + ours / 10000;
}
static int64_t way(void)
{
	return 200000 + rand() % 200000;
}

static void play(struct trace *t, unsigned epochs)
{
	struct trace_clock c = {0};

	srand(1);
	for (unsigned n = 1; n <= epochs; n++) {
		int64_t at = n * 100 * MS, there = at + 5 * MS + way(),
			back = there + 2 * MS + way();
		struct trace_event ev = {TRACE_RECEIVE, n, theirs(there - 300000), 0, 0};
		int64_t there2 = at + 50 * MS + way();

		trace_add(t, TRACE_SEND, n, at, at + 5 * MS, 0);
		trace_add(t, TRACE_ACK, n, at + 5 * MS, back, 0);
		ev.length_ns = theirs(there) - ev.start_ns;
		trace_add_peers(t, &ev);
		ev = (struct trace_event){TRACE_COMMIT, n, theirs(there + MS), MS, 0};
		trace_add_peers(t, &ev);
		ev = (struct trace_event){TRACE_APPLY, n, theirs(there + 2 * MS), MS, 0};
		trace_add_peers(t, &ev);
		trace_clock_add(&c, t, at + 50 * MS, theirs(there2), theirs(there2),
				there2 + way());
	}
}

static void test_drifting_clocks(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_set s;
	unsigned applied = 0;
	int64_t sent[2001] = {0};

	(void)state;
	play(t, 2000);
	s = set_of(t);
	trace_align(&s);
	assert_true(s.clocks > 150);
	assert_in_range(s.uncertain_ns, 200000, 400000);
	for (size_t i = 0; i < s.n; i++) {
		const struct trace_event *ev = &s.events[i];
		int64_t at = (int64_t)ev->epoch * 100 * MS;

		if (ev->phase == TRACE_SEND)
			sent[ev->epoch] = ev->start_ns + ev->length_ns;
		if (ev->phase != TRACE_APPLY)
			continue;
		applied++;
		assert_true(ev->start_ns >= sent[ev->epoch]);
		/* 7 ms and a way after `at`, by the primary's clock. */
		assert_in_range(ev->start_ns - at, 7 * MS + 200000 - s.uncertain_ns,
				7 * MS + 400000 + s.uncertain_ns);
	}
	assert_int_equal(applied, 2000);
	trace_set_free(&s);
	trace_free(t);
}

/* The way there is much longer than the way back: half of the difference would show an effect before its
 * cause. */
static void test_cause_and_effect(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_event ev = {TRACE_RECEIVE, 1, 9 * MS, MS, 0};
	struct trace_set s;

	(void)state;
	trace_add(t, TRACE_CLOCK, 0, 1, 20 * MS, 4 * MS);
	trace_add(t, TRACE_SEND, 1, 5 * MS, 8 * MS, 0);
	trace_add(t, TRACE_ACK, 1, 8 * MS, 20 * MS, 0);
	trace_add_peers(t, &ev); /* from 5 to 6 ms, by that clock: 2 ms too early */
	ev = (struct trace_event){TRACE_COMMIT, 1, 12 * MS, MS, 0};
	trace_add_peers(t, &ev);
	ev = (struct trace_event){TRACE_APPLY, 1, 13 * MS, MS, 0};
	trace_add_peers(t, &ev);
	s = set_of(t);
	trace_align(&s);
	assert_int_equal(s.moved, 1);
	assert_int_equal(s.uncertain_ns, 10 * MS);
	for (size_t i = 0; i < s.n; i++) {
		if (s.events[i].phase == TRACE_RECEIVE)
			assert_int_equal(s.events[i].start_ns, 7 * MS);
		if (s.events[i].phase == TRACE_APPLY)
			assert_int_equal(s.events[i].start_ns, 11 * MS);
	}
	trace_set_free(&s);
	trace_free(t);
}

static void test_without_the_other_half(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_event ev = {TRACE_APPLY, 1, 9 * MS, MS, 0};
	struct trace_set s;

	(void)state;
	trace_add(t, TRACE_SEND, 1, 5 * MS, 8 * MS, 0);
	trace_add_peers(t, &ev);
	s = set_of(t);
	assert_true(s.half[TRACE_B].there);
	trace_align(&s); /* the clocks were never compared */
	assert_int_equal(s.n, 1);
	assert_true(s.half[TRACE_P].there);
	assert_false(s.half[TRACE_B].there);
	trace_set_free(&s);
	trace_free(t);
	t = ring_of(TRACE_B); /* of an older primary */
	trace_add(t, TRACE_APPLY, 1, 5 * MS, 8 * MS, 0);
	s = set_of(t);
	trace_align(&s);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.events[0].start_ns, 5 * MS);
	assert_false(s.half[TRACE_P].there);
	trace_set_free(&s);
	trace_free(t);
}

/* The backup's trace has the primary's times, and the wall clock of time 0 goes with them. */
static void test_recorded_on_the_backup(void **state)
{
	struct trace *t = ring_of(TRACE_B);
	struct trace_event ev = {TRACE_CLOCK, 0, 1 * MS, 0, 50 * S};
	struct trace_set s;
	int64_t wall_ms;

	(void)state;
	trace_add_peers(t, &ev);
	trace_add(t, TRACE_APPLY, 1, 50 * S + 5 * MS, 50 * S + 8 * MS, 0);
	s = set_of(t);
	wall_ms = s.wall_ms_at_0;
	trace_align(&s);
	assert_int_equal(s.events[1].start_ns, 5 * MS);
	assert_int_equal(s.wall_ms_at_0, wall_ms + 50000);
	trace_set_free(&s);
	trace_free(t);
}

/* ---- output ---- */

static json_t *perfetto_of(struct trace *t)
{
	struct trace_set s = set_of(t);
	TV_FREE char *text = NULL;
	json_error_t je;
	json_t *o;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	trace_align(&s);
	assert_int_equal(trace_perfetto(&s, f), 0);
	fclose(f);
	o = json_loads(text, 0, &je);
	if (!o)
		fail_msg("%s: %s", je.text, text);
	trace_set_free(&s);
	return o;
}

static double number(const json_t *o, const char *key)
{
	assert_true(json_is_number(json_object_get(o, key)));
	return json_number_value(json_object_get(o, key));
}

/* The n-th slice of that name. */
static const json_t *slice(const json_t *trace, const char *name, int n)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(trace, "traceEvents"), i, o)
		if (!strcmp(json_string_value(json_object_get(o, "ph")), "X") &&
		    !strcmp(json_string_value(json_object_get(o, "name")), name) && !n--)
			return o;
	return NULL;
}

static void is_at(const json_t *o, double ts, double dur)
{
	assert_non_null(o);
	assert_true(number(o, "ts") > ts - 1e-6 && number(o, "ts") < ts + 1e-6);
	assert_true(number(o, "dur") > dur - 1e-6 && number(o, "dur") < dur + 1e-6);
}

static void test_perfetto(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	json_t *o;

	(void)state;
	/* Parts of the pause are recorded in any order; microseconds have fractions. */
	trace_add(t, TRACE_STOP, 1, 1000, 1234, 0);
	trace_add(t, TRACE_SAVE, 1, 1234, 3000, 77);
	trace_add(t, TRACE_PAUSE, 1, 1000, 3000, 9);
	trace_add(t, TRACE_CONT, 1, 3000, 3000, 0);
	/* Two wait for their commit at a time. */
	trace_add(t, TRACE_ACK, 1, 4000, 9000, 0);
	trace_add(t, TRACE_ACK, 2, 5000, 10000, 0);
	/* Two stamps that overlap: the second begins where the first ends. */
	trace_add(t, TRACE_SEND, 1, 2000, 4000, 0);
	trace_add(t, TRACE_SEND, 2, 3500, 5000, 0);
	o = perfetto_of(t);
	assert_string_equal(json_string_value(json_object_get(o, "displayTimeUnit")), "ms");
	is_at(slice(o, "pause", 0), 0, 2);
	is_at(slice(o, "stop", 0), 0, 0.234);
	is_at(slice(o, "save", 0), 0.234, 1.766);
	is_at(slice(o, "cont", 0), 2, 0);
	is_at(slice(o, "send", 0), 1, 2);
	is_at(slice(o, "send", 1), 3, 1);
	assert_true(number(slice(o, "ack", 0), "tid") != number(slice(o, "ack", 1), "tid"));
	assert_true(number(slice(o, "pause", 0), "tid") == number(slice(o, "stop", 0), "tid"));
	assert_int_equal(number(json_object_get(slice(o, "save", 0), "args"), "bytes"), 77);
	assert_int_equal(number(json_object_get(slice(o, "pause", 0), "args"), "pages"), 9);
	assert_true(json_is_false(json_object_get(json_object_get(o, "otherData"), "backup_half")));
	json_decref(o);
	trace_free(t);
}

static void test_a_full_disk(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_set s;
	FILE *f = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(f);
	trace_add(t, TRACE_SEND, 1, 2000, 4000, 0);
	s = set_of(t);
	trace_align(&s);
	assert_int_equal(trace_perfetto(&s, f), -EIO);
	fclose(f);
	trace_set_free(&s);
	trace_free(t);
}

static const json_t *row(const json_t *summary, const char *phase)
{
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(summary, "phases"), i, o)
		if (!strcmp(json_string_value(json_object_get(o, "phase")), phase))
			return o;
	return NULL;
}

static void test_summary(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_set s;
	TV_FREE char *text = NULL;
	json_t *o;
	size_t bytes;
	FILE *f;

	(void)state;
	for (int n = 1; n <= 200; n++) { /* pauses of 1 to 200 ms: nine tenths are the stop */
		int64_t at = n * S;

		trace_add(t, TRACE_PAUSE, (uint64_t)n, at, at + n * MS, 0);
		trace_add(t, TRACE_STOP, (uint64_t)n, at, at + n * MS * 9 / 10, 0);
	}
	s = set_of(t);
	trace_align(&s);
	o = trace_summary(&s);
	assert_int_equal(number(row(o, "pause"), "count"), 200);
	assert_int_equal(number(row(o, "pause"), "p50_ms"), 100);
	assert_int_equal(number(row(o, "pause"), "p99_ms"), 198);
	assert_int_equal(number(row(o, "pause"), "worst_ms"), 200);
	assert_int_equal(number(row(o, "pause"), "worst_epoch"), 200);
	assert_int_equal(number(row(o, "stop"), "worst_ms"), 180);
	assert_int_equal(number(row(o, "other"), "worst_ms"), 20);
	assert_int_equal(number(o, "pause_ms"), 20100);
	assert_int_equal(number(o, "parts_ms"), 18090);
	assert_null(row(o, "apply"));
	f = open_memstream(&text, &bytes);
	trace_summary_print(o, f);
	fclose(f);
	assert_non_null(strstr(text, "add up to 90.0 %"));
	assert_non_null(strstr(text, "the backup's half is missing"));
	json_decref(o);
	trace_set_free(&s);
	trace_free(t);
}

/* Where the ring has begun to lose an epoch, its parts do not add up: it does not count. */
static void test_summary_of_whole_epochs(void **state)
{
	struct trace *t = ring_of(TRACE_P);
	struct trace_set s;
	json_t *o;

	(void)state;
	for (unsigned n = 0; n <= (TRACE_SLOTS - TRACE_MARGIN) / 2; n++) {
		int64_t at = (n + 1) * S;

		trace_add(t, TRACE_STOP, n + 1, at, at + MS, 0);
		trace_add(t, TRACE_PAUSE, n + 1, at, at + MS, 0);
	}
	trace_add(t, TRACE_SEND, 2, S, S + 1, 0); /* one more is lost: epoch 2's stop */
	s = set_of(t);
	assert_int_equal(s.lost, 3);
	trace_align(&s);
	o = trace_summary(&s);
	assert_int_equal(number(o, "first_epoch"), 3);
	assert_true(number(o, "pause_ms") == number(o, "parts_ms"));
	json_decref(o);
	trace_set_free(&s);
	trace_free(t);
}

/* ---- between hosts ---- */

/* What two hosts of this version report to each other; and an older one, which knows no phases. */
static void test_phases_travel_with_a_commit(void **state)
{
	struct trace_names backup = {TRACE_B, "vm", "b", "a", 1},
			   primary = {TRACE_P, "vm", "a", "b", 1};
	Twinvm__Committed c = TWINVM__COMMITTED__INIT, *got;
	Twinvm__EpochBegin *old;
	static const uint8_t golden[] = {
		0x08, 9,    0x10, 4,	0x1a, 12,	  /* epoch, generation, phases */
		0x08, 18,   0x10, 8,	0x18, 0xe8, 0x07, /* APPLY, epoch, start */
		0x20, 0xd0, 0x0f, 0x28, 10};		  /* length, value */
	struct wire_phases phases;
	struct trace *from, *to;
	struct trace_set s;
	struct tv_err e;
	uint8_t bytes[4096];
	size_t n;

	(void)state;
	assert_int_equal(trace_new(&backup, &from), 0);
	assert_int_equal(trace_new(&primary, &to), 0);
	trace_add(from, TRACE_APPLY, 8, 1000, 3000, 5);
	wire_phases_take(from, &phases);
	assert_int_equal(phases.n, 1);
	c.epoch = 9;
	c.generation = 4;
	c.phases = phases.at;
	c.n_phases = phases.n;
	n = twinvm__committed__pack(&c, bytes);
	assert_int_equal(n, sizeof(golden));
	assert_memory_equal(bytes, golden, n);
	got = twinvm__committed__unpack(NULL, n, bytes);
	assert_non_null(got);
	wire_phases_read(to, got->phases, got->n_phases);
	wire_phases_read(NULL, got->phases, got->n_phases);
	assert_int_equal(trace_read(trace_fd(to), &s, &e), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.events[0].epoch, 8);
	assert_int_equal(s.events[0].start_ns, 1000);
	assert_int_equal(s.events[0].length_ns, 2000);
	assert_int_equal(s.events[0].value, 5);
	trace_set_free(&s);
	/* An older host's Committed has the fields 1 and 2, as EpochBegin has. */
	old = twinvm__epoch_begin__unpack(NULL, n, bytes);
	assert_non_null(old);
	assert_int_equal(old->epoch, 9);
	assert_int_equal(old->generation, 4);
	n = twinvm__epoch_begin__pack(&(Twinvm__EpochBegin){.base = old->base, .epoch = 9}, bytes);
	twinvm__epoch_begin__free_unpacked(old, NULL);
	twinvm__committed__free_unpacked(got, NULL);
	got = twinvm__committed__unpack(NULL, n, bytes);
	wire_phases_read(to, got->phases, got->n_phases); /* none */
	twinvm__committed__free_unpacked(got, NULL);
	trace_free(from);
	trace_free(to);
}

/* A message full of them costs as much as one with TRACE_REPORT. */
static void test_more_phases_than_count(void **state)
{
	struct trace_names primary = {TRACE_P, "vm", "a", "b", 1};
	Twinvm__Phase all[200], *at[200];
	struct trace *t;
	struct trace_set s;
	struct tv_err e;

	(void)state;
	assert_int_equal(trace_new(&primary, &t), 0);
	for (unsigned i = 0; i < 200; i++) {
		all[i] = (Twinvm__Phase)TWINVM__PHASE__INIT;
		all[i].phase = i % 2 ? TRACE_APPLY : 0xffffffff;
		all[i].epoch = 1;
		all[i].start_ns = 1;
		at[i] = &all[i];
	}
	wire_phases_read(t, at, 200);
	assert_int_equal(trace_read(trace_fd(t), &s, &e), 0);
	assert_int_equal(s.n, TRACE_REPORT / 2);
	assert_int_equal(s.refused, TRACE_REPORT / 2);
	trace_set_free(&s);
	trace_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_four_stamps),
		cmocka_unit_test(test_drifting_clocks),
		cmocka_unit_test(test_cause_and_effect),
		cmocka_unit_test(test_without_the_other_half),
		cmocka_unit_test(test_recorded_on_the_backup),
		cmocka_unit_test(test_perfetto),
		cmocka_unit_test(test_a_full_disk),
		cmocka_unit_test(test_summary),
		cmocka_unit_test(test_summary_of_whole_epochs),
		cmocka_unit_test(test_phases_travel_with_a_commit),
		cmocka_unit_test(test_more_phases_than_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
