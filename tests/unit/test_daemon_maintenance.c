/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maintenance: how long it lasts, over restarts and boots, and what the command answers. */
#include "events_kit.h"

#include "daemon/health.h"

static char file[300], boot[300];

static int begin(void **state)
{
	int rc = set_up(state);

	kit_path(file, sizeof(file), "maintenance.json");
	kit_path(boot, sizeof(boot), "boot_id");
	d.conf.maintenance_timeout_s = 1;
	(void)health_judge();
	return rc;
}

static unsigned of_kind(const char *kind)
{
	json_t *all = read_all();
	unsigned n = 0;

	for (size_t i = 0; i < json_array_size(all); i++)
		n += !strcmp(text_at(all, i, "kind"), kind);
	json_decref(all);
	return n;
}

static void an_operators_outlives_every_boot(void **state)
{
	struct tv_err e;
	json_t *o;

	(void)state;
	assert_null(maintenance_json(&d));
	maintenance_load(&d, boot);
	assert_false(maintenance_is(&d));
	assert_int_equal(maintenance_end(&d, &e), 0); /* of nothing */
	assert_int_equal(maintenance_begin(&d, false, &e), 0);
	assert_int_equal(maintenance_begin(&d, true, &e), 0); /* a shutdown does not shorten it */
	assert_int_equal(of_kind("maintenance-on"), 1);
	maintenance_moved(&d);
	o = maintenance_json(&d);
	assert_true(json_is_false(json_object_get(o, "until_boot")));
	assert_int_equal(json_integer_value(json_object_get(o, "moved")), 1);
	json_decref(o);
	maintenance_load(&d, "/nonexistent");
	assert_true(maintenance_is(&d));
	maintenance_refusal(&d, &e);
	assert_non_null(strstr(e.text, "hostB is in maintenance"));
	assert_int_equal(maintenance_end(&d, &e), 0);
	assert_int_equal(of_kind("maintenance-off"), 1);
	maintenance_load(&d, NULL);
	assert_false(maintenance_is(&d));
	assert_int_equal(access(file, F_OK), -1);
}

static void a_shutdowns_ends_with_the_next_boot(void **state)
{
	struct tv_err e;

	(void)state;
	assert_int_equal(maintenance_begin(&d, true, &e), 0);
	maintenance_refusal(&d, &e);
	assert_non_null(strstr(e.text, "goes down"));
	maintenance_load(&d, NULL); /* twinvmd was restarted */
	assert_true(maintenance_is(&d));
	assert_int_equal(tv_write_file(boot, "another-boot\n", 13), 0);
	maintenance_load(&d, boot);
	assert_false(maintenance_is(&d));
	assert_int_equal(of_kind("maintenance-off"), 1);
	assert_int_equal(access(file, F_OK), -1);
	/* An operator's word afterwards counts. */
	assert_int_equal(maintenance_begin(&d, true, &e), 0);
	assert_int_equal(maintenance_begin(&d, false, &e), 0);
	maintenance_load(&d, boot);
	assert_true(maintenance_is(&d));
	assert_int_equal(maintenance_end(&d, &e), 0);
}

static void what_cannot_be_read_moves_nothing(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "{\"since\": -1, \"boot\": \"\"}",
					    "{\"since\": 7}"};
	char bad[310];

	(void)state;
	snprintf(bad, sizeof(bad), "%s.bad", file);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(tv_write_file(file, texts[i], strlen(texts[i])), 0);
		maintenance_load(&d, NULL);
		assert_false(maintenance_is(&d));
		assert_int_equal(access(file, F_OK), -1);
		assert_int_equal(access(bad, F_OK), 0);
	}
}

static void nothing_is_promised_that_is_not_on_disk(void **state)
{
	struct tv_err e;
	char was[sizeof(d.conf.state_dir)];

	(void)state;
	tv_copy(was, sizeof(was), d.conf.state_dir);
	strcpy(d.conf.state_dir, "/nonexistent");
	assert_true(maintenance_begin(&d, false, &e) < 0);
	assert_false(maintenance_is(&d));
	tv_copy(d.conf.state_dir, sizeof(d.conf.state_dir), was);
}

/* ---- the command ---- */
static void ask(struct end *e, json_t *request)
{
	kit_connect(e);
	json_object_set_new(request, "op", json_string("maintenance"));
	ctl_send(e->there, request);
	kit_settle();
}

static json_t *last_of(struct end *e)
{
	for (int i = 0; i < 1000; i++) {
		json_t *m = kit_last(e);

		if (json_is_true(json_object_get(m, "done")))
			return m;
		event_base_loop(d.base, EVLOOP_ONCE);
	}
	fail_msg("no answer");
	return NULL;
}

static json_int_t rc_of(struct end *e)
{
	return json_integer_value(json_object_get(last_of(e), "rc"));
}

static void the_command_waits_for_the_last_vm(void **state)
{
	struct end vm, c;
	const char *why;

	(void)state;
	ask(&c, json_pack("{ss}", "what", "on"));
	assert_int_equal(rc_of(&c), 0); /* nothing runs here */
	kit_hang_up(&c);
	protected_vm(&vm);
	ask(&c, json_pack("{ss si}", "what", "on", "timeout", 0));
	assert_int_equal(rc_of(&c), -ETIMEDOUT);
	why = json_string_value(json_object_get(last_of(&c), "error"));
	assert_non_null(strstr(why, "vm1: its switch is under way"));
	assert_int_equal(json_array_size(json_object_get(last_of(&c), "vms")), 1);
	kit_hang_up(&c);
	ask(&c, json_pack("{ss si}", "what", "on", "timeout", 1000));
	assert_false(json_is_true(json_object_get(json_array_get(c.got, 0), "done")));
	send_end(&vm, SESSION_SWITCHED, 0, "");
	assert_int_equal(rc_of(&c), 0);
	assert_int_equal(json_integer_value(json_object_get(last_of(&c), "moved")), 1);
	kit_hang_up(&c);
	kit_hang_up(&vm);
	ask(&c, json_pack("{ss}", "what", "off"));
	assert_int_equal(rc_of(&c), 0);
	assert_true(json_is_false(json_object_get(last_of(&c), "on")));
	kit_hang_up(&c);
}

static void the_command_refuses(void **state)
{
	struct end c;

	(void)state;
	ask(&c, json_pack("{ss}", "what", "of"));
	assert_int_equal(rc_of(&c), -EINVAL);
	kit_hang_up(&c);
	ask(&c, json_pack("{ss si}", "what", "on", "timeout", -1));
	assert_int_equal(rc_of(&c), -EINVAL);
	kit_hang_up(&c);
	assert_false(maintenance_is(&d));
	ask(&c, json_pack("{ss}", "what", "status"));
	assert_int_equal(rc_of(&c), 0);
	assert_true(json_is_null(json_object_get(last_of(&c), "since")));
	kit_hang_up(&c);
}

/* A command line that ends, and one whose maintenance somebody ends. */
static void waiters_go(void **state)
{
	struct end vm, c, other;
	struct tv_err e;

	(void)state;
	protected_vm(&vm);
	ask(&c, json_pack("{ss si}", "what", "on", "timeout", 1000));
	ask(&other, json_pack("{ss si}", "what", "on", "timeout", 1000));
	kit_hang_up(&c);
	kit_settle();
	assert_int_equal(maintenance_end(&d, &e), 0);
	assert_int_equal(rc_of(&other), -ECANCELED);
	kit_hang_up(&other);
	send_end(&vm, SESSION_LEFT, 0, "");
	kit_hang_up(&vm);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_operators_outlives_every_boot, begin, tear_down),
		cmocka_unit_test_setup_teardown(a_shutdowns_ends_with_the_next_boot, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_moves_nothing, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_promised_that_is_not_on_disk, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(the_command_waits_for_the_last_vm, begin,
						tear_down),
		cmocka_unit_test_setup_teardown(the_command_refuses, begin, tear_down),
		cmocka_unit_test_setup_teardown(waiters_go, begin, tear_down),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate")) /* as the daemon's children */
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
