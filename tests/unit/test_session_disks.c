/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a VM as replicators report them: names and sizes are only claimed, and bounded. */
#include "replicator/session/session.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void disks_are_described_and_taken(void **state)
{
	struct session_disk d[SESSION_MAX_DISKS];
	json_t *desc = json_pack("{s[{ss ss sI} {sb ss sI}]}", "disks", "name", "drive0", "file",
				 "/a.img", "bytes", (json_int_t)4096, "name", 1, "file", "b",
				 "bytes", (json_int_t)-7);
	json_t *msg, *out, *one;

	(void)state;
	assert_int_equal(session_disks_described(desc, d), 2);
	assert_string_equal(d[0].name, "drive0");
	assert_true(d[0].bytes == 4096 && d[1].bytes == 0 && !d[1].name[0]);
	strcpy(d[0].state, "mirrored");
	d[0].behind_bytes = 0;
	strcpy(d[1].state, "copying");
	msg = session_disks_message(d, 2);
	assert_int_equal(session_op_of(msg), SESSION_OP_DISKS);
	/* What another program could send: no name, no object, a field that the table has not. */
	json_array_append_new(json_object_get(msg, "disks"), json_pack("{si}", "bytes", 1));
	json_array_append_new(json_object_get(msg, "disks"), json_integer(3));
	json_object_set_new(json_array_get(json_object_get(msg, "disks"), 0), "more",
			    json_string("x"));
	out = session_disks_take(msg);
	assert_int_equal(json_array_size(out), 2);
	one = json_array_get(out, 0);
	assert_int_equal(json_object_size(one), 5);
	assert_int_equal(json_integer_value(json_object_get(one, "behind_bytes")), 0);
	assert_null(json_object_get(json_array_get(out, 1), "behind_bytes"));
	json_decref(out);
	json_decref(msg);
	json_decref(desc);
	assert_int_equal(session_disks_described(NULL, d), 0);
}

static void disks_are_bounded(void **state)
{
	struct session_disk d[SESSION_MAX_DISKS];
	json_t *list = json_array(), *desc, *msg, *out;

	(void)state;
	for (int i = 0; i < 100; i++)
		json_array_append_new(list, json_pack("{ss ss si ss}", "name", "d", "file", "f",
						      "bytes", 1, "state", "s"));
	desc = json_pack("{so}", "disks", list);
	assert_int_equal(session_disks_described(desc, d), SESSION_MAX_DISKS);
	msg = json_pack("{sO}", "disks", list);
	out = session_disks_take(msg);
	assert_int_equal(json_array_size(out), SESSION_MAX_DISKS);
	json_decref(out);
	json_decref(msg);
	json_decref(desc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_are_described_and_taken),
		cmocka_unit_test(disks_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
