/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When epochs begin: each rule of docs/PACING.md, with a model of a guest. The model runs in steps of
 * STEP: in each, a guest that is not paused may work, send, and finish what it does; an epoch is
 * committed COMMIT after its pause, which lets its output leave, and the peer answers PEER later.
 */
#include "replicator/source/pace.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS TV_NS_PER_MS
#define STEP (MS / 20)
#define COMMIT (2 * MS)
#define PEER (MS / 4)

static const struct pace_waits nothing;

static struct pace_waits held(int64_t ns)
{
	return (struct pace_waits){.held_ns = ns};
}

/* ---- the model ---- */
enum what {
	SLEEPS, /* a thirtieth of a CPU */
	COMPUTES /* all of one, and sends nothing */,
	ANSWERS, /* one client, one request at a time */
	STREAMS, /* sends until window_ns of its work is held, then waits for its peer */
	SPEAKS,	 /* computes, and sends every 5 ms */
};
struct model {
	struct pace p;
	enum what what;
	int64_t pause_ns, request_ns, window_ns;
	/* state */
	int64_t now_ns, cpu_ns, paused_until_ns, commit_ns, request_at_ns, left_ns, sent_ns;
	int64_t spoke_ns, held_ns, flying_ns;
	bool flying; /* held output is of the epoch that is not committed */
	/* result */
	int64_t paused_ns, answered_ns, longest_ns, waited_ns;
	unsigned epochs, answers;
};

static void send_now(struct model *m)
{
	if (!m->held_ns)
		m->held_ns = m->now_ns;
}

/* Does it work in this step? */
static bool works(struct model *m)
{
	switch (m->what) {
	case SLEEPS:
		return m->now_ns / STEP % 30 == 0;
	case COMPUTES:
		return true;
	case ANSWERS:
		if (!m->left_ns)
			return false;
		m->left_ns -= STEP;
		if (!m->left_ns)
			send_now(m);
		return true;
	case STREAMS:
		if (m->sent_ns >= m->window_ns)
			return false;
		m->sent_ns += STEP;
		send_now(m);
		return true;
	case SPEAKS:
		if (m->now_ns - m->spoke_ns >= 5 * MS) {
			m->spoke_ns = m->now_ns;
			send_now(m);
		}
		return true;
	}
	return false;
}

static void commit(struct model *m)
{
	m->commit_ns = 0;
	if (!m->flying)
		return;
	m->flying = false;
	m->waited_ns = m->now_ns - m->flying_ns;
	if (m->waited_ns > m->longest_ns)
		m->longest_ns = m->waited_ns;
	m->answers++;
	m->answered_ns += m->waited_ns;
	m->request_at_ns = m->now_ns + PEER;
}

static void pause_now(struct model *m)
{
	pace_captured(&m->p, m->now_ns, m->pause_ns);
	m->epochs++;
	m->paused_ns += m->pause_ns;
	m->paused_until_ns = m->now_ns + m->pause_ns;
	m->commit_ns = m->paused_until_ns + COMMIT;
	m->flying = m->held_ns != 0;
	m->flying_ns = m->held_ns;
	m->held_ns = 0;
}

static void run(struct model *m, int64_t for_ns)
{
	int64_t end_ns = m->now_ns + for_ns;

	m->epochs = m->answers = 0;
	m->paused_ns = m->answered_ns = m->longest_ns = 0;
	for (; m->now_ns < end_ns; m->now_ns += STEP) {
		if (m->now_ns < m->paused_until_ns)
			continue;
		if (m->commit_ns && m->now_ns >= m->commit_ns)
			commit(m);
		if (m->request_at_ns && m->now_ns >= m->request_at_ns) {
			m->request_at_ns = 0;
			m->left_ns = m->request_ns;
			m->sent_ns = 0;
		}
		if (works(m))
			m->cpu_ns += STEP;
		pace_look(&m->p, m->now_ns, m->cpu_ns);
		if (!m->commit_ns && pace_due_ns(&m->p, held(m->held_ns)) <= m->now_ns)
			pause_now(m);
	}
}

static struct model model(enum what what, int64_t pause_ns)
{
	struct model m = {.p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS, .budget = 10},
			  .what = what,
			  .pause_ns = pause_ns,
			  .request_ns = MS / 4,
			  .request_at_ns = 1000 * MS,
			  .window_ns = 4 * MS,
			  .now_ns = 1000 * MS};

	pause_now(&m);
	return m;
}

/* In percent. */
static int64_t paused(const struct model *m, int64_t of_ns)
{
	return m->paused_ns * 100 / of_ns;
}

/* ---- one test for each rule ---- */
static void an_idle_guest_costs_one_epoch_a_second(void **state)
{
	struct model m = model(SLEEPS, 2 * MS);

	(void)state;
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(m.epochs, 9, 11);
}

static void a_request_is_answered_after_a_pause_and_a_commit(void **state)
{
	struct model m = model(ANSWERS, 2 * MS);

	(void)state;
	run(&m, TV_NS_PER_S);
	assert_true(m.answers > 100);
	/* From when it was held: its pause, its commit, and what the pace adds. */
	assert_true(m.answered_ns / m.answers <= m.pause_ns + COMMIT + MS);
}

/* Its window is what sets the length of an epoch. */
static void a_stream_gets_epochs_as_short_as_its_window(void **state)
{
	struct model m = model(STREAMS, 2 * MS);
	unsigned small;

	(void)state;
	run(&m, TV_NS_PER_S);
	small = m.epochs;
	assert_true(m.longest_ns <= m.window_ns + m.pause_ns + COMMIT + 3 * MS);
	m.window_ns *= 3;
	run(&m, 100 * MS); /* what was under way */
	run(&m, TV_NS_PER_S);
	assert_true(m.epochs < small);
	assert_true(m.longest_ns <= m.window_ns + m.pause_ns + COMMIT + 3 * MS);
}

static void a_busy_guest_that_speaks_keeps_its_share(void **state)
{
	struct model m = model(SPEAKS, 4 * MS);

	(void)state;
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(paused(&m, 10 * TV_NS_PER_S), 8, 10);
	m.p.budget = 25;
	run(&m, 100 * MS);
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(paused(&m, 10 * TV_NS_PER_S), 19, 25);
	assert_true(m.longest_ns < 30 * MS);
}

static void a_quiet_busy_guest_loses_a_third_of_that(void **state)
{
	struct model m = model(COMPUTES, 2 * MS);

	(void)state;
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(m.epochs, 45, 51); /* by its work: 200 ms of it */
	m = model(COMPUTES, 12 * MS);
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(paused(&m, 10 * TV_NS_PER_S), 2, 3);
	m = model(COMPUTES, 40 * MS); /* a second is the longest epoch */
	run(&m, 10 * TV_NS_PER_S);
	assert_in_range(m.epochs, 9, 10);
}

/* One sleeps for a while, and then works: it is seen at once. */
static void work_ends_an_idle_guests_epoch(void **state)
{
	struct model m = model(SLEEPS, 2 * MS);

	(void)state;
	run(&m, 700 * MS);
	assert_int_equal(m.epochs, 0);
	m.what = COMPUTES;
	run(&m, 190 * MS);
	assert_int_equal(m.epochs, 1);
}

/* A host that is short of CPUs: QEMU uses no time, and waits for it. */
static void one_that_waits_for_a_cpu_does_not_rest(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS, .budget = 10};

	(void)state;
	pace_captured(&p, 100 * MS, 4 * MS);
	pace_look(&p, 104 * MS, 0);
	pace_look(&p, 108 * MS, 4 * MS);
	pace_look(&p, 110 * MS, 4 * MS);
	assert_true(p.rests);
	assert_int_equal(pace_due_ns(&p, held(105 * MS)), 106 * MS);
	pace_runs(&p);
	/* 9 pauses, weighed with two thirds of a CPU */
	assert_in_range(pace_due_ns(&p, held(105 * MS)), 127 * MS, 129 * MS);
}

static void an_unknown_cpu_time_is_that_of_a_busy_guest(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS, .budget = 10};

	(void)state;
	pace_captured(&p, 100 * MS, 4 * MS);
	pace_look(&p, 105 * MS, -ESRCH);
	assert_int_equal(pace_due_ns(&p, held(105 * MS)), 140 * MS);
	assert_int_equal(pace_due_ns(&p, nothing), 304 * MS);
	assert_int_equal(pace_look_again_ns(&p, held(105 * MS)), INT64_MAX);
	pace_look(&p, 110 * MS, 50 * MS);
	pace_look(&p, 112 * MS, 10 * MS); /* another process: it went back */
	assert_int_equal(pace_due_ns(&p, held(105 * MS)), 140 * MS);
}

static void it_is_looked_at_while_output_is_held(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS, .budget = 10};

	(void)state;
	pace_captured(&p, 100 * MS, 8 * MS);
	pace_look(&p, 108 * MS, 0);
	assert_int_equal(pace_look_again_ns(&p, nothing), INT64_MAX);
	assert_int_equal(pace_look_again_ns(&p, held(109 * MS)), 112 * MS);
	pace_look(&p, 113 * MS, 5 * MS);
	assert_int_equal(pace_look_again_ns(&p, held(109 * MS)), 114 * MS);
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_look_again_ns(&p, held(109 * MS)), INT64_MAX);
}

static void a_comparison_and_a_weak_host_shorten_epochs(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS, .budget = 10};

	(void)state;
	pace_captured(&p, 1000 * MS, 2 * MS);
	pace_look(&p, 1002 * MS, 0);
	pace_look(&p, 1050 * MS, 0);
	assert_int_equal(pace_due_ns(&p, nothing), 2000 * MS);
	assert_int_equal(pace_due_ns(&p, (struct pace_waits){.wanted = true}), 1100 * MS);
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, (struct pace_waits){.wanted = true}), 1100 * MS);
	p.mode = PACE_ADAPTIVE;
	p.hurried = true;
	p.epoch_ns = 6 * MS;
	assert_int_equal(pace_due_ns(&p, nothing), 1024 * MS);
}

static void pace_follows_its_mode(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS};
	enum pace_mode m;

	(void)state;
	pace_captured(&p, 100 * MS, 4 * MS);
	assert_int_equal(pace_due_ns(&p, nothing), 125 * MS);
	assert_int_equal(pace_due_ns(&p, held(101 * MS)), 125 * MS); /* talk changes nothing */
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, held(107 * MS)), 107 * MS);
	assert_int_equal(pace_due_ns(&p, nothing), 1100 * MS);
	assert_int_equal(pace_mode_parse("adaptive", &m), 0);
	assert_int_equal(m, PACE_ADAPTIVE);
	assert_int_equal(pace_mode_parse("fast", &m), -EINVAL);
	assert_string_equal(pace_mode_name(PACE_KEMARI), "kemari");
}

/* One flush of seconds moves the mean a little; flushes that stay slow space the pauses. */
static void pace_mean_forgets(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS};

	(void)state;
	pace_captured(&p, 0, 2 * MS);
	pace_captured(&p, 100 * MS, 6500 * MS);
	assert_in_range(p.pause_ns, 2 * MS, 3 * MS);
	assert_in_range(pace_due_ns(&p, held(6601 * MS)), 6618 * MS, 6627 * MS);
	for (int i = 0; i < 64; i++)
		pace_captured(&p, (7000 + i * 30) * MS, 2 * MS);
	assert_in_range(p.pause_ns, 2 * MS, 2 * MS + MS / 2);
	for (int i = 0; i < 64; i++)
		pace_captured(&p, (9000 + i * 1000) * MS, 300 * MS);
	assert_in_range(p.pause_ns, 270 * MS, 300 * MS);
	assert_int_equal(pace_due_ns(&p, held(72301 * MS)), 73300 * MS); /* a second at most */
	p.pause_ns = 0;
	pace_captured(&p, 0, 6500 * MS);
	assert_int_equal(p.pause_ns, 100 * MS);
}

/* Where a pause is longer than an epoch is to be, every mode lets the VM run, also one that rests. */
static void pace_leaves_half(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS, .pause_ns = 80 * MS};

	(void)state;
	pace_captured(&p, 1000 * MS, 80 * MS);
	assert_int_equal(pace_due_ns(&p, nothing), 1160 * MS);
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, held(1081 * MS)), 1160 * MS);
	assert_int_equal(pace_due_ns(&p, held(1170 * MS)), 1170 * MS);
	p.mode = PACE_ADAPTIVE;
	pace_look(&p, 1080 * MS, 0);
	pace_look(&p, 1082 * MS, 0);
	assert_int_equal(pace_due_ns(&p, held(1081 * MS)), 1160 * MS);
	p.mode = PACE_KEMARI;
	p.pause_ns = 4 * MS;
	assert_int_equal(pace_due_ns(&p, held(1081 * MS)), 1081 * MS);
}

static void expect_target(const struct pace *p, int64_t ns, const char *why)
{
	const char *got;

	assert_int_equal(pace_target_ns(p, &got), ns);
	assert_string_equal(got, why);
}

/* What status shows of it. */
static void pace_target_has_a_reason(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS, .pause_ns = 4 * MS};

	(void)state;
	pace_captured(&p, 1000 * MS, 4 * MS);
	expect_target(&p, 25 * MS, "timer");
	p.mode = PACE_KEMARI;
	expect_target(&p, 1000 * MS, "idle");
	p.mode = PACE_ADAPTIVE;
	pace_look(&p, 1004 * MS, 0);
	pace_look(&p, 1024 * MS, 20 * MS);
	expect_target(&p, 204 * MS, "work");
	pace_look(&p, 1204 * MS, 20 * MS);
	expect_target(&p, 1000 * MS, "idle");
	p.pause_ns = 10 * MS;
	pace_look(&p, 1205 * MS, 201 * MS);
	expect_target(&p, 274 * MS, "pause budget");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_guest_costs_one_epoch_a_second),
		cmocka_unit_test(a_request_is_answered_after_a_pause_and_a_commit),
		cmocka_unit_test(a_stream_gets_epochs_as_short_as_its_window),
		cmocka_unit_test(a_busy_guest_that_speaks_keeps_its_share),
		cmocka_unit_test(a_quiet_busy_guest_loses_a_third_of_that),
		cmocka_unit_test(work_ends_an_idle_guests_epoch),
		cmocka_unit_test(one_that_waits_for_a_cpu_does_not_rest),
		cmocka_unit_test(an_unknown_cpu_time_is_that_of_a_busy_guest),
		cmocka_unit_test(it_is_looked_at_while_output_is_held),
		cmocka_unit_test(a_comparison_and_a_weak_host_shorten_epochs),
		cmocka_unit_test(pace_follows_its_mode),
		cmocka_unit_test(pace_mean_forgets),
		cmocka_unit_test(pace_leaves_half),
		cmocka_unit_test(pace_target_has_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
