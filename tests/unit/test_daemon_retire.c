/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a report of the hardware to a part that is out of service, through the daemon and its keeper. Files stand
 * in for /sys: pages and CPUs of this machine are left alone.
 */
#include "events_kit.h"

#include "daemon/health.h"
#include "daemon/retire.h"

#include <fcntl.h>
#include <sys/mman.h>

#define FREE (UINT64_C(1) << 10)
#define USED (UINT64_C(1) << 5 | UINT64_C(1) << 11 | UINT64_C(1) << 12)
#define TAKEN (UINT64_C(1) << 19)
#define PAGE 4711

static char root[] = "/tmp/twinvm-retire-XXXXXX";
static char sys[64];
static uint64_t own; /* a page of this process, which stands in for a QEMU; 0: not shown to us */

static void file(const char *name, const char *text)
{
	char path[300], *slash;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(tv_mkdirs(path), 0);
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
	close(fd);
}

static bool file_has(const char *name, const char *what)
{
	char path[300], *text;
	bool has;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	assert_int_equal(tv_read_file(path, 4096, &text, NULL), 0);
	has = strncmp(text, what, strlen(what)) == 0;
	free(text);
	return has;
}

static void page_is(uint64_t page, uint64_t flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/proc/kpageflags", root);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(pwrite(fd, &flags, 8, (off_t)(page * 8)) == 8);
	close(fd);
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

static bool last_says(const char *kind, const char *text)
{
	json_t *all = read_all(), *o, *last = NULL;
	bool says;
	size_t i;

	json_array_foreach(all, i, o)
		if (!strcmp(json_string_value(json_object_get(o, "kind")), kind))
			last = o;
	says = last && strstr(json_string_value(json_object_get(last, "text")), text);
	json_decref(all);
	return says;
}

static void await(const char *kind, unsigned n)
{
	while (events_of(kind) < n)
		event_base_loop(d.base, EVLOOP_ONCE);
}

static void fault(struct ras_fault is)
{
	struct hw_fault f = {.fault = is, .records = 1, .first_ns = 1, .last_ns = 1};
	json_t *m;

	strcpy(f.fault.where, "DIMM_A1");
	strcpy(f.fault.sentence, "corrected errors");
	m = json_pack("{ss s[o] si s{}}", "op", "faults", "faults", hw_fault_json(&f), "more", 0,
		      "total");
	health_message(&d, m);
	json_decref(m);
}

static void page_fails(uint64_t page, enum ras_severity severity)
{
	fault((struct ras_fault){.source = RAS_SRC_MC,
				 .severity = severity,
				 .part = RAS_PART_MEMORY,
				 .count = 20,
				 .has_page = true,
				 .page = {page}});
}

static void core_fails(uint32_t cpu)
{
	fault((struct ras_fault){.source = RAS_SRC_MCE,
				 .severity = RAS_CORRECTED,
				 .part = RAS_PART_CORE,
				 .count = 5,
				 .cpu = cpu,
				 .core = cpu});
}

static bool can_see(void)
{
	while (!keeper_takes_pages())
		event_base_loop(d.base, EVLOOP_ONCE);
	return own != 0;
}

/* The kernel that is stood in for first takes nothing, and then does. */
static void a_weak_page_goes(void **state)
{
	(void)state;
	if (!can_see())
		skip(); /* no rights to see numbers of pages */
	page_is(PAGE, FREE);
	page_fails(PAGE, RAS_CORRECTED);
	await("part-stays", 1);
	assert_true(last_says("part-stays",
			      "page 0x1267 stays in service: the kernel reports success"));
	assert_true(file_has("sys/devices/system/memory/soft_offline_page", "0x1267000"));
	assert_true(file_has("sys/devices/system/memory/hard_offline_page", "\n"));
	page_is(PAGE, TAKEN);
	await("part-retired", 1);
	assert_true(last_says("part-retired", "page 0x1267 is out of service: of DIMM_A1"));
	assert_int_equal(retire_record_dimm("DIMM_A1"), 1);
	/* Once, however often it is reported. */
	page_fails(PAGE, RAS_CORRECTED);
	kit_settle();
	assert_int_equal(events_of("part-retired"), 1);
	/* A new daemon knows it. */
	retire_record_load(&d);
	assert_int_equal(retire_record_dimm("DIMM_A1"), 1);
}

static void a_page_of_a_vm_waits(void **state)
{
	struct end e;
	struct vm *vm;
	json_t *o;

	(void)state;
	if (!can_see())
		skip(); /* no rights to see numbers of pages */
	protected_vm(&e);
	vm = TAILQ_FIRST(&d.vms);
	vm->phase = VM_RUNNING;
	page_is(own, USED);
	file("sys/devices/system/memory/soft_offline_page", "\n");
	page_fails(own, RAS_CORRECTED);
	await("part-stays", 2);
	assert_true(last_says("part-stays", "it is a VM's, which has to leave it first"));
	assert_true(retire_waits_for(vm));
	o = retire_json();
	assert_int_equal(json_array_size(json_object_get(o, "waits")), 1);
	json_decref(o);
	assert_true(file_has("sys/devices/system/memory/soft_offline_page", "\n"));
	/* It has left; the page is free. */
	vm->saved.qemu.pid = 0;
	vm->phase = VM_IDLE;
	page_is(own, TAKEN);
	await("part-retired", 2);
	assert_false(retire_waits_for(vm));
	kit_settle();
}

static void a_page_that_is_gone_counts(void **state)
{
	(void)state;
	if (!can_see())
		skip(); /* no rights to see numbers of pages */
	page_is(PAGE + 1, TAKEN);
	page_fails(PAGE + 1, RAS_UNCORRECTED);
	await("hardware-fault", events_of("hardware-fault") + 1);
	assert_int_equal(retire_record_dimm("DIMM_A1"), 3);
	/* Seven of a DIMM more, and it is the DIMM. */
	for (uint64_t i = 2; i < 8; i++) {
		page_is(PAGE + i, TAKEN);
		page_fails(PAGE + i, RAS_UNCORRECTED);
		await("hardware-fault", events_of("hardware-fault") + 1);
	}
	page_is(PAGE + 20, FREE);
	page_fails(PAGE + 20, RAS_CORRECTED);
	await("part-stays", events_of("part-stays") + 1);
	assert_true(last_says("part-stays", "the DIMM is to be replaced"));
}

static void a_core_goes_and_comes_back(void **state)
{
	json_t *o;

	(void)state;
	while (!keeper_stops_cpus())
		event_base_loop(d.base, EVLOOP_ONCE);
	core_fails(3); /* its core is that of CPU 1 */
	await("part-retired", events_of("part-retired") + 1);
	assert_true(last_says("part-retired", "CPU 1,3 is out of service"));
	assert_true(file_has("sys/devices/system/cpu/cpu1/online", "0"));
	assert_true(file_has("sys/devices/system/cpu/cpu3/online", "0"));
	assert_true(file_has("sys/devices/system/cpu/cpu2/online", "1"));
	o = retire_json();
	assert_int_equal(json_array_size(json_object_get(o, "cpus")), 1);
	json_decref(o);
	retire_record_load(&d); /* a new daemon */
	file("sys/devices/system/cpu/online", "0,2\n");
	assert_int_equal(retire_undo(&d), 1);
	await("part-back", 1);
	assert_true(file_has("sys/devices/system/cpu/cpu1/online", "1"));
	assert_true(file_has("sys/devices/system/cpu/cpu3/online", "1"));
	assert_int_equal(retire_undo(&d), 0);
	file("sys/devices/system/cpu/online", "0-3\n");
	/* With CPU 0: never. */
	health_clear(&d);
	core_fails(2);
	await("part-stays", events_of("part-stays") + 1);
	assert_true(last_says("part-stays", "CPU 0 cannot be taken out"));
	/* Two cores: it may be what they share. */
	core_fails(1);
	await("part-stays", events_of("part-stays") + 1);
	assert_true(last_says("part-stays", "more cores than this one are weak"));
	assert_true(file_has("sys/devices/system/cpu/cpu1/online", "1"));
}

static void what_would_be_done_is_said(void **state)
{
	unsigned before;

	(void)state;
	health_clear(&d);
	strcpy(d.conf.health_action, "warn");
	before = events_of("part-retired");
	core_fails(1);
	await("part-retired", before + 1);
	assert_true(last_says("part-retired", "CPU 1,3 would be taken out of service now"));
	assert_true(file_has("sys/devices/system/cpu/cpu1/online", "1"));
	strcpy(d.conf.health_action, "act");
}

static int with_keeper(void **state)
{
	char *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	json_t *m;

	p[0] = 1;
	mlock(p, TV_PAGE_BYTES);
	if (pread(fd, &own, 8, (off_t)((uintptr_t)p / TV_PAGE_BYTES * 8)) != 8)
		own = 0;
	own &= (UINT64_C(1) << 55) - 1;
	close(fd);
	if (!mkdtemp(root))
		return -1;
	file("sys/devices/system/memory/soft_offline_page", "\n");
	file("sys/devices/system/memory/hard_offline_page", "\n");
	for (int i = 0; i < 4; i++) {
		char name[100];

		snprintf(name, sizeof(name), "sys/devices/system/cpu/cpu%d/online", i);
		if (i)
			file(name, "1");
		snprintf(name, sizeof(name),
			 "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i);
		file(name, i % 2 ? "1,3\n" : "0,2\n");
	}
	file("sys/devices/system/cpu/online", "0-3\n");
	file("proc/kpageflags", "");
	page_is(0, 0);
	setenv("KEEPER_ROOT", root, 1);
	keeper_start();
	if (set_up(state))
		return -1;
	strcpy(d.conf.health_action, "act");
	keeper_attach(&d);
	snprintf(sys, sizeof(sys), "%s/sys", root);
	retire_sys = sys;
	retire_start(&d, health_taken);
	m = json_pack("{ss s[{ss sb ss}] ss}", "op", "sources", "sources", "name", "mce_record",
		      "there", 1, "why", "", "trace", "");
	health_message(&d, m);
	json_decref(m);
	return 0;
}

static int end(void **state)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command) || tear_down(state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_weak_page_goes),
		cmocka_unit_test(a_page_of_a_vm_waits),
		cmocka_unit_test(a_page_that_is_gone_counts),
		cmocka_unit_test(a_core_goes_and_comes_back),
		cmocka_unit_test(what_would_be_done_is_said),
	};

	/* As the daemon starts it. */
	if (argc == 2 && !strcmp(argv[1], "keeper"))
		return kp_main(3, 4, getenv("KEEPER_ROOT"));
	return cmocka_run_group_tests(tests, with_keeper, end);
}
