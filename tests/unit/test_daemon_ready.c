/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Would a failover succeed now? Each fact that stands against it is named by its check, and by no other. */
#include "daemon_session_kit.h"

#include "daemon/ready.h"

#include <math.h>
#include <sys/stat.h>

static struct ready_look look;
static struct ready_facts facts;
static struct ready_list list;

/* A sound pair, with an arbiter and a fence_command. */
static int sound(void **state)
{
	(void)state;
	look = (struct ready_look){.record_generation = 4,
				   .record_primary = "hostA",
				   .record_backup = "hostB",
				   .record_session = "s1",
				   .bridge = "br0",
				   .bridge_is = "ok",
				   .taps = 1,
				   .run = "S",
				   .swap_kib = 0,
				   .free_kib = 4u << 20,
				   .limit_left_kib = UINT64_MAX,
				   .images = 1,
				   .grow_bytes = 1u << 30,
				   .disk_free_bytes = UINT64_C(8) << 30,
				   .fence_asked = true};
	facts = (struct ready_facts){.vm = "vm1",
				     .host = "hostB",
				     .peer = "hostA",
				     .session = "s1",
				     .generation = 4,
				     .epoch = 900,
				     .arbiter = true,
				     .fence = true,
				     .fence_checks = true,
				     .whole = true,
				     .state = "protected",
				     .contact_s = 0.1,
				     .health = FO_GREEN,
				     .peer_health = FO_GREEN,
				     .health_why = "",
				     .peer_health_why = "",
				     .peer_answers = true,
				     .reprotect = true,
				     .look = &look};
	return 0;
}

static const struct ready_check *check(const char *name)
{
	for (unsigned i = 0; i < list.n; i++)
		if (!strcmp(list.checks[i].name, name))
			return &list.checks[i];
	fail_msg("no check %s", name);
	return NULL;
}

/* That check has that verdict, and its text that word; all others are as in a sound pair. */
static void expect(const char *name, enum ready_verdict v, const char *word)
{
	const struct ready_check *no;

	ready_judge(&facts, &list);
	for (unsigned i = 0; i < list.n; i++)
		if (strcmp(list.checks[i].name, name) != 0 && list.checks[i].verdict != READY_YES)
			fail_msg("%s: %s is '%s'", name, list.checks[i].name, list.checks[i].text);
	assert_int_equal(check(name)->verdict, v);
	if (!strstr(check(name)->text, word))
		fail_msg("%s: '%s' lacks '%s'", name, check(name)->text, word);
	no = ready_first_no(&list);
	if (v == READY_NO && check(name)->needed)
		assert_string_equal(no->name, name);
	else
		assert_null(no);
	sound(NULL);
}

static void a_sound_pair_is_ready(void **state)
{
	json_t *o;

	(void)state;
	ready_judge(&facts, &list);
	assert_int_equal(list.n, 10);
	for (unsigned i = 0; i < list.n; i++)
		if (list.checks[i].verdict != READY_YES)
			fail_msg("%s: %s", list.checks[i].name, list.checks[i].text);
	o = ready_json(&list);
	assert_true(json_is_true(json_object_get(o, "ready")));
	assert_int_equal(json_array_size(json_object_get(o, "checks")), 10);
	json_decref(o);
}

static void the_copy(void **state)
{
	(void)state;
	facts.whole = false;
	facts.state = "syncing";
	expect("copy", READY_NO, "syncing");
	facts.kept = true;
	expect("copy", READY_NO, "--retry");
	facts.silent_s = 9;
	expect("copy", READY_NO, "9 s");
	facts.contact_s = 4;
	expect("contact", READY_NO, "hostA");
	facts.contact_s = NAN;
	expect("contact", READY_UNKNOWN, "hostA");
}

static void the_record(void **state)
{
	(void)state;
	look.record_rc = -ENOENT;
	expect("record", READY_NO, "no record");
	look.record_rc = -ETIMEDOUT;
	strcpy(look.record_text, "no answer");
	expect("record", READY_NO, "no answer");
	look.record_alone = true;
	expect("record", READY_NO, "alone on hostA");
	look.record_generation = 5;
	expect("record", READY_NO, "generation 5");
	strcpy(look.record_backup, "hostC");
	expect("record", READY_NO, "hostC");
	strcpy(look.record_session, "s0");
	expect("record", READY_NO, "another session");
	facts.arbiter = false;
	expect("record", READY_OPERATOR, "--force");
	facts.arbiter = false;
	facts.fence_decides = true;
	expect("record", READY_YES, "fence_command");
}

static void the_fence_command(void **state)
{
	(void)state;
	look.fence_status = 1;
	strcpy(look.fence_text, "no route to the board");
	expect("fence", READY_NO, "no route to the board");
	look.fence_status = -1;
	expect("fence", READY_NO, "did not end");
	look.fence_status = 2;
	expect("fence", READY_UNKNOWN, "--check");
	look.fence_status = 64;
	expect("fence", READY_UNKNOWN, "--check");
	facts.fence_checks = false;
	expect("fence", READY_UNKNOWN, "fence_check");
	look.fence_asked = false;
	expect("fence", READY_UNKNOWN, "not asked yet");
	facts.fence = false;
	expect("fence", READY_YES, "none is needed");
}

static void the_network(void **state)
{
	(void)state;
	strcpy(look.bridge_is, "missing");
	expect("network", READY_NO, "no bridge br0");
	strcpy(look.bridge_is, "other");
	expect("network", READY_NO, "br0 is no bridge");
	strcpy(look.bridge_is, "down");
	expect("network", READY_NO, "ip link set br0 up");
	look.taps_lost = 1;
	expect("network", READY_NO, "taps are gone");
	look.bridge[0] = 0;
	expect("network", READY_OPERATOR, "operator");
	look.taps = 0;
	expect("network", READY_YES, "no taps");
}

static void memory_process_and_disks(void **state)
{
	(void)state;
	look.free_kib = 1024;
	expect("memory", READY_NO, "1 MiB");
	look.limit_left_kib = 0;
	expect("memory", READY_NO, "memory.max");
	look.swap_kib = 3 << 10;
	expect("memory", READY_YES, "3 MiB of it are swapped out");
	strcpy(look.run, "T");
	expect("qemu", READY_NO, "stopped");
	look.program_gone = true;
	expect("qemu", READY_YES, "replaced");
	look.disks_rc = -EACCES;
	expect("disks", READY_NO, "replica_dir");
	look.disk_free_bytes = 1 << 20;
	expect("disks", READY_NO, "1 MiB left");
	look.disk_free_bytes = 1 << 20;
	look.grow_bytes = 0;
	expect("disks", READY_YES, "1 MiB free");
}

static void health_and_the_way_back(void **state)
{
	(void)state;
	facts.health = FO_RED;
	facts.health_why = "three pages lost";
	expect("health", READY_NO, "three pages lost");
	facts.health = FO_UNKNOWN;
	expect("health", READY_UNKNOWN, "hostB");
	facts.health = FO_YELLOW;
	expect("health", READY_YES, "yellow");
	/* Not needed: a failover would succeed all the same. */
	facts.peer_answers = false;
	expect("way-back", READY_NO, "does not answer");
	facts.peer_health = FO_RED;
	expect("way-back", READY_NO, "red");
	facts.reprotect = false;
	expect("way-back", READY_NO, "reprotect = no");
}

static void what_was_not_looked_at_is_unknown(void **state)
{
	static const char *const names[] = {"record", "fence", "network",
					    "memory", "qemu",  "disks"};

	(void)state;
	facts.look = NULL;
	ready_judge(&facts, &list);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_int_equal(check(names[i])->verdict, READY_UNKNOWN);
	assert_null(ready_first_no(&list));
}

/* ---- the process, on this machine ---- */
static void write_conf(const char *more)
{
	FILE *f = fopen(d.conf.path, "w");

	assert_non_null(f);
	fprintf(f,
		"host = hostB\nca = %s\ncert = %s\nkey = %s\nstate_dir = %s\nreplica_dir = %s\n%s\n",
		d.conf.path, d.conf.path, d.conf.path, d.conf.state_dir, d.conf.run_dir, more);
	fclose(f);
	chmod(d.conf.path, 0600);
}

static struct ready_look look_now(bool fence)
{
	struct vm *vm = kit_vm(SESSION_BACKUP);
	FILE *out = tmpfile();
	struct ready_look k = {0};
	struct tv_err e = {0};
	struct job j;
	char *text, *job;
	long n;
	json_t *o;

	vm_job(vm, &j);
	job = job_to_text(&j);
	assert_int_equal(ready_look_main(job, fence, fileno(out)), 0);
	free(job);
	vm_drop(vm);
	n = (long)lseek(fileno(out), 0, SEEK_END);
	text = calloc(1, (size_t)n + 1);
	assert_int_equal(pread(fileno(out), text, (size_t)n, 0), n);
	o = json_loads(text, 0, NULL);
	if (fields_read(&ready_look_fields, o, &k, &e))
		fail_msg("%s", e.text);
	json_decref(o);
	free(text);
	fclose(out);
	return k;
}

static void the_process_looks_and_changes_nothing(void **state)
{
	struct ready_look k;
	char script[300], more[800], trace[300];
	FILE *f;

	(void)state;
	write_conf("bridge = lo");
	k = look_now(true);
	assert_string_equal(k.bridge_is, "other");
	assert_string_not_equal(k.run, "");
	assert_int_not_equal(k.free_kib, UINT64_MAX);
	assert_int_equal(k.record_rc, 0);
	assert_false(k.fence_asked);
	write_conf("bridge = nosuch0");
	assert_string_equal(look_now(false).bridge_is, "missing");
	/* A program that does not know --check would switch the host off: it is not run. */
	kit_path(script, sizeof(script), "fence");
	kit_path(trace, sizeof(trace), "trace");
	f = fopen(script, "w");
	fprintf(f, "#!/bin/sh\necho \"$@\" $TWINVM_CHECK >>%s\necho first; echo last\nexit 7\n",
		trace);
	fclose(f);
	chmod(script, 0700);
	snprintf(more, sizeof(more), "fence_command = %s", script);
	write_conf(more);
	assert_false(look_now(true).fence_asked);
	assert_int_not_equal(access(trace, F_OK), 0);
	snprintf(more, sizeof(more), "fence_command = %s\nfence_check = yes", script);
	write_conf(more);
	assert_false(look_now(false).fence_asked);
	assert_int_not_equal(access(trace, F_OK), 0);
	k = look_now(true);
	assert_true(k.fence_asked);
	assert_int_equal(k.fence_status, 7);
	assert_string_equal(k.fence_text, "last");
	f = fopen(trace, "r");
	assert_non_null(fgets(more, sizeof(more), f));
	fclose(f);
	assert_string_equal(more, "hostA --check 1\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, sound)
	const struct CMUnitTest tests[] = {
		T(a_sound_pair_is_ready),
		T(the_copy),
		T(the_record),
		T(the_fence_command),
		T(the_network),
		T(memory_process_and_disks),
		T(health_and_the_way_back),
		T(what_was_not_looked_at_is_unknown),
		cmocka_unit_test_setup_teardown(the_process_looks_and_changes_nothing, kit_set_up,
						kit_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
