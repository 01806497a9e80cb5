/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims on a record in memory: what follows a promotion that failed. */
#include "failover/failover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct memory {
	struct fo_arbiter a; /* first */
	struct fo_record r;  /* version 0: none */
};

static int on_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out, struct tv_err *e)
{
	struct memory *m = (struct memory *)a;

	(void)vm_id;
	(void)e;
	*out = m->r;
	return m->r.version ? 0 : -ENOENT;
}

static int on_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		  struct tv_err *e)
{
	struct memory *m = (struct memory *)a;

	(void)vm_id;
	(void)e;
	if (next->version != m->r.version + 1)
		return TV_E_LOST;
	m->r = *next;
	return 0;
}

static struct fo_claim claim_of(const char *self, const char *peer, const char *session,
				uint64_t generation)
{
	struct fo_claim c = {.generation = generation};

	snprintf(c.self, sizeof(c.self), "%s", self);
	snprintf(c.peer, sizeof(c.peer), "%s", peer);
	snprintf(c.session, sizeof(c.session), "%s", session);
	return c;
}

static void what_could_not_be_started_is_taken_back(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_claim again = claim_of("B", "A", "s1", 2);
	struct memory m = {.a = {.read = on_read, .cas = on_cas}};
	struct fo_arbiter *a = &m.a;
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_BACK, &p, &r, &e), TV_E_LOST); /* no record at all */
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_BACK, &p, &r, &e), 0);
	assert_int_equal(r.generation, 3);
	assert_string_equal(r.primary, "A");
	assert_int_equal(fo_claim(a, FO_ASK_BACK, &p, &r, &e), 0); /* asked again */
	/* a recovery that knows the old generation only */
	assert_int_equal(fo_claim(a, FO_ASK_ALONE, &p, &r, &e), 0);
	assert_int_equal(r.generation, 3);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &again, &r, &e), TV_E_LOST);
}

/* The backup offers back what it never took: the VM is the primary's by record, and stays that. */
static void an_offer_without_a_record_loses_nothing(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct memory m = {.a = {.read = on_read, .cas = on_cas}};
	struct fo_arbiter *a = &m.a;
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_BACK, &p, &r, &e), 0);
	assert_int_equal(r.generation, 3);
	assert_string_equal(r.primary, "A");
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), TV_E_LOST);
}

static void to_look_claims_nothing(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s2", 9);
	struct memory m = {.a = {.read = on_read, .cas = on_cas}};
	struct fo_arbiter *a = &m.a;
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_LOOK, &b, &r, &e), -ENOENT);
	assert_int_equal(fo_claim(NULL, FO_ASK_LOOK, &b, &r, &e), -ENOENT);
	b.had_record = true;
	assert_int_equal(fo_claim(a, FO_ASK_LOOK, &b, &r, &e), -ENODATA);
	assert_non_null(strstr(e.text, "and had one"));
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fo_claim(a, FO_ASK_LOOK, &b, &r, &e), 0);
		assert_true(r.version == 1 && r.generation == 1 && r.state == FO_PAIRED);
		assert_string_equal(r.primary, "A");
		assert_string_equal(r.session, "s1");
	}
}

static void a_retry_withdraws_the_offer(void **state)
{
	struct fo_claim p = claim_of("A", "B", "s1", 1), b = claim_of("B", "A", "s1", 1);
	struct fo_claim again = claim_of("B", "A", "s1", 2);
	struct memory m = {.a = {.read = on_read, .cas = on_cas}};
	struct fo_arbiter *a = &m.a;
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &p, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), 0);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &again, &r, &e), 0);
	assert_int_equal(r.generation, 3);
	assert_string_equal(r.primary, "B");
	assert_int_equal(fo_claim(a, FO_ASK_BACK, &p, &r, &e), TV_E_LOST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_could_not_be_started_is_taken_back),
		cmocka_unit_test(an_offer_without_a_record_loses_nothing),
		cmocka_unit_test(to_look_claims_nothing),
		cmocka_unit_test(a_retry_withdraws_the_offer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
