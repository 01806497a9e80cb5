/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The moments of a failover, in every way that it can come about (replicator/sink/outage.c). */
#include "replicator/sink/outage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS TV_NS_PER_MS

static struct outage o;
static struct session_outage r;

static void at(int64_t ms, enum fo_backup_event ev, enum fo_backup_state to, int64_t sign_ms)
{
	outage_changed(&o, ev, to, NULL, sign_ms * MS, ms * MS);
}

static void runs(int64_t load_ms, int64_t ran_ms)
{
	o.load_ns = load_ms * MS;
	o.ran_ns = ran_ms * MS;
	at(ran_ms + 1, FO_BE_PROMOTE_DONE, FO_B_PROMOTED, ran_ms);
	outage_report(&o, &r);
	o = (struct outage){0};
}

static void check(const char *cause, int outage, int silence, int record, int apply, int load)
{
	assert_string_equal(r.cause, cause);
	assert_int_equal((int)r.outage_ms, outage);
	assert_int_equal((int)r.silence_ms, silence);
	assert_int_equal((int)r.record_ms, record);
	assert_int_equal((int)r.apply_ms, apply);
	assert_int_equal((int)r.load_ms, load);
	assert_int_equal(outage, silence + record + apply + load);
}

static void after_silence(void **state)
{
	(void)state;
	at(500, FO_BE_FIRST_COMMIT, FO_B_STANDBY, 500);
	at(1300, FO_BE_SILENCE, FO_B_ASKING, 1000);
	at(1310, FO_BE_WON, FO_B_PROMOTING, 1000);
	runs(1330, 1400);
	check("silence", 400, 300, 10, 20, 70);
}

static void arbiter_that_answers_late(void **state)
{
	(void)state;
	at(1300, FO_BE_GRACE_OVER, FO_B_ASKING, 1000);
	at(1500, FO_BE_UNREACHABLE, FO_B_ASKING, 1400);
	at(3300, FO_BE_WON, FO_B_PROMOTING, 1400);
	runs(3300, 3400);
	check("closed", 2400, 300, 2000, 0, 100);
}

static void operator_decides(void **state)
{
	(void)state;
	at(1300, FO_BE_SILENCE, FO_B_WAITING, 1000);
	at(1400, FO_BE_TRAFFIC, FO_B_STANDBY, 1400); /* it was back: nothing of that counts */
	at(2300, FO_BE_SILENCE, FO_B_WAITING, 2000);
	at(9300, FO_BE_FORCE, FO_B_PROMOTING, 2000);
	runs(9300, 9350);
	check("forced", 7350, 300, 7000, 0, 50);
}

static void by_plan(void **state)
{
	(void)state;
	outage_changed(&o, FO_BE_TAKE_OVER, FO_B_ASKING, "planned", 1000 * MS, 1000 * MS);
	outage_changed(&o, FO_BE_WON, FO_B_PROMOTING, "planned", 1000 * MS, 1010 * MS);
	runs(1010, 1060);
	check("planned", 60, 0, 10, 0, 50);
	/* without an arbiter nobody is asked */
	outage_changed(&o, FO_BE_TAKE_OVER, FO_B_PROMOTING, "planned", 1000 * MS, 1000 * MS);
	runs(1002, 1050);
	check("planned", 50, 0, 0, 2, 48);
	at(1000, FO_BE_TAKE_OVER, FO_B_ASKING, 1000); /* its QEMU died */
	at(1005, FO_BE_WON, FO_B_PROMOTING, 1000);
	runs(1006, 1046);
	check("asked", 46, 0, 5, 1, 40);
}

/* The whole time counts, also that of the promotion that failed. */
static void tried_again(void **state)
{
	(void)state;
	at(1300, FO_BE_SILENCE, FO_B_ASKING, 1000);
	at(1310, FO_BE_WON, FO_B_PROMOTING, 1000);
	at(2000, FO_BE_PROMOTE_FAILED, FO_B_KEPT, 1000);
	at(60000, FO_BE_RETRY, FO_B_ASKING, 1000);
	at(60010, FO_BE_WON, FO_B_PROMOTING, 1000);
	runs(60010, 60110);
	check("retry", 59110, 300, 58710, 0, 100);
}

static void what_was_not_measured_is_not_reported(void **state)
{
	(void)state;
	outage_report(&o, &r);
	assert_string_equal(r.cause, "");
	at(1300, FO_BE_SILENCE, FO_B_ASKING, 1000);
	at(1310, FO_BE_WON, FO_B_PROMOTING, 1000);
	outage_report(&o, &r);
	assert_string_equal(r.cause, "");
	assert_true(r.outage_ms == 0);
	o = (struct outage){0};
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_silence),
		cmocka_unit_test(arbiter_that_answers_late),
		cmocka_unit_test(operator_decides),
		cmocka_unit_test(by_plan),
		cmocka_unit_test(tried_again),
		cmocka_unit_test(what_was_not_measured_is_not_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
