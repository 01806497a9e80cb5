/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies on a host, and whose it is: by name, by process; and that nothing of a VM that twinvmd
 * knows is offered for removal. */
#include "doctor/doctor_int.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ID "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static char dir[64], conf_path[100];
static json_t *facts; /* of twinvmd; NULL: it does not run */

static int set_up(void **state)
{
	static const char *const folders[] = {"disks", "run", "vms", "kept", "generations"};
	char path[200], text[700];

	(void)state;
	strcpy(dir, "/tmp/twinvm-doctor-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
		if (tv_mkdirs(path))
			return -1;
	}
	snprintf(conf_path, sizeof(conf_path), "%s/conf", dir);
	snprintf(text, sizeof(text),
		 "host = hostA\nstate_dir = %s\nreplica_dir = %s/disks\nrun_dir = %s/run\n"
		 "ca = %s/ca.crt\ncert = %s/a.crt\nkey = %s/a.key\n",
		 dir, dir, dir, dir, dir, dir);
	return tv_write_file(conf_path, text, strlen(text));
}

static int tear_down(void **state)
{
	char command[100];

	(void)state;
	json_decref(facts);
	facts = NULL;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void make(const char *below)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, below);
	assert_int_equal(tv_write_file(path, "x", 1), 0);
}

static json_t *ask(void *arg)
{
	(void)arg;
	return json_incref(facts);
}

static void know(const char *list, const char *id, int slot)
{
	if (!facts)
		facts = json_pack("{ss ss s[] s[]}", "config", conf_path, "warning", "", "vms",
				  "kept");
	json_array_append_new(json_object_get(facts, list),
			      json_pack("{ss ss si}", "id", id, "name", "vm1", "slot", slot));
}

static json_t *examine(void)
{
	struct doctor d = {.config = conf_path, .ask = ask};
	json_t *found = doctor_examine(&d);

	assert_non_null(found);
	return found;
}

/* The item of a list with that path; NULL: none. */
static json_t *item(json_t *found, const char *list, const char *below)
{
	char path[300];
	json_t *o;
	size_t i;

	snprintf(path, sizeof(path), "%s/%s", dir, below);
	json_array_foreach(json_object_get(found, list), i, o)
		if (!strcmp(json_string_value(json_object_get(o, "path")), path))
			return o;
	return NULL;
}

static const char *const files[] = {
	"disks/" ID "-0.raw", "disks/" ID "-11.raw", "disks/" ID ".state",
	"run/" ID ".page",    "run/" ID ".standby",  "run/" ID ".promoted",
	"vms/" ID ".json",    "kept/" ID "-77.json", "generations/" ID,
};
#define FILES (sizeof(files) / sizeof(*files))

static void what_is_not_known_is_left(void **state)
{
	char path[300], remove[400];
	json_t *found, *o;

	(void)state;
	for (size_t i = 0; i < FILES; i++)
		make(files[i]);
	make("disks/of-the-operator.raw");
	make("disks/" ID ".raw'; rm -rf x"); /* a quote in a name is no end of it */
	snprintf(path, sizeof(path), "%s/run/" ID "-2", dir);
	assert_int_equal(tv_mkdirs(path), 0);
	make("run/" ID "-2/standby.log");
	know("vms", OTHER, 0);
	found = examine();
	for (size_t i = 0; i < FILES; i++) {
		o = item(found, "left", files[i]);
		if (!o)
			fail_msg("%s is not listed", files[i]);
		assert_string_equal(json_string_value(json_object_get(o, "vm")), ID);
		assert_true(json_integer_value(json_object_get(o, "bytes")) > 0);
		assert_int_equal(strlen(json_string_value(json_object_get(o, "since"))), 20);
		snprintf(remove, sizeof(remove), "rm '%s/%s'", dir, files[i]);
		assert_string_equal(json_string_value(json_object_get(o, "remove")), remove);
	}
	o = item(found, "left", "run/" ID "-2");
	snprintf(remove, sizeof(remove), "rm -r '%s/run/" ID "-2'", dir);
	assert_string_equal(json_string_value(json_object_get(o, "remove")), remove);
	o = item(found, "left", "disks/" ID ".raw'; rm -rf x");
	snprintf(remove, sizeof(remove), "rm '%s/disks/" ID ".raw'\\''; rm -rf x'", dir);
	assert_string_equal(json_string_value(json_object_get(o, "remove")), remove);
	assert_null(item(found, "left", "disks/of-the-operator.raw"));
	assert_int_equal(json_array_size(json_object_get(found, "in_use")), 0);
	json_decref(found);
}

static void what_a_vm_needs_is_not(void **state)
{
	static const char *const lists[] = {"vms", "kept"};

	(void)state;
	for (size_t i = 0; i < FILES; i++)
		make(files[i]);
	for (size_t l = 0; l < 2; l++) {
		json_t *found;

		know(lists[l], ID, 0);
		found = examine();
		assert_int_equal(json_array_size(json_object_get(found, "left")), 0);
		json_decref(found);
		json_decref(facts);
		facts = NULL;
	}
}

/* A VM has the names of one slot; what it had under another one is left. */
static void slots_are_told_apart(void **state)
{
	json_t *found;

	(void)state;
	make("disks/" ID "-0.raw");
	make("disks/" ID ".state");
	make("disks/" ID "-3-0.raw");
	make("disks/" ID "-3.state");
	make("run/" ID "-3.standby");
	make("run/" ID ".page"); /* the VM's, whatever its slot is */
	know("vms", ID, 3);
	found = examine();
	assert_non_null(item(found, "left", "disks/" ID "-0.raw"));
	assert_non_null(item(found, "left", "disks/" ID ".state"));
	assert_int_equal(json_array_size(json_object_get(found, "left")), 2);
	json_decref(found);
}

static void what_a_process_uses_is_listed_apart(void **state)
{
	char path[300];
	json_t *found, *o;
	pid_t pid;
	int go[2];

	(void)state;
	make("disks/" ID "-0.raw");
	know("vms", OTHER, 0);
	snprintf(path, sizeof(path), "%s/disks/" ID "-0.raw", dir);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid) { /* has it open until the end of the test */
		char c;

		close(go[1]);
		if (open(path, O_RDWR) < 0 || read(go[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(go[0]);
	do {
		char command[32];

		found = NULL;
		if (doctor_user_of(path, command) == pid)
			found = examine();
	} while (!found);
	assert_null(item(found, "left", "disks/" ID "-0.raw"));
	o = item(found, "in_use", "disks/" ID "-0.raw");
	assert_int_equal(json_integer_value(json_object_get(o, "pid")), pid);
	assert_string_equal(json_string_value(json_object_get(o, "command")), "test_doctor");
	assert_null(json_object_get(o, "remove"));
	json_decref(found);
	close(go[1]);
}

static void devices_are_a_vms_by_their_digits(void **state)
{
	(void)state;
	know("vms", ID, 1);
	assert_true(doctor_is_known_device(facts, "tv012345h0"));
	assert_true(doctor_is_known_device(facts, "tb01234567p0"));
	assert_false(doctor_is_known_device(facts, "tv0123450"));
	assert_false(doctor_is_known_device(facts, "tv012345h"));
	assert_false(doctor_is_known_device(facts, "tvfedcba0"));
	assert_false(doctor_is_known_device(facts, "tbfedcba98p0"));
	assert_false(doctor_is_known_device(facts, "eth0"));
}

/* Nothing is offered for removal when it is not known what the VMs need. */
static void without_the_daemon_nothing_is_left(void **state)
{
	json_t *found, *check;

	(void)state;
	make("disks/" ID "-0.raw");
	found = examine();
	assert_int_equal(json_array_size(json_object_get(found, "left")), 0);
	assert_true(json_integer_value(json_object_get(found, "problems")) > 0);
	check = json_array_get(json_object_get(found, "checks"), 0);
	assert_string_equal(json_string_value(json_object_get(check, "name")), "twinvmd");
	assert_string_equal(json_string_value(json_object_get(check, "level")), "problem");
	json_decref(found);
}

/* The check "hardware" of a state: its level, and whether its text has that. */
static bool hardware(const char *state, bool cec, const char *level, const char *has)
{
	json_t *checks = json_array(), *o, *all;
	bool is, memory;

	all = json_pack("{s{ss ss sb s[{ss sb}{ss sb}]}}", "health", "state", state, "reason",
			"because", "cec", cec, "sources", "name", "mce_record", "there", 1, "name",
			"aer_event", "there", 0);
	doctor_check_hardware(all, checks);
	o = json_array_get(checks, 0);
	is = o && !strcmp(json_string_value(json_object_get(o, "name")), "hardware") &&
	     !strcmp(json_string_value(json_object_get(o, "level")), level) &&
	     strstr(json_string_value(json_object_get(o, "text")), has);
	memory = json_array_size(checks) == 2;
	json_decref(checks);
	json_decref(all);
	return is && memory == cec;
}

/* The check "keeper": what twinvmd reports of it. */
static bool keeper(json_t *health, const char *level, const char *has)
{
	json_t *checks = json_array(), *all = json_pack("{so}", "health", health), *o;
	bool is = false;
	size_t i;

	doctor_check_hardware(all, checks);
	json_array_foreach(checks, i, o)
		is |= !strcmp(json_string_value(json_object_get(o, "name")), "keeper") &&
		      !strcmp(json_string_value(json_object_get(o, "level")), level) &&
		      strstr(json_string_value(json_object_get(o, "text")), has);
	json_decref(checks);
	json_decref(all);
	return is;
}

static void who_takes_parts_out_of_service(void **state)
{
#define HEALTH(lives, owners, pages, cpus, moves)                                               \
	json_pack("{ss sb s{sb ss sb sb sb}}", "state", "green", "owners", owners, "keeper",    \
		  "lives", lives, "reason", "it has ended", "takes_pages", pages, "stops_cpus", \
		  cpus, "moves_failing_pages", moves)
	(void)state;
	assert_true(keeper(HEALTH(1, 1, 1, 1, 1), "ok", "can take pages and CPUs out of service"));
	assert_true(keeper(HEALTH(1, 1, 1, 0, 0), "ok", "it would panic if one failed"));
	assert_true(keeper(HEALTH(1, 1, 0, 0, 0), "ok", "neither pages nor CPUs"));
	assert_true(keeper(HEALTH(1, 0, 1, 1, 1), "ok", "without CAP_SYS_ADMIN"));
	assert_true(keeper(HEALTH(0, 0, 1, 1, 1), "warning", "it has ended"));
#undef HEALTH
}

static void the_hardware_is_as_twinvmd_knows_it(void **state)
{
	json_t *checks = json_array(), *counted = json_array(), *of;

	(void)state;
	assert_true(hardware("green", true, "ok", "watched by mce_record (not by aer_event)"));
	assert_true(hardware("unknown", false, "ok", "not known here: because"));
	assert_true(hardware("yellow", false, "warning", "because"));
	assert_true(hardware("red", false, "problem", "because"));
	of = json_pack("{s{ss s{si} s{si}}}", "health", "state", "green", "edac", "controllers", 2,
		       "aer", "counting", 3);
	doctor_check_hardware(of, counted);
	assert_non_null(
		strstr(json_string_value(json_object_get(json_array_get(counted, 1), "text")),
		       "2 memory controllers and 3 PCI Express devices"));
	json_decref(of);
	json_decref(counted);
	doctor_check_hardware(NULL, checks);
	assert_int_equal(json_array_size(checks), 0);
	json_decref(checks);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(what_is_not_known_is_left),
		CASE(what_a_vm_needs_is_not),
		CASE(slots_are_told_apart),
		CASE(what_a_process_uses_is_listed_apart),
		CASE(devices_are_a_vms_by_their_digits),
		CASE(without_the_daemon_nothing_is_left),
		CASE(who_takes_parts_out_of_service),
		CASE(the_hardware_is_as_twinvmd_knows_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
