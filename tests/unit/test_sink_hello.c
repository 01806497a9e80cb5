/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: which fields of a Hello are refused, and by which name. */
#include "replicator/sink/sink_int.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static Twinvm__Hello good_hello(void)
{
	static char id[] = "0123456789abcdef0123456789abcdef", name[] = "vm1", arbiter[] = "none";
	Twinvm__Hello h = TWINVM__HELLO__INIT;

	h.vm_id = h.session = id;
	h.vm_name = name;
	h.arbiter = arbiter;
	h.heartbeat_ms = 100;
	h.generation = 1;
	return h;
}

static void an_invalid_field_is_named(void **state)
{
	static char long_text[400], upper[] = "0123456789ABCDEF0123456789ABCDEF", empty[] = "";
	static char plain[] = "caf\xc3\xa9 1/2";
	static char control[][8] = {"a\nb", "\t", "\x1b[2J", "a\x7f",
				    "\xc2\x9b"
				    "1m"};
	Twinvm__Hello h = good_hello();

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	assert_null(sink_hello_invalid(&h));
	h.vm_id = upper;
	assert_string_equal(sink_hello_invalid(&h), "vm_id");
	h = good_hello();
	h.session = long_text;
	assert_string_equal(sink_hello_invalid(&h), "session");
	h = good_hello();
	h.vm_name = empty;
	assert_string_equal(sink_hello_invalid(&h), "vm_name");
	h.vm_name = long_text;
	assert_string_equal(sink_hello_invalid(&h), "vm_name");
	for (size_t i = 0; i < sizeof(control) / sizeof(*control); i++) {
		h.vm_name = control[i];
		assert_string_equal(sink_hello_invalid(&h), "vm_name");
	}
	h.vm_name = plain;
	assert_null(sink_hello_invalid(&h));
	for (unsigned i = 0; i < 2; i++) {
		h = good_hello();
		h.generation = i ? (uint64_t)INT64_MAX + 1 : 0;
		assert_string_equal(sink_hello_invalid(&h), "generation");
	}
	h = good_hello();
	h.arbiter = long_text;
	assert_string_equal(sink_hello_invalid(&h), "arbiter");
	for (unsigned i = 0; i < 3; i++) {
		h = good_hello();
		h.heartbeat_ms = ((const unsigned[]){0, 19, 60001})[i];
		assert_string_equal(sink_hello_invalid(&h), "heartbeat_ms");
	}
}

/* What the primary has recorded before its Hello must be here; what others have may be. */
static void the_record_shows_another_arbiter(void **state)
{
	struct fo_record r = {.primary = "hostA", .generation = 3};
	Twinvm__Hello h = good_hello();

	(void)state;
	h.generation = 3;
	assert_false(sink_is_other_arbiter("hostA", &h, NULL)); /* an older version records later */
	h.recorded = true;
	assert_true(sink_is_other_arbiter("hostA", &h, NULL));
	strcpy(r.session, h.session);
	assert_false(sink_is_other_arbiter("hostA", &h, &r));
	r.session[0] = 'f';
	assert_true(sink_is_other_arbiter("hostA", &h, &r));
	r.generation = 2;
	assert_true(sink_is_other_arbiter("hostA", &h, &r));
	r.generation = 4; /* it is stale, or it lies: the daemon judges */
	assert_false(sink_is_other_arbiter("hostA", &h, &r));
	r.generation = 3;
	assert_false(sink_is_other_arbiter("hostC", &h, &r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_invalid_field_is_named),
		cmocka_unit_test(the_record_shows_another_arbiter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
