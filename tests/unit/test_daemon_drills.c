/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A peer wants a VM back: given back only what has come from there by a planned switch a moment ago. And
 * what stands against a drill. */
#include "events_kit.h"

#include "daemon/drills.h"

static struct vm *vm;
static struct end rep;
static unsigned switches;

static void note(struct daemon *dm, struct ctl *c, json_t *msg)
{
	(void)dm;
	assert_string_equal(command_text(msg, "op", ""), "failover");
	assert_string_equal(command_text(msg, "vm", ""), ID);
	assert_null(json_object_get(msg, "force"));
	switches++;
	command_end(c, 0, "%s", "");
}

static int begin(void **state)
{
	int rc = set_up(state);

	vm = kit_vm(SESSION_PRIMARY);
	vm->phase = VM_RUNNING;
	vm->saved.generation = 5;
	strcpy(vm->now.stats.state, "protected");
	kit_connect(&rep);
	vm->now.rep = rep.here;
	switches = 0;
	inner_start(note);
	return rc;
}

static int end(void **state)
{
	vm->now.rep = NULL;
	kit_hang_up(&rep);
	return tear_down(state);
}

static unsigned wish(const char *peer, const char *text)
{
	json_t *wishes = json_loads(text, 0, NULL);
	unsigned before = switches;

	assert_non_null(wishes);
	drill_back_wishes(&d, peer, wishes);
	kit_settle();
	json_decref(wishes);
	return switches - before;
}

#define WISH "[{\"id\":\"" ID "\",\"generation\":5}]"

static void what_came_by_plan_goes_back(void **state)
{
	(void)state;
	drill_back_note(vm);
	assert_int_equal(wish("hostA", WISH), 1);
	/* Not again at once: the switch is under way, or has failed. */
	assert_int_equal(wish("hostA", WISH), 0);
}

static void a_peers_word_gets_nothing_else(void **state)
{
	static const char *const bad[] = {
		"{}",
		"[]",
		"[1,null,[],\"x\"]",
		"[{}]",
		"[{\"id\":\"" ID "\"}]",
		"[{\"id\":\"" ID "\",\"generation\":4}]",
		"[{\"id\":\"" ID "\",\"generation\":6}]",
		"[{\"id\":\"" ID "\",\"generation\":\"5\"}]",
		"[{\"id\":\"" ID "\",\"generation\":5.0}]",
		"[{\"id\":\"" OTHER "\",\"generation\":5}]",
		"[{\"id\":7,\"generation\":5}]",
	};

	(void)state;
	vm->saved.generation = 4;
	drill_back_note(vm);
	vm->saved.generation = 5; /* it has changed hosts since, in another way */
	assert_int_equal(wish("hostA", WISH), 0);
	drill_back_note(vm);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(wish("hostA", bad[i]), 0);
	assert_int_equal(wish("hostC", WISH), 0);
	strcpy(vm->saved.peer.name, "hostC"); /* its backup is another host now */
	assert_int_equal(wish("hostA", WISH), 0);
	strcpy(vm->saved.peer.name, "hostA");
	strcpy(vm->now.stats.state, "syncing");
	assert_int_equal(wish("hostA", WISH), 0);
	strcpy(vm->now.stats.state, "protected");
	vm->role = SESSION_BACKUP;
	assert_int_equal(wish("hostA", WISH), 0);
	vm->role = SESSION_PRIMARY;
	assert_int_equal(wish("hostA", WISH), 1);
}

static void expect_refusal(int rc, const char *why)
{
	struct tv_err e = {0};

	assert_int_equal(drill_may_begin(vm, &e), rc);
	if (!strstr(e.text, why))
		fail_msg("'%s' lacks '%s'", e.text, why);
}

static void what_stands_against_a_drill(void **state)
{
	struct rehearsal r = {.kind = REHEARSAL_VERIFY, .by = "operator"};

	(void)state;
	/* Its backup has reported nothing. */
	expect_refusal(TV_E_REFUSED, "has not reported");
	r.id = rehearsals_begin(&d, ID, "vm1", &r);
	assert_true(drill_is_rehearsed(vm));
	expect_refusal(TV_E_REFUSED, "under way");
	r.result = REHEARSAL_PASSED;
	assert_int_equal(rehearsals_end(&d, ID, "vm1", r.id, &r), 0);
	assert_false(drill_is_rehearsed(vm));
	strcpy(vm->now.stats.state, "syncing");
	expect_refusal(TV_E_REFUSED, "shows protected");
	vm->role = SESSION_BACKUP;
	expect_refusal(-EINVAL, "give the command there");
	vm->role = SESSION_PRIMARY;
	assert_null(drills_json(&d));
}

/* The daemon that had noted it is gone: its events have it. */
static void what_came_is_known_by_the_next_daemon(void **state)
{
	(void)state;
	drill_back_note(vm);
	assert_int_equal(wish("hostA", WISH), 1);
	events_vm(vm, EVENTS_FAILOVER, json_pack("{ss}", "cause", "silence"), "by itself");
	drill_back_start(&d);
	assert_int_equal(wish("hostA", WISH), 0);
	vm->saved.generation = 4;
	events_vm(vm, EVENTS_FAILOVER, json_pack("{ss}", "cause", "planned"), "by plan");
	vm->saved.generation = 5; /* not with this one */
	drill_back_start(&d);
	assert_int_equal(wish("hostA", WISH), 0);
	events_vm(vm, EVENTS_FAILOVER, json_pack("{ss}", "cause", "planned"), "by plan");
	drill_back_start(&d);
	assert_int_equal(wish("hostA", WISH), 1);
}

static void runs_since(uint64_t generation)
{
	struct rehearsal r = {.kind = REHEARSAL_DRILL, .by = "operator", .generation = generation};

	assert_true(rehearsals_begin(&d, ID, "vm1", &r) != 0);
}

static void turns(bool (*done)(void))
{
	for (int i = 0; i < 1000 && !done(); i++)
		event_base_loop(d.base, EVLOOP_ONCE);
	assert_true(done());
}

static bool wants_back(void)
{
	json_t *list = drills_json(&d);
	bool yes = json_integer_value(json_object_get(json_array_get(list, 0), "generation")) == 6;

	json_decref(list);
	return yes;
}

static bool passed(void)
{
	const struct rehearsal *r = rehearsals_last(&d, ID, REHEARSAL_DRILL, false);

	return r && r->result == REHEARSAL_PASSED &&
	       json_is_true(json_object_get(r->figures, "continued"));
}

/* Begun by a daemon that has died when the VM was away. */
static void the_next_daemon_continues_a_drill(void **state)
{
	const struct rehearsal *r;

	(void)state;
	runs_since(0); /* of which nothing is known */
	drills_start(&d);
	r = rehearsals_last(&d, ID, REHEARSAL_DRILL, false);
	assert_int_equal(r->result, REHEARSAL_CUT_SHORT);
	assert_false(drills_has(&d, ID));
	runs_since(5);
	vm->role = SESSION_BACKUP;
	vm->saved.generation = 6;
	drills_start(&d);
	assert_true(drills_has(&d, ID));
	turns(wants_back);
	vm->role = SESSION_PRIMARY;
	vm->saved.generation = 7;
	turns(passed);
	assert_false(drills_has(&d, ID));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_peers_word_gets_nothing_else),    T(what_came_by_plan_goes_back),
		T(what_stands_against_a_drill),	      T(what_came_is_known_by_the_next_daemon),
		T(the_next_daemon_continues_a_drill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
