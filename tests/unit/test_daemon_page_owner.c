/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page that has lost data: of a VM that runs here, its replicator learns of it; of others it does not. */
#include "events_kit.h"

#include "daemon/health.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

/* This process stands in for the VM's QEMU. A page of it; 0: its number is not shown to us. Looked up before the
 * right to see it is given up. */
static uint64_t own;
static uint64_t own_page(void)
{
	char *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	p[0] = 1;
	mlock(p, TV_PAGE_BYTES);
	if (pread(fd, &entry, 8, (off_t)((uintptr_t)p / TV_PAGE_BYTES * 8)) != 8)
		entry = 0;
	close(fd);
	return entry & ((UINT64_C(1) << 55) - 1);
}

static void sources(void)
{
	json_t *m = json_pack("{ss s[{ss sb ss}] ss}", "op", "sources", "sources", "name",
			      "mce_record", "there", 1, "why", "", "trace", "");

	health_message(&d, m);
	json_decref(m);
}

static void page_fails(uint64_t pfn, enum ras_severity severity, int64_t at_ns)
{
	struct hw_fault f = {.fault = {.source = RAS_SRC_MF,
				       .severity = severity,
				       .part = RAS_PART_MEMORY,
				       .result = RAS_RESULT_RECOVERED,
				       .count = 1,
				       .has_page = true,
				       .page = {pfn}},
			     .records = 1,
			     .first_ns = at_ns,
			     .last_ns = at_ns};
	json_t *m;

	strcpy(f.fault.sentence, "a page has failed");
	m = json_pack("{ss s[o] si s{}}", "op", "faults", "faults", hw_fault_json(&f), "more", 0,
		      "total");
	health_message(&d, m);
	json_decref(m);
}

static unsigned events_of(const char *kind)
{
	json_t *all = read_all(), *o;
	unsigned n = 0;
	size_t i;

	json_array_foreach(all, i, o)
		n += !strcmp(json_string_value(json_object_get(o, "kind")), kind);
	json_decref(all);
	return n;
}

/* Until the keeper has answered what was asked of it. */
static void await_look(void)
{
	unsigned before = events_of("hardware-fault");

	while (events_of("hardware-fault") == before)
		event_base_loop(d.base, EVLOOP_ONCE);
	kit_settle();
}

static json_t *newest_fault(void)
{
	json_t *all = read_all(), *o, *last = NULL;
	size_t i;

	json_array_foreach(all, i, o)
		if (!strcmp(json_string_value(json_object_get(o, "kind")), "hardware-fault"))
			last = o;
	json_incref(last);
	json_decref(all);
	return last;
}

static unsigned memory_errors(const struct end *e, struct session_memory_error *out)
{
	unsigned n = 0;
	json_t *o;
	size_t i;

	json_array_foreach(e->got, i, o)
		if (session_op_of(o) == SESSION_OP_MEMORY_ERROR) {
			assert_int_equal(
				session_body(SESSION_OP_MEMORY_ERROR, o, out, sizeof(*out), NULL),
				0);
			n++;
		}
	return n;
}

static void the_vm_is_handed_over(void **state)
{
	struct session_memory_error m;
	uint64_t pfn = own;
	struct end e;
	json_t *o;

	(void)state;
	if (!pfn)
		skip(); /* no rights to see numbers of pages */
	sources();
	protected_vm(&e);
	page_fails(pfn, RAS_UNCORRECTED, 123456);
	await_look();
	assert_int_equal(memory_errors(&e, &m), 1);
	assert_int_equal(m.at_ns, 123456);
	assert_string_equal(m.text, "a page has failed");
	o = newest_fault();
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "vm")), "vm1");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "data"), "rule")),
			 RAS_RULE_VM_OPTIONAL);
	json_decref(o);
	assert_string_equal(health_state(NULL), "red");
	/* What was corrected is not looked for. */
	page_fails(pfn, RAS_CORRECTED, 123456);
	kit_settle();
	/* Nor does a weak page of it, whose owner is known, hand it over: nothing is lost. */
	for (int i = 0; i < 12; i++)
		page_fails(pfn, RAS_CORRECTED, 123456);
	kit_settle();
	assert_int_equal(memory_errors(&e, &m), 1);
	health_clear(&d);
}

static void a_page_of_nobody_hands_nothing_over(void **state)
{
	json_t *o;

	(void)state;
	sources();
	page_fails(UINT64_C(0x7ffffffffff), RAS_UNCORRECTED, 1);
	await_look();
	o = newest_fault();
	assert_null(json_object_get(o, "vm"));
	json_decref(o);
	assert_string_not_equal(health_state(NULL), "green");
}

/* The process that stands for its QEMU has the page. */
static void a_standbys_session_is_told(void **state)
{
	struct session_hardware h = {.what = SESSION_MEMORY_STANDBY, .text = "a page is lost"};
	struct session_memory_error m;
	uint64_t pfn = own;
	struct end e;
	struct vm *vm;

	(void)state;
	sources();
	health_clear(&d);
	vm = protected_vm(&e);
	vm->role = SESSION_BACKUP;
	if (pfn) {
		page_fails(pfn, RAS_UNCORRECTED, 123456);
		await_look();
		assert_int_equal(memory_errors(&e, &m), 1);
		assert_string_equal(m.text, "a page has failed");
		assert_string_equal(health_state(NULL), "yellow");
		health_clear(&d);
	}
	/* What it has met by itself counts without that. Of a VM that runs here it cannot say it. */
	ctl_send(e.there, session_message(SESSION_OP_HARDWARE, &h));
	kit_settle();
	assert_string_equal(health_state(NULL), "yellow");
	health_clear(&d);
	h.what = SESSION_MEMORY_PAGE;
	ctl_send(e.there, session_message(SESSION_OP_HARDWARE, &h));
	kit_settle();
	assert_string_not_equal(health_state(NULL), "red");
	assert_string_not_equal(health_state(NULL), "yellow");
	vm->role = SESSION_PRIMARY;
	ctl_send(e.there, session_message(SESSION_OP_HARDWARE, &h));
	kit_settle();
	assert_string_equal(health_state(NULL), "red");
	health_clear(&d);
}

/* Its second process has other rights than the daemon: the first one's pid is known. */
static void without_it_the_rest_works(void **state)
{
	char path[64], *text;
	pid_t pid = 0;
	size_t bytes;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	assert_int_equal(tv_read_file(path, 256, &text, &bytes), 0);
	pid = (pid_t)atoi(text); /* the kit starts nothing before it */
	free(text);
	assert_true(pid > 1 && keeper_lives());
	kill(pid, SIGKILL);
	while (keeper_lives())
		event_base_loop(d.base, EVLOOP_ONCE);
	kit_settle();
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_true(keeper_exit(pid));
	assert_int_equal(events_of("keeper-ended"), 1);
	assert_false(keeper_sees_pages());
	/* Judged as that of nobody: at once, or when the end of its second process is seen. */
	health_clear(&d);
	sources();
	page_fails(own ? own : 4711, RAS_UNCORRECTED, 1);
	while (!strcmp(health_state(NULL), "green"))
		event_base_loop(d.base, EVLOOP_ONCE);
	assert_string_equal(health_state(NULL), "yellow");
}

static int with_keeper(void **state)
{
	(void)state;
	own = own_page();
	keeper_start(); /* as the daemon does, first of all */
	return 0;
}

static int each(void **state)
{
	if (set_up(state))
		return -1;
	keeper_attach(&d);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_vm_is_handed_over, each, tear_down),
		cmocka_unit_test_setup_teardown(a_standbys_session_is_told, each, tear_down),
		cmocka_unit_test_setup_teardown(a_page_of_nobody_hands_nothing_over, each,
						tear_down),
		cmocka_unit_test_setup_teardown(without_it_the_rest_works, each, tear_down),
	};

	/* As the daemon starts it. */
	if (argc == 2 && !strcmp(argv[1], "keeper"))
		return kp_main(3, 4, "");
	return cmocka_run_group_tests(tests, with_keeper, NULL);
}
