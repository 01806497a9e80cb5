/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which part may be taken out of service when; CPUs and threads as the kernel shows them. */
#include "tree_kit.h"

#include "daemon/retire.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static enum retire_do rule_of(struct retire_page p)
{
	const char *why = NULL;
	enum retire_do is = retire_page_rule(&p, &why);

	assert_non_null(why);
	assert_int_equal(*why == '\0', is == RETIRE_DONE || is == RETIRE_SOFT || is == RETIRE_HARD);
	return is;
}

static void pages_go_when_nobody_is_harmed(void **state)
{
	static const struct row {
		bool lost;
		enum ras_owner owner;
		bool is_protected;
		enum kp_page page;
		enum retire_do old, recovers; /* by kernel: before 6.11, and since */
	} rows[] = {
		/* Weak: of a VM with a backup, never before it has left, whatever else is known. */
		{false, RAS_OWNER_VM, true, KP_PAGE_USED, RETIRE_WAIT, RETIRE_WAIT},
		{false, RAS_OWNER_VM, true, KP_PAGE_FREE, RETIRE_WAIT, RETIRE_WAIT},
		{false, RAS_OWNER_VM, true, KP_PAGE_HUGE, RETIRE_WAIT, RETIRE_WAIT},
		/* Of one without: to be read only where that cannot be the end of the host. */
		{false, RAS_OWNER_VM, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_SOFT},
		{false, RAS_OWNER_VM, false, KP_PAGE_HUGE, RETIRE_NEVER, RETIRE_NEVER},
		{false, RAS_OWNER_STANDBY, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_SOFT},
		{false, RAS_OWNER_SELF, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_SOFT},
		{false, RAS_OWNER_PROCESS, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_SOFT},
		{false, RAS_OWNER_UNKNOWN, false, KP_PAGE_OTHER, RETIRE_LATER, RETIRE_SOFT},
		{false, RAS_OWNER_UNKNOWN, false, KP_PAGE_UNKNOWN, RETIRE_LATER, RETIRE_LATER},
		{false, RAS_OWNER_FREE, false, KP_PAGE_FREE, RETIRE_SOFT, RETIRE_SOFT},
		{false, RAS_OWNER_FREE, false, KP_PAGE_CLEAN, RETIRE_SOFT, RETIRE_SOFT},
		{false, RAS_OWNER_UNKNOWN, false, KP_PAGE_TAKEN, RETIRE_DONE, RETIRE_DONE},
		{false, RAS_OWNER_VM, true, KP_PAGE_TAKEN, RETIRE_DONE, RETIRE_DONE},
		{false, RAS_OWNER_UNKNOWN, false, KP_PAGE_NONE, RETIRE_NEVER, RETIRE_NEVER},
		/* Has lost data: never read, and nobody is killed. */
		{true, RAS_OWNER_VM, true, KP_PAGE_USED, RETIRE_WAIT, RETIRE_WAIT},
		{true, RAS_OWNER_VM, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_STANDBY, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_SELF, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_PROCESS, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_UNKNOWN, false, KP_PAGE_USED, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_UNKNOWN, false, KP_PAGE_OTHER, RETIRE_LATER, RETIRE_LATER},
		{true, RAS_OWNER_FREE, false, KP_PAGE_FREE, RETIRE_HARD, RETIRE_HARD},
		{true, RAS_OWNER_FREE, false, KP_PAGE_CLEAN, RETIRE_HARD, RETIRE_HARD},
		{true, RAS_OWNER_VM, true, KP_PAGE_TAKEN, RETIRE_DONE, RETIRE_DONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct retire_page p = {.uncorrected = rows[i].lost,
					.looked = true,
					.owner = rows[i].owner,
					.owner_protected = rows[i].is_protected,
					.page = rows[i].page,
					.takes_pages = true};

		assert_int_equal(rule_of(p), rows[i].old);
		p.copy_recovers = true;
		assert_int_equal(rule_of(p), rows[i].recovers);
		/* Whatever it is: nothing is done to what nobody has looked at. */
		p.looked = false;
		assert_int_equal(rule_of(p), RETIRE_LATER);
		p.looked = true;
		/* No page after page of one DIMM. */
		p.dimm_taken = RETIRE_DIMM_PAGES - 1;
		assert_int_equal(rule_of(p), rows[i].recovers);
		p.dimm_taken = RETIRE_DIMM_PAGES;
		assert_int_equal(rule_of(p),
				 rows[i].page == KP_PAGE_TAKEN ? RETIRE_DONE : RETIRE_NEVER);
		p.dimm_taken = 0;
		p.takes_pages = false;
		assert_int_equal(rule_of(p),
				 rows[i].page == KP_PAGE_TAKEN ? RETIRE_DONE : RETIRE_NEVER);
	}
}

static enum retire_do core_of(struct retire_core c)
{
	const char *why = NULL;
	enum retire_do is = retire_core_rule(&c, &why);

	assert_non_null(why);
	return is;
}

static void cores_go_when_none_is_missed(void **state)
{
	const struct retire_core good = {.weak_cores = 1,
					 .stops_cpus = true,
					 .known = true,
					 .cpus = 2,
					 .online = 8,
					 .needed = 6};
	struct retire_core c;

	(void)state;
	assert_int_equal(core_of(good), RETIRE_CPUS);
#define IS(field, value, what)                      \
	do {                                        \
		c = good;                           \
		c.field = (value);                  \
		assert_int_equal(core_of(c), what); \
	} while (0)
	IS(weak_cores, 2, RETIRE_NEVER); /* what they share */
	IS(stops_cpus, false, RETIRE_NEVER);
	IS(known, false, RETIRE_NEVER);
	IS(has_cpu0, true, RETIRE_NEVER);
	IS(needed, 7, RETIRE_LATER);
	IS(online, 7, RETIRE_LATER);
	IS(online, 2, RETIRE_LATER);
	IS(pinned, true, RETIRE_WAIT);
#undef IS
	/* All of it, when no VM is here. */
	c = good;
	c.needed = 0;
	c.online = 3;
	assert_int_equal(core_of(c), RETIRE_CPUS);
	c.online = 2;
	assert_int_equal(core_of(c), RETIRE_LATER);
}

static void tries_end(void **state)
{
	int64_t before = 0, pause;
	unsigned n = 0;

	(void)state;
	while ((pause = retire_pause_ns(n)) >= 0) {
		assert_true(pause > before);
		before = pause;
		n++;
	}
	assert_in_range(n, 3, 20);
}

/* ---- what the kernel shows ---- */
static char root[] = "/tmp/twinvm-retire-XXXXXX";

static void cpus_are_read(void **state)
{
	static const char *const bad[] = {"", "x", "3-1", "1,", "1-", "0-4096", "1 2", "-1"};
	struct retire_cpus s;
	char text[64];

	(void)state;
	assert_true(retire_cpus_of("0-2,8,70-71\n", &s));
	assert_int_equal(retire_count(&s), 6);
	assert_true(retire_has(&s, 71) && !retire_has(&s, 3) && !retire_has(&s, 99999));
	retire_cpus_text(&s, text, sizeof(text));
	assert_string_equal(text, "0-2,8,70-71");
	assert_true(retire_cpus_of("4095", &s));
	retire_cpus_text(&s, text, sizeof(text));
	assert_string_equal(text, "4095");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(retire_cpus_of(bad[i], &s));
	tree_file(root, "devices/system/cpu/cpu5/topology/thread_siblings_list", "1,5\n", 4);
	assert_true(retire_siblings(root, 5, &s));
	assert_int_equal(retire_count(&s), 2);
	tree_file(root, "devices/system/cpu/cpu5/topology/thread_siblings_list", "1,6\n", 4);
	assert_false(retire_siblings(root, 5, &s)); /* not even itself */
	assert_false(retire_siblings(root, 6, &s));
	tree_file(root, "devices/system/cpu/online", "0-7\n", 4);
	assert_true(retire_online(root, &s));
	assert_int_equal(retire_count(&s), 8);
}

static unsigned vcpus_of(const char *line, size_t bytes)
{
	tree_file(root, "7/cmdline", line, bytes);
	return retire_vcpus(root, 7);
}

static void vcpus_are_counted(void **state)
{
	char path[300], to[300];

	(void)state;
#define LINE(text) vcpus_of(text, sizeof(text))
	assert_int_equal(LINE("qemu\0-m\0"
			      "4096"),
			 1);
	assert_int_equal(LINE("qemu\0-smp\0"
			      "4"),
			 4);
	assert_int_equal(LINE("qemu\0-smp\0"
			      "2,maxcpus=8"),
			 2);
	assert_int_equal(LINE("qemu\0-smp\0maxcpus=8,cpus=3"), 3);
	assert_int_equal(LINE("qemu\0-smp\0sockets=2,cores=3,threads=2"), 12);
	assert_int_equal(LINE("qemu\0-smp"), 1);
#undef LINE
	assert_int_equal(retire_vcpus(root, 0), 0);
	/* KVM's are counted themselves. */
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/7/fd", root);
		assert_int_equal(tv_mkdirs(path), 0);
		snprintf(path, sizeof(path), "%s/7/fd/%d", root, i);
		snprintf(to, sizeof(to), i ? "anon_inode:kvm-vcpu:%d" : "/dev/kvm", i);
		assert_int_equal(symlink(to, path), 0);
	}
	assert_int_equal(retire_vcpus(root, 7), 2);
}

/* A thread that is bound to one CPU: its bond is noted, and restored after it was broken. */
static pthread_barrier_t barrier;
static pid_t tid;
static void *thread(void *arg)
{
	(void)arg;
	tid = gettid();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void bonds_are_restored(void **state)
{
	struct retire_cpus all, one = {0}, now = {0};
	json_t *list = json_array();
	pthread_t t;
	unsigned cpu = 0;

	(void)state;
	assert_true(sched_getaffinity(0, sizeof(all), (cpu_set_t *)(void *)&all) == 0);
	if (retire_count(&all) < 2)
		skip(); /* one CPU: nothing can be bound */
	while (!retire_has(&all, cpu))
		cpu++;
	one.bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&t, NULL, thread, NULL), 0);
	pthread_barrier_wait(&barrier);
	assert_false(retire_is_pinned(getpid(), &one));
	assert_int_equal(sched_setaffinity(tid, sizeof(one), (cpu_set_t *)(void *)&one), 0);
	assert_true(retire_is_pinned(getpid(), &one));
	assert_true(retire_is_pinned(getpid(), &all)); /* all that it has are among them */
	retire_note_threads(getpid(), &one, list);
	assert_int_equal(json_array_size(list), 1); /* this thread may use any */
	/* As the kernel does when the CPU goes. */
	assert_int_equal(sched_setaffinity(tid, sizeof(all), (cpu_set_t *)(void *)&all), 0);
	/* One that has ended, or whose number another one has now, is left alone. */
	json_array_append_new(list,
			      json_pack("{si sI ss}", "tid", (int)getpid(), "start",
					(json_int_t)tv_pid_start_ticks(getpid()) + 1, "cpus", "0"));
	json_array_append_new(
		list, json_pack("{si si ss}", "tid", (int)getpid(), "start", 0, "cpus", "0"));
	json_array_append_new(list, json_pack("{ss}", "tid", "x"));
	assert_int_equal(retire_restore_threads(list), 1);
	assert_int_equal(sched_getaffinity(tid, sizeof(now), (cpu_set_t *)(void *)&now) < 0, 0);
	assert_int_equal(retire_count(&now), 1);
	assert_true(retire_has(&now, cpu));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	json_decref(list);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[300];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_go_when_nobody_is_harmed),
		cmocka_unit_test(cores_go_when_none_is_missed),
		cmocka_unit_test(tries_end),
		cmocka_unit_test(cpus_are_read),
		cmocka_unit_test(vcpus_are_counted),
		cmocka_unit_test(bonds_are_restored),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
