/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rehearsals that are due: begun once, in their time, by the host whose they are; and the reminder. The
 * time is the test's. */
#include "events_kit.h"

#include "daemon/drills.h"
#include "daemon/schedules.h"

#include <time.h>

#define DAY 86400

static struct vm *vm;
static struct end rep;
static char asked[40][64];
static unsigned n_asked;
static json_t *request; /* the last one */

/* In the place of command_run: what was asked for. */
static void note(struct daemon *dm, struct ctl *c, json_t *msg)
{
	struct rehearsal r = {.kind = REHEARSAL_DRILL, .result = REHEARSAL_PASSED};
	const char *op = command_text(msg, "op", "");

	assert_true(n_asked < 40);
	snprintf(asked[n_asked++], sizeof(asked[0]), "%s %s", op, command_text(msg, "by", ""));
	json_decref(request);
	request = json_incref(msg);
	r.kind = !strcmp(op, "drill")	 ? REHEARSAL_DRILL
		 : !strcmp(op, "verify") ? REHEARSAL_VERIFY
					 : REHEARSAL_TEST_FAILOVER;
	tv_copy(r.by, sizeof(r.by), command_text(msg, "by", ""));
	r.id = rehearsals_begin(dm, vm->id, vm->name, &r);
	r.result = REHEARSAL_PASSED;
	assert_int_equal(rehearsals_end(dm, vm->id, vm->name, r.id, &r), 0);
	command_end(c, 0, "%s", "");
}

static void schedule(enum schedule_what what, const char *of, const char *text)
{
	struct schedule *s = &d.conf.schedules[d.conf.schedule_count++];
	struct tv_err e;

	assert_int_equal(schedule_parse(what, text, s, &e), 0);
	strcpy(s->vm, of);
}

static int begin(void **state)
{
	int rc = set_up(state);

	setenv("TZ", "UTC", 1);
	tzset();
	vm = kit_vm(SESSION_PRIMARY);
	vm->phase = VM_RUNNING;
	strcpy(vm->now.stats.state, "protected");
	kit_connect(&rep);
	vm->now.rep = rep.here;
	n_asked = 0;
	inner_start(note);
	return rc;
}

static int end(void **state)
{
	vm->now.rep = NULL;
	kit_hang_up(&rep);
	json_decref(request);
	request = NULL;
	return tear_down(state);
}

/* Today at that time of day: after what the history has, whose clock is real. */
static time_t today(int hour, int minute)
{
	time_t now = time(NULL);

	return now - now % DAY + DAY + hour * 3600 + minute * 60;
}

static unsigned look(time_t now)
{
	unsigned before = n_asked;

	schedules_look(&d, now);
	kit_settle();
	return n_asked - before;
}

static void it_begins_within_its_time(void **state)
{
	(void)state;
	schedule(SCHEDULE_DRILL, "", "daily 03:00 within=1h ping=10.0.0.9");
	assert_int_equal(look(today(2, 59)), 0);
	assert_int_equal(look(today(4, 1)), 0);
	/* hostB has the larger name of the two: it lets hostA begin first. */
	assert_int_equal(look(today(3, 0)), 0);
	assert_int_equal(look(today(3, 1)), 1);
	assert_string_equal(asked[0], "drill schedule");
	assert_string_equal(command_text(request, "ping", ""), "10.0.0.9");
	assert_string_equal(command_text(request, "vm", ""), ID);
}

static void what_has_been_begun_is_not_begun_again(void **state)
{
	time_t now = time(NULL);
	char text[40];
	struct tm tm;

	(void)state;
	gmtime_r(&now, &tm);
	snprintf(text, sizeof(text), "daily %02d:%02d", tm.tm_hour, tm.tm_min);
	schedule(SCHEDULE_DRILL, "", text);
	assert_int_equal(look(now + 90), 1);
	assert_int_equal(look(now + 120), 0);
	/* Nor by the next daemon. */
	rehearsals_stop(&d);
	assert_int_equal(look(now + 150), 0);
	/* The next day. */
	assert_int_equal(look(now + DAY + 90), 1);
}

static void what_an_operator_did_does_not_count(void **state)
{
	struct rehearsal r = {.kind = REHEARSAL_DRILL, .by = "operator"};
	time_t now = time(NULL);
	char text[40];
	struct tm tm;

	(void)state;
	gmtime_r(&now, &tm);
	snprintf(text, sizeof(text), "daily %02d:%02d", tm.tm_hour, tm.tm_min);
	schedule(SCHEDULE_DRILL, "", text);
	rehearsals_begin(&d, vm->id, vm->name, &r);
	/* It runs: two at once are never begun. */
	assert_int_equal(look(now + 90), 0);
	r.result = REHEARSAL_PASSED;
	assert_int_equal(rehearsals_end(&d, vm->id, vm->name, r.id, &r), 0);
	assert_int_equal(look(now + 90), 1);
}

static void only_a_protected_vm_and_by_its_host(void **state)
{
	(void)state;
	schedule(SCHEDULE_DRILL, "", "daily 03:00");
	schedule(SCHEDULE_TEST_FAILOVER, "", "daily 03:00 probe=redis for=60 probe-timeout=5");
	schedule(SCHEDULE_VERIFY, "vm1", "no");
	schedule(SCHEDULE_VERIFY, "", "daily 03:00");
	strcpy(vm->now.stats.state, "syncing");
	assert_int_equal(look(today(3, 1)), 0);
	strcpy(vm->now.stats.state, "protected");
	vm->role = SESSION_BACKUP;
	assert_int_equal(look(today(3, 1)), 1);
	assert_string_equal(asked[0], "test-failover schedule");
	assert_int_equal(json_array_size(json_object_get(request, "probes")), 1);
	assert_int_equal(json_integer_value(json_object_get(request, "for_s")), 60);
	assert_int_equal(json_integer_value(json_object_get(request, "probe_s")), 5);
	vm->role = SESSION_PRIMARY;
	assert_int_equal(look(today(3, 1)), 1);
	assert_string_equal(asked[1], "drill schedule");
}

static void a_verification_has_what_the_configuration_has(void **state)
{
	(void)state;
	schedule(SCHEDULE_VERIFY, "", "daily 03:00 repair=yes");
	assert_int_equal(look(today(3, 1)), 1);
	assert_string_equal(asked[0], "verify schedule");
	assert_int_equal(json_integer_value(json_object_get(request, "rate_mb_s")), 20);
	assert_true(json_is_true(json_object_get(request, "repair")));
}

static void the_next_one(void **state)
{
	const struct schedule *s;
	time_t when;

	(void)state;
	assert_false(schedules_next(vm, today(0, 0), &s, &when));
	schedule(SCHEDULE_DRILL, "", "daily 03:00");
	schedule(SCHEDULE_VERIFY, "vm1", "daily 01:00");
	schedule(SCHEDULE_TEST_FAILOVER, "", "daily 00:30"); /* the backup's */
	assert_true(schedules_next(vm, today(0, 0), &s, &when));
	assert_int_equal(s->what, SCHEDULE_VERIFY);
	assert_int_equal(when, today(1, 0));
	assert_true(schedules_next(vm, today(2, 0), &s, &when));
	assert_int_equal(s->what, SCHEDULE_DRILL);
}

static unsigned reminders(void)
{
	json_t *all = read_all();
	unsigned n = 0;

	for (size_t i = 0; i < json_array_size(all); i++)
		n += !strcmp(text_at(all, i, "kind"), "rehearsal-due");
	json_decref(all);
	return n;
}

static void one_is_reminded_of_what_was_not_tried_for_long(void **state)
{
	struct rehearsal r = {.kind = REHEARSAL_DRILL, .by = "operator"};
	time_t now = time(NULL);

	(void)state;
	look(now + 400 * DAY);
	assert_false(vm->rehearsal_due); /* 0: no reminder */
	rehearsals_stop(&d);
	assert_int_equal(unlink((kit_path(newest, sizeof(newest), "rehearsals/" ID), newest)), 0);
	d.conf.rehearsal_reminder_days = 30;
	look(now);
	look(now + 29 * DAY);
	assert_false(vm->rehearsal_due);
	look(now + 31 * DAY);
	look(now + 32 * DAY);
	assert_true(vm->rehearsal_due);
	assert_int_equal(reminders(), 1);
	/* A test that fails ends no reminder; one that passes does. */
	rehearsals_begin(&d, vm->id, vm->name, &r);
	r.result = REHEARSAL_FAILED;
	assert_int_equal(rehearsals_end(&d, vm->id, vm->name, r.id, &r), 0);
	look(now + 32 * DAY);
	assert_true(vm->rehearsal_due);
	rehearsals_begin(&d, vm->id, vm->name, &r);
	r.result = REHEARSAL_PASSED;
	assert_int_equal(rehearsals_end(&d, vm->id, vm->name, r.id, &r), 0);
	look(now + 29 * DAY);
	assert_false(vm->rehearsal_due);
	assert_true(vm->rehearsed > 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(it_begins_within_its_time),
		T(what_has_been_begun_is_not_begun_again),
		T(what_an_operator_did_does_not_count),
		T(only_a_protected_vm_and_by_its_host),
		T(a_verification_has_what_the_configuration_has),
		T(the_next_one),
		T(one_is_reminded_of_what_was_not_tried_for_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
