/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions off the loop, to an arbiter that answers when the test lets it. */
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ANSWERS 32

struct slow {
	struct fo_arbiter records; /* first */
	sem_t entered, go;
};

static int slow_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		     struct tv_err *e)
{
	struct slow *s = (struct slow *)a;

	(void)vm_id;
	(void)out;
	sem_post(&s->entered);
	sem_wait(&s->go);
	return tv_fail(e, -EIO, "slow");
}

static int no_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		  struct tv_err *e)
{
	(void)a;
	(void)vm_id;
	(void)next;
	return tv_fail(e, -EIO, "never asked");
}

static void slow_init(struct slow *s)
{
	s->records = (struct fo_arbiter){.read = slow_read, .cas = no_cas};
	assert_int_equal(sem_init(&s->entered, 0, 0), 0);
	assert_int_equal(sem_init(&s->go, 0, 0), 0);
}

struct answers {
	unsigned n;
	enum fo_question q[MAX_ANSWERS];
	int rc[MAX_ANSWERS];
	char why[640];
};

static void on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		      void *arg)
{
	struct answers *got = arg;

	assert_non_null(rec);
	assert_in_range(got->n, 0, MAX_ANSWERS - 1);
	got->q[got->n] = q;
	got->rc[got->n++] = rc;
	snprintf(got->why, sizeof(got->why), "%s", why);
}

static void until(struct event_base *base, const struct answers *got, unsigned n)
{
	while (got->n < n)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct event_base *base = event_base_new();
	struct fo_claim c = {.generation = 1};
	struct answers got = {0};
	struct fo_ask *ask;
	unsigned fit = 0;
	struct slow s;

	(void)state;
	slow_init(&s);
	assert_int_equal(fo_ask_new(base, fo_claim_here, &s.records, on_answer, &got, &ask), 0);
	fo_ask_start(ask, FO_ASK_PAIR, &c);
	sem_wait(&s.entered);
	for (int i = 0; i < 20; i++)
		fo_ask_start(ask, FO_ASK_ALONE, &c);
	assert_int_equal(got.n, 0); /* never from inside the call */
	assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_in_range(got.n, 1, 19);
	fit = 21 - got.n;
	for (unsigned i = 0; i < got.n; i++) {
		assert_int_equal(got.q[i], FO_ASK_ALONE);
		assert_int_equal(got.rc[i], -EAGAIN);
	}
	assert_string_equal(got.why, "too many questions are open");
	got.n = 0;
	for (unsigned i = 0; i < fit; i++)
		sem_post(&s.go);
	until(base, &got, fit);
	assert_int_equal(got.q[0], FO_ASK_PAIR);
	for (unsigned i = 0; i < fit; i++)
		assert_int_equal(got.rc[i], -EIO);
	assert_string_equal(got.why, "slow");
	fo_ask_free(ask);
	event_base_free(base);
}

/* The end waits for the question under way, and no other is asked any more. */
static void the_end_waits_for_one_question(void **state)
{
	struct event_base *base = event_base_new();
	struct fo_claim c = {.generation = 1};
	struct answers got = {0};
	struct fo_ask *ask;
	struct slow s;
	int entered;

	(void)state;
	slow_init(&s);
	assert_int_equal(fo_ask_new(base, fo_claim_here, &s.records, on_answer, &got, &ask), 0);
	fo_ask_start(ask, FO_ASK_ALONE, &c);
	fo_ask_start(ask, FO_ASK_ALONE, &c);
	sem_wait(&s.entered);
	for (int i = 0; i < 4; i++) /* the thread gets one, or takes the next and ends there */
		sem_post(&s.go);
	fo_ask_free(ask);
	assert_int_equal(got.n, 0);
	assert_int_equal(sem_getvalue(&s.entered, &entered), 0);
	assert_in_range(entered, 0, 1);
	event_base_free(base);
}

static void without_an_arbiter_answers_come_too(void **state)
{
	struct event_base *base = event_base_new();
	struct fo_claim c = {.self = "a", .generation = 1};
	struct answers got = {0};
	struct fo_ask *ask;

	(void)state;
	assert_int_equal(fo_ask_new(base, fo_claim_here, NULL, on_answer, &got, &ask), 0);
	fo_ask_start(ask, FO_ASK_PAIR, &c);
	fo_ask_start(ask, FO_ASK_PROMOTE, &c);
	until(base, &got, 2);
	assert_int_equal(got.rc[0], 0);
	assert_int_equal(got.rc[1], TV_E_LOST);
	fo_ask_free(ask);
	fo_ask_free(NULL);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(the_end_waits_for_one_question),
		cmocka_unit_test(without_an_arbiter_answers_come_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
