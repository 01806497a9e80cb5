/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failover: time-outs, the file arbiter under races and damage, questions off the loop. */
#include "failover/failover.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define VM_ID "0123456789abcdef0123456789abcdef"

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/twinvm-arbiter-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	struct fo_arbiter *a = NULL;
	char url[100];

	(void)state;
	snprintf(url, sizeof(url), "file://%s", folder);
	if (!fo_arbiter_open(url, &a, NULL)) {
		int rc = fo_arbiter_forget(a, VM_ID, NULL);

		(void)rc;
	}
	fo_arbiter_close(a);
	rmdir(folder);
	return 0;
}

static struct fo_arbiter *open_arbiter(void)
{
	struct fo_arbiter *a = NULL;
	char url[100];

	snprintf(url, sizeof(url), "file://%s", folder);
	assert_int_equal(fo_arbiter_open(url, &a, NULL), 0);
	return a;
}

static struct fo_claim claim_of(const char *self, const char *peer, const char *session,
				uint64_t generation)
{
	struct fo_claim c = {.generation = generation};

	strcpy(c.vm_id, VM_ID);
	strcpy(c.self, self);
	strcpy(c.peer, peer);
	strcpy(c.session, session);
	return c;
}

static void times_keep_their_order(void **state)
{
	static const int64_t beats_ms[] = {20, 100, 1000, 60000};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct fo_times t;

		fo_times_init(&t, beats_ms[i] * TV_NS_PER_MS);
		/* the primary's lease ends before the backup asks, with room for clock rates */
		assert_true(t.lease_ns + t.heartbeat_ns / 4 < t.suspect_ns);
		assert_true(t.suspect_ns < t.backup_lost_ns);
		assert_true(t.backup_lost_ns < t.reconnect_grace_ns);
		/* a stop that is late by two ticks is still in time */
		assert_true(t.lease_ns + 2 * t.tick_ns < t.suspect_ns);
		assert_true(t.beat_ns < t.lease_ns);
		assert_true(t.tick_ns < t.heartbeat_ns);
	}
}

static void bad_urls(void **state)
{
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_arbiter_open("none", &a, &e), 0);
	assert_null(a);
	assert_int_equal(fo_arbiter_open("ftp://x", &a, &e), -EINVAL);
	assert_non_null(strstr(e.text, "ftp://x"));
	assert_true(fo_arbiter_open("file:///does/not/exist", &a, &e) < 0);
	assert_non_null(strstr(e.text, "/does/not/exist"));
}

static void pair_then_alone_then_no_promotion(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_arbiter *a = open_arbiter();
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), TV_E_LOST); /* no record at all */
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(r.version, 1);
	assert_int_equal(r.state, FO_PAIRED);
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e),
			 0); /* the answer was lost: asked again */
	assert_int_equal(r.version, 1);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), 0);
	assert_int_equal(r.version, 2);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), TV_E_LOST);
	assert_non_null(strstr(e.text, "host A runs the VM alone"));
	fo_arbiter_close(a);
}

static void promotion_takes_a_higher_generation(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_claim stale = claim_of("B", "A", "s0", 1), other = claim_of("C", "A", "s1", 1);
	struct fo_arbiter *a = open_arbiter();
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &stale, &r, &e),
			 TV_E_LOST); /* an older session's copy */
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &other, &r, &e), TV_E_LOST);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), 0);
	assert_int_equal(r.generation, 2);
	assert_string_equal(r.primary, "B");
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e),
			 0); /* asked again: the same answer */
	assert_int_equal(r.generation, 2);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), TV_E_LOST);
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), TV_E_LOST);
	assert_non_null(strstr(e.text, "host B"));
	fo_arbiter_close(a);
}

static void without_arbiter(void **state)
{
	struct fo_claim c = claim_of("A", "B", "s1", 1);
	struct fo_record r;

	(void)state;
	assert_int_equal(fo_claim(NULL, FO_ASK_PAIR, &c, &r, NULL), 0);
	assert_int_equal(fo_claim(NULL, FO_ASK_ALONE, &c, &r, NULL), 0);
	assert_int_equal(fo_claim(NULL, FO_ASK_PROMOTE, &c, &r, NULL), TV_E_LOST);
}

struct racer {
	struct fo_claim c;
	enum fo_question q;
	pthread_barrier_t *start;
	int rc;
};

static void *race(void *arg)
{
	struct fo_arbiter *a = open_arbiter();
	struct racer *r = arg;
	struct fo_record rec;

	pthread_barrier_wait(r->start);
	r->rc = fo_claim(a, r->q, &r->c, &rec, NULL);
	fo_arbiter_close(a);
	return NULL;
}

/* Rule 3: the primary that wants to run alone and the backup that wants to promote, at the same
 * time. */
static void exactly_one_wins(void **state)
{
	int alone = 0, promoted = 0;

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct racer r[2] = {{.c = claim_of("A", "B", "s1", 1), .q = FO_ASK_ALONE},
				     {.c = claim_of("B", "A", "s1", 1), .q = FO_ASK_PROMOTE}};
		struct fo_arbiter *a = open_arbiter();
		pthread_barrier_t start;
		struct fo_record rec;
		pthread_t t[2];

		assert_int_equal(fo_arbiter_forget(a, VM_ID, NULL), 0);
		assert_int_equal(fo_claim(a, FO_ASK_PAIR, &r[0].c, &rec, NULL), 0);
		pthread_barrier_init(&start, NULL, 2);
		for (int k = 0; k < 2; k++) {
			r[k].start = &start;
			pthread_create(&t[k], NULL, race, &r[k]);
		}
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
		assert_true((r[0].rc == 0) != (r[1].rc == 0));
		assert_true(r[0].rc == 0 || r[0].rc == TV_E_LOST);
		assert_true(r[1].rc == 0 || r[1].rc == TV_E_LOST);
		alone += r[0].rc == 0;
		promoted += r[1].rc == 0;
		pthread_barrier_destroy(&start);
		fo_arbiter_close(a);
	}
	print_message("alone %d, promoted %d\n", alone, promoted);
}

static void old_records_go_and_the_newest_counts(void **state)
{
	struct fo_arbiter *a = open_arbiter();
	struct fo_record r;
	struct tv_err e = {0};
	char path[200];

	(void)state;
	for (int i = 0; i < 40; i++) {
		struct fo_claim p = claim_of("A", "B", i % 2 ? "s1" : "s2", 1);

		assert_int_equal(fo_claim(a, i % 3 ? FO_ASK_PAIR : FO_ASK_ALONE, &p, &r, &e), 0);
	}
	assert_int_equal(fo_arbiter_read(a, VM_ID, &r, &e), 0);
	assert_int_equal(r.version, 40);
	snprintf(path, sizeof(path), "%s/%s/%020d", folder, VM_ID, 1);
	assert_int_equal(access(path, F_OK), -1);
	/* a claim for a number that was removed long ago has lost */
	r.version = 3;
	assert_int_equal(fo_arbiter_cas(a, VM_ID, &r, &e), TV_E_LOST);
	r.version = 42;
	assert_int_equal(fo_arbiter_cas(a, VM_ID, &r, &e), -EINVAL);
	fo_arbiter_close(a);
}

static void damage_is_not_an_answer(void **state)
{
	static const char *const bad[] = {"",
					  "{",
					  "[]",
					  "{\"generation\":1}",
					  "{\"generation\":\"1\",\"state\":\"alone\",\"primary\":"
					  "\"A\",\"backup\":\"\",\"session\":\"\"}",
					  "{\"generation\":1,\"state\":\"odd\",\"primary\":\"A\","
					  "\"backup\":\"\",\"session\":\"\"}"};
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_arbiter *a = open_arbiter();
	char path[200];
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	snprintf(path, sizeof(path), "%s/%s/%020d", folder, VM_ID, 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		FILE *f = fopen(path, "w");
		int rc;

		fputs(bad[i], f);
		fclose(f);
		rc = fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e);
		assert_true(rc < 0 && rc != TV_E_LOST);
		rc = fo_claim(a, FO_ASK_ALONE, &p, &r, &e);
		assert_true(rc < 0 && rc != TV_E_LOST);
		assert_non_null(strstr(e.text, "malformed"));
	}
	assert_int_equal(fo_arbiter_read(a, "../../etc", &r, &e), -EINVAL);
	fo_arbiter_close(a);
}

/* A share that is not mounted any more must not look like a VM without a record. */
static void vanished_folder(void **state)
{
	struct fo_claim b = claim_of("B", "A", "s1", 1), p = claim_of("A", "B", "s1", 1);
	struct fo_arbiter *a = open_arbiter();
	struct fo_record r;
	struct tv_err e = {0};
	int rc;

	(void)state;
	assert_int_equal(rmdir(folder), 0);
	rc = fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e);
	assert_true(rc < 0 && rc != TV_E_LOST);
	rc = fo_claim(a, FO_ASK_ALONE, &p, &r, &e);
	assert_true(rc < 0 && rc != TV_E_LOST);
	assert_non_null(strstr(e.text, folder));
	assert_int_equal(mkdir(folder, 0700), 0);
	fo_arbiter_close(a);
}

struct answers {
	struct event_base *base;
	unsigned n;
	int rc[4];
	enum fo_question q[4];
};

static void on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		      void *arg)
{
	struct answers *a = arg;

	(void)rec;
	(void)why;
	a->q[a->n] = q;
	a->rc[a->n++] = rc;
	if (a->n == 3)
		event_base_loopbreak(a->base);
}

static void questions_are_answered_in_order(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct answers got = {.base = event_base_new()};
	struct fo_arbiter *a = open_arbiter();
	struct fo_ask *ask;

	(void)state;
	assert_int_equal(fo_ask_new(got.base, a, on_answer, &got, &ask), 0);
	fo_ask_start(ask, FO_ASK_PAIR, &p);
	fo_ask_start(ask, FO_ASK_PROMOTE, &b);
	fo_ask_start(ask, FO_ASK_ALONE, &p);
	event_base_dispatch(got.base);
	assert_int_equal(got.n, 3);
	assert_int_equal(got.q[0], FO_ASK_PAIR);
	assert_int_equal(got.rc[0], 0);
	assert_int_equal(got.rc[1], 0);
	assert_int_equal(got.rc[2], TV_E_LOST);
	fo_ask_free(ask);
	fo_arbiter_close(a);
	event_base_free(got.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_keep_their_order),
		cmocka_unit_test(bad_urls),
		cmocka_unit_test_setup_teardown(pair_then_alone_then_no_promotion, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(promotion_takes_a_higher_generation, make_folder,
						remove_folder),
		cmocka_unit_test(without_arbiter),
		cmocka_unit_test_setup_teardown(exactly_one_wins, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(old_records_go_and_the_newest_counts, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(damage_is_not_an_answer, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(vanished_folder, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(questions_are_answered_in_order, make_folder,
						remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
