/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * failover: what an arbiter must do, under races and damage. Against files, and against a real etcd
 * cluster as well when TWINVM_TEST_ETCD is its URL (TWINVM_TEST_CA, _CERT, _KEY for etcds://):
 * tests/local/51-etcd.sh does that.
 */
#include "failover/arbiter/arbiter.h"
#include "failover/arbiter/members_file.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define VM_ID "0123456789abcdef0123456789abcdef"

static char folder[64];
static struct fo_times times;
static struct fo_arbiter_conf conf = {.times = &times};

static const char *etcd_url(void)
{
	return getenv("TWINVM_TEST_ETCD");
}
static bool use_etcd;	/* in the test that runs */
static const char *url; /* and its arbiter */
static char file_url[100];

static struct fo_arbiter *open_arbiter(void)
{
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};

	if (fo_arbiter_open(url, &conf, &a, &e))
		fail_msg("%s", e.text);
	return a;
}

static int make_folder(void **state)
{
	(void)state;
	use_etcd = false;
	strcpy(folder, "/tmp/twinvm-arbiter-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(file_url, sizeof(file_url), "file://%s", folder);
	url = file_url;
	return 0;
}

static void forget(void)
{
	struct fo_arbiter *a = NULL;

	if (!fo_arbiter_open(url, &conf, &a, NULL)) {
		int rc = fo_arbiter_forget(a, VM_ID, NULL);

		(void)rc;
	}
	fo_arbiter_close(a);
}

static int remove_folder(void **state)
{
	char command[100];

	(void)state;
	forget();
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static int take_etcd(void **state)
{
	(void)state;
	use_etcd = true;
	url = etcd_url();
	forget();
	return 0;
}

static int leave_etcd(void **state)
{
	(void)state;
	forget();
	return 0;
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

static void pair_then_alone_then_no_promotion(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_arbiter *a = open_arbiter();
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), TV_E_LOST); /* no record at all */
	/* An empty mount point in the place of the directory has nothing to decide. */
	p.had_record = b.had_record = true;
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), -ENODATA);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), -ENODATA);
	assert_non_null(strstr(e.text, "is it the same arbiter"));
	p.had_record = false;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(r.version, 1);
	assert_int_equal(r.state, FO_PAIRED);
	/* The answer was lost: asked again, and written again: what was asked before has no version
	 * any more under which it could still be carried out. */
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(r.version, 2);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), 0);
	assert_int_equal(r.version, 4);
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0); /* the link was back in time */
	assert_int_equal(r.state, FO_PAIRED);
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), 0);
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

	(void)state;
	for (int i = 0; i < 40; i++) {
		struct fo_claim p = claim_of("A", "B", i % 2 ? "s1" : "s2", 1);

		assert_int_equal(fo_claim(a, i % 3 ? FO_ASK_PAIR : FO_ASK_ALONE, &p, &r, &e), 0);
	}
	assert_int_equal(fo_arbiter_read(a, VM_ID, &r, &e), 0);
	assert_int_equal(r.version, 40);
	if (!use_etcd) {
		char path[200];

		snprintf(path, sizeof(path), "%s/%s/%020d", folder, VM_ID, 1);
		assert_int_equal(access(path, F_OK), -1);
	}
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
	assert_int_equal(fo_ask_new(got.base, fo_claim_here, a, on_answer, &got, &ask), 0);
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

/* Whoever read a record that was removed since, and made anew by others, has lost, even though the
 * numbers fit. */
static void an_earlier_life_does_not_count(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), q = claim_of("A", "C", "s2", 1);
	struct fo_arbiter *a = open_arbiter(), *stale = open_arbiter();
	struct fo_record r, old;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(fo_arbiter_read(stale, VM_ID, &old, &e), 0);
	assert_int_equal(fo_arbiter_forget(a, VM_ID, &e), 0);
	assert_int_equal(fo_arbiter_read(a, VM_ID, &r, &e), -ENOENT);
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &q, &r, &e), 0);
	assert_int_equal(r.version, old.version);
	old.version++;
	assert_int_equal(fo_arbiter_cas(stale, VM_ID, &old, &e), TV_E_LOST);
	assert_int_equal(fo_arbiter_read(stale, VM_ID, &r, &e), 0);
	assert_string_equal(r.session, "s2");
	assert_int_equal(fo_arbiter_forget(a, VM_ID, &e), 0);
	assert_int_equal(fo_arbiter_forget(a, VM_ID, &e), 0);
	fo_arbiter_close(a);
	fo_arbiter_close(stale);
}

static void hosts_are_listed(void **state)
{
	struct fo_host b = {"unit-b", "10.0.0.2:7890", 4096, 8, FO_YELLOW};
	struct fo_host a = {"unit-a", "[fd00::1]:7890", 0, 1, FO_RED}, bad = a;
	struct fo_arbiter *x = open_arbiter(), *y = open_arbiter();
	struct fo_host got[FO_MAX_HOSTS];
	struct tv_err e = {0};
	int n, found = 0;

	(void)state;
	for (int i = 0; i < 3; i++) { /* granted, then renewed */
		b.free_mib++;
		assert_int_equal(fo_arbiter_announce(x, &b, &e), 0);
		assert_int_equal(fo_arbiter_announce(y, &a, &e), 0);
		n = fo_arbiter_members(x, got, FO_MAX_HOSTS, &e);
		assert_true(n >= 0);
	}
	for (int i = 0; i < n; i++) {
		assert_true(!i || strcmp(got[i - 1].name, got[i].name) < 0);
		found += !strcmp(got[i].name, a.name) && !memcmp(&got[i], &a, sizeof(a));
		found += !strcmp(got[i].name, b.name) && !memcmp(&got[i], &b, sizeof(b));
	}
	assert_int_equal(found, 2);
	assert_int_equal(fo_arbiter_members(x, got, 1, &e), 1);
	strcpy(bad.name, "../x");
	assert_int_equal(fo_arbiter_announce(x, &bad, &e), -EINVAL);
	strcpy(bad.name, "x");
	strcpy(bad.address, "no port");
	assert_int_equal(fo_arbiter_announce(x, &bad, &e), -EINVAL);
	fo_arbiter_close(x);
	fo_arbiter_close(y);
}

/* Freshness by the reader's clock only: a host is there as long as its count changes. */
static void files_of_hosts_beat(void **state)
{
	const int64_t s = TV_NS_PER_S, limit = 12 * s;
	struct fo_host a = {"a", "10.0.0.1:7890", 100, 4, FO_GREEN}, b = a, got[4];
	struct fo_members ma = {0}, mb = {0}, reader = {0};
	struct tv_err e = {0};
	char path[200];
	FILE *f;

	(void)state;
	strcpy(b.name, "b");
	assert_int_equal(fo_members_list(&reader, folder, 1 * s, limit, got, 4, &e), 0);
	assert_int_equal(fo_members_announce(&ma, folder, &a, &e), 0);
	assert_int_equal(fo_members_announce(&mb, folder, &b, &e), 0);
	/* two files, from yesterday perhaps */
	assert_int_equal(fo_members_list(&reader, folder, 2 * s, limit, got, 4, &e), 0);
	assert_int_equal(fo_members_announce(&ma, folder, &a, &e), 0);
	assert_int_equal(fo_members_list(&reader, folder, 5 * s, limit, got, 4, &e), 1);
	assert_memory_equal(&got[0], &a, sizeof(a));
	assert_int_equal(fo_members_list(&reader, folder, 16 * s, limit, got, 4, &e), 1);
	assert_int_equal(fo_members_list(&reader, folder, 17 * s, limit, got, 4, &e), 0);
	assert_int_equal(fo_members_announce(&ma, folder, &a, &e), 0);
	assert_int_equal(fo_members_announce(&mb, folder, &b, &e), 0);
	assert_int_equal(fo_members_list(&reader, folder, 18 * s, limit, got, 4, &e), 2);
	assert_int_equal(fo_members_list(&reader, folder, 18 * s, limit, got, 1, &e), 1);
	/* a daemon that was started again does not count on from where it was */
	ma = (struct fo_members){0};
	assert_int_equal(fo_members_announce(&ma, folder, &a, &e), 0);
	assert_int_equal(fo_members_list(&reader, folder, 31 * s, limit, got, 4, &e), 1);
	assert_string_equal(got[0].name, "a");
	/* another's file, a torn one: left out */
	snprintf(path, sizeof(path), "%s/hosts/b", folder);
	f = fopen(path, "w");
	fputs("{\"name\":\"a\"", f);
	fclose(f);
	assert_int_equal(fo_members_list(&reader, folder, 32 * s, limit, got, 4, &e), 1);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
#define ETCD_TEST(f) cmocka_unit_test_setup_teardown(f, take_etcd, leave_etcd)

int main(void)
{
	const struct CMUnitTest files[] = {
		cmocka_unit_test(without_arbiter),
		FILE_TEST(pair_then_alone_then_no_promotion),
		FILE_TEST(promotion_takes_a_higher_generation),
		FILE_TEST(exactly_one_wins),
		FILE_TEST(old_records_go_and_the_newest_counts),
		FILE_TEST(damage_is_not_an_answer),
		FILE_TEST(vanished_folder),
		FILE_TEST(questions_are_answered_in_order),
		FILE_TEST(hosts_are_listed),
		FILE_TEST(files_of_hosts_beat),
	};
	const struct CMUnitTest etcd[] = {
		ETCD_TEST(pair_then_alone_then_no_promotion),
		ETCD_TEST(promotion_takes_a_higher_generation),
		ETCD_TEST(exactly_one_wins),
		ETCD_TEST(old_records_go_and_the_newest_counts),
		ETCD_TEST(questions_are_answered_in_order),
		ETCD_TEST(an_earlier_life_does_not_count),
		ETCD_TEST(hosts_are_listed),
	};
	int bad;

	signal(SIGPIPE, SIG_IGN);
	fo_times_init(&times, 100 * TV_NS_PER_MS);
	bad = cmocka_run_group_tests(files, NULL, NULL);
	conf.ca = getenv("TWINVM_TEST_CA");
	conf.cert = getenv("TWINVM_TEST_CERT");
	conf.key = getenv("TWINVM_TEST_KEY");
	if (etcd_url())
		bad += cmocka_run_group_tests(etcd, NULL, NULL);
	return bad;
}
