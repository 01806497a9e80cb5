/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows from the end of a session: every role with every outcome, and with none. */
#include "daemon/daemon.h"
#include "daemon/sessions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define P SESSION_PRIMARY
#define B SESSION_BACKUP
#define ANY_OF_BACKUP(how)                      \
	{                                       \
		B, how, NEXT_FORGET, .rc = -EIO \
	}

/* Written down a second time, in the order of the outcomes; the code has it by name. */
static const struct {
	enum session_role role;
	unsigned how;
	enum session_next next;
	bool stale, switched, lost, forget_record, reap;
	int rc;
} expected[] = {
	{P, SESSION_FAILED, NEXT_ALONE, .rc = 0},
	{P, SESSION_REFUSED, NEXT_ALONE, .rc = 0},
	{P, SESSION_LEFT, NEXT_FORGET, .forget_record = true},
	{P, SESSION_ALONE, NEXT_ALONE, .lost = true},
	{P, SESSION_VM_GONE, NEXT_FORGET, .forget_record = true, .rc = TV_E_GONE},
	{P, SESSION_TAKEN_OVER, NEXT_FORGET, .rc = TV_E_GONE},
	{P, SESSION_SWITCHED, NEXT_FORGET, .stale = true, .switched = true},
	{P, SESSION_SWITCH_FAILED, NEXT_ALONE, .lost = true},
	{P, SESSION_FENCED, NEXT_ALONE, .stale = true},
	{P, SESSION_PROMOTED, NEXT_ALONE, .rc = 0},
	{P, SESSION_DISCARDED, NEXT_ALONE, .rc = 0},
	{P, SESSION_DIED, NEXT_RECOVER, .rc = 0},
	ANY_OF_BACKUP(SESSION_FAILED),
	ANY_OF_BACKUP(SESSION_REFUSED),
	ANY_OF_BACKUP(SESSION_LEFT),
	ANY_OF_BACKUP(SESSION_ALONE),
	ANY_OF_BACKUP(SESSION_VM_GONE),
	ANY_OF_BACKUP(SESSION_TAKEN_OVER),
	ANY_OF_BACKUP(SESSION_SWITCHED),
	ANY_OF_BACKUP(SESSION_SWITCH_FAILED),
	ANY_OF_BACKUP(SESSION_FENCED),
	{B, SESSION_PROMOTED, NEXT_PRIMARY, .rc = 0},
	ANY_OF_BACKUP(SESSION_DISCARDED),
	{B, SESSION_DIED, NEXT_FORGET, .reap = true, .rc = -EIO},
};
#define N (sizeof(expected) / sizeof(*expected))

static void every_outcome_of_each_role_has_its_rule(void **state)
{
	(void)state;
	assert_int_equal(N, 2 * (SESSION_OUTCOME_COUNT + 1));
	for (size_t i = 0; i < N; i++) {
		const struct session_rule *r = session_rule(expected[i].role, expected[i].how);

		assert_int_equal(expected[i].role, i < N / 2 ? P : B);
		assert_int_equal(expected[i].how, i % (N / 2));
		if (r->next != expected[i].next || r->stale != expected[i].stale ||
		    r->switched != expected[i].switched || r->lost != expected[i].lost ||
		    r->forget_record != expected[i].forget_record || r->reap != expected[i].reap ||
		    r->rc != expected[i].rc)
			fail_msg("%s: %s", session_role_name(expected[i].role),
				 i % (N / 2) == SESSION_DIED
					 ? "died"
					 : session_outcome_name(
						   (enum session_outcome)expected[i].how));
	}
	/* What is no outcome at all. */
	assert_ptr_equal(session_rule(P, SESSION_DIED + 1), session_rule(P, SESSION_DIED));
	assert_ptr_equal(session_rule(B, UINT32_MAX), session_rule(B, SESSION_DIED));
}

/* The instance of the lower generation is stopped, whatever its session's outcome. */
static void a_stale_primary_is_fenced(void **state)
{
	(void)state;
	for (unsigned how = 0; how <= SESSION_DIED; how++) {
		enum session_next rule = session_rule(P, how)->next;

		assert_int_equal(session_next(P, how, false, false), rule);
		assert_int_equal(session_next(P, how, false, true), rule);
		assert_int_equal(session_next(P, how, true, true), NEXT_FENCE);
		/* Its process has ended: there is nothing to stop. After a death, that is for the
		 * fence to find out. */
		assert_int_equal(session_next(P, how, true, false),
				 how == SESSION_DIED ? NEXT_FENCE : rule);
	}
}

/* What a backup has is a copy: there is nothing to fence. */
static void a_backup_is_never_fenced(void **state)
{
	(void)state;
	for (unsigned how = 0; how <= SESSION_DIED; how++)
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(session_next(B, how, i & 1, i & 2),
					 session_rule(B, how)->next);
}

/* Neither role keeps an entry in a state that no rule of its role leads out of. */
static void roles_do_not_mix(void **state)
{
	(void)state;
	for (unsigned how = 0; how <= SESSION_DIED; how++) {
		const struct session_rule *p = session_rule(P, how), *b = session_rule(B, how);

		assert_int_not_equal(p->next, NEXT_PRIMARY);
		assert_false(p->reap);
		assert_true(b->next == NEXT_FORGET || b->next == NEXT_PRIMARY);
		assert_false(b->stale || b->switched || b->lost || b->forget_record);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_outcome_of_each_role_has_its_rule),
		cmocka_unit_test(a_stale_primary_is_fenced),
		cmocka_unit_test(a_backup_is_never_fenced),
		cmocka_unit_test(roles_do_not_mix),
	};

	return cmocka_run_group_tests_name("daemon_sessions", tests, NULL, NULL);
}
