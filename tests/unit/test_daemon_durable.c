/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon does when state_dir cannot be written: nothing is promised, and what has happened
 * already is not lost. The folder of the VMs' files is moved away for that. */
#include "daemon_kit.h"

#include <sys/stat.h>

static void take_away(const char *folder)
{
	char here[300], away[310];

	kit_path(here, sizeof(here), folder);
	snprintf(away, sizeof(away), "%s.away", here);
	assert_int_equal(rename(here, away), 0);
}

static void give_back(const char *folder)
{
	char here[300], away[310];

	kit_path(here, sizeof(here), folder);
	snprintf(away, sizeof(away), "%s.away", here);
	assert_int_equal(rename(away, here), 0);
}

/* The time of the next try has come. */
static void try_again(void)
{
	event_active(d.write_again, EV_TIMEOUT, 1);
	kit_settle();
}

static void expect_file(const char *path, const char *text)
{
	TV_FREE char *have = NULL;
	int rc = tv_read_file(path, 1 << 16, &have, NULL);

	if (!text)
		assert_int_equal(rc, -ENOENT);
	else
		assert_string_equal(have ? have : "(none)", text);
}

static void expect_warning(const char *a, const char *b)
{
	char text[512];

	durable_warning(&d, text, sizeof(text));
	if (!a)
		assert_string_equal(text, "");
	else if (!strstr(text, a) || !strstr(text, b))
		fail_msg("warning '%s' lacks '%s' or '%s'", text, a, b);
}

static void what_is_promised_is_written_first(void **state)
{
	struct tv_err e = {0};
	char path[300];

	(void)state;
	kit_path(path, sizeof(path), "vms/x");
	take_away("vms");
	assert_int_equal(durable_write(&d, path, "1", &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
	assert_non_null(strstr(e.text, "hostB"));
	assert_non_null(strstr(e.text, "make room there"));
	/* It was not promised: nothing is left of it. */
	assert_null(durable_unwritten(&d, path));
	expect_warning(NULL, NULL);
	give_back("vms");
	expect_file(path, NULL);
	assert_int_equal(durable_write(&d, path, "1", &e), 0);
	expect_file(path, "1");
}

static void what_has_happened_is_written_later(void **state)
{
	char path[300], other[300];
	struct tv_err e;

	(void)state;
	kit_path(path, sizeof(path), "vms/x");
	kit_path(other, sizeof(other), "vms/y");
	durable_write_later(&d, path, "1");
	take_away("vms");
	durable_write_later(&d, path, "2");
	durable_write_later(&d, path, "3");
	assert_string_equal(durable_unwritten(&d, path), "3");
	expect_warning(path, "cannot be written");
	try_again();
	assert_string_equal(durable_unwritten(&d, path), "3");
	give_back("vms");
	expect_file(path, "1");
	try_again();
	expect_file(path, "3");
	assert_null(durable_unwritten(&d, path));
	expect_warning(NULL, NULL);
	/* What is promised now counts more than what was to be written. */
	take_away("vms");
	durable_write_later(&d, path, "4");
	durable_write_later(&d, other, "4");
	give_back("vms");
	assert_int_equal(durable_write(&d, path, "5", &e), 0);
	try_again();
	expect_file(path, "5");
	expect_file(other, "4");
	/* A file that is gone needs no second try; one that could not be written is forgotten. */
	take_away("vms");
	durable_write_later(&d, other, "6");
	assert_int_equal(durable_remove(&d, other, &e), 0);
	assert_null(durable_unwritten(&d, other));
	give_back("vms");
	try_again();
	expect_file(other, "4");
}

/* Its name is in use by a folder: no unlink. */
static void a_file_that_cannot_go_is_removed_later(void **state)
{
	struct tv_err e = {0};
	char path[300];

	(void)state;
	kit_path(path, sizeof(path), "vms/x");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_true(durable_remove(&d, path, &e) < 0);
	assert_non_null(strstr(e.text, path));
	expect_warning(path, "cannot be removed");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(tv_write_file(path, "1", 1), 0);
	try_again();
	expect_file(path, NULL);
	expect_warning(NULL, NULL);
}

static void a_generation_is_known_before_it_is_written(void **state)
{
	TV_FREE char *text = NULL;
	struct tv_err e = {0};
	char path[300];

	(void)state;
	kit_path(path, sizeof(path), "generations/" ID);
	generation_note_later(&d, ID, 4, "hostA", "");
	take_away("generations");
	generation_note_later(&d, ID, 7, "hostB", "");
	assert_true(generation_seen(&d, ID) == 7);
	/* Known is not on disk: it is no promise. */
	assert_int_equal(generation_note(&d, ID, 7, "hostB", "", &e), -ENOENT);
	give_back("generations");
	assert_int_equal(generation_note(&d, ID, 7, "hostB", "", &e), 0);
	assert_null(durable_unwritten(&d, path));
	assert_int_equal(tv_read_file(path, 200, &text, NULL), 0);
	assert_non_null(strstr(text, "\"generation\":7,\"host\":\"hostB\""));
	assert_int_equal(generation_note(&d, ID, 7, "hostB", "", &e), 0);
}

static void status_warns(void **state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	json_t *o;

	(void)state;
	take_away("vms");
	vm_save_later(vm);
	o = vm_status(vm);
	assert_non_null(strstr(json_string_value(json_object_get(o, "warning")), ID ".json"));
	json_decref(o);
	give_back("vms");
	try_again();
	o = vm_status(vm);
	assert_string_equal(json_string_value(json_object_get(o, "warning")), "");
	json_decref(o);
}

static void no_session_begins_that_is_not_on_disk(void **state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	struct tv_err e = {0};

	(void)state;
	take_away("vms");
	assert_int_equal(vm_start_source(vm, &e), -ENOENT);
	assert_non_null(strstr(e.text, ID ".json on hostB cannot be written"));
	assert_true(!vm->now.child && vm->phase == VM_IDLE);
	give_back("vms");
}

/* ---- replicators ---- */
static void send_to_daemon(struct end *e, enum session_op op, const void *body)
{
	ctl_send(e->there, session_message(op, body));
	kit_settle();
}

static struct vm *first_protection(struct end *source, struct end *command)
{
	struct session_register r = {.role = SESSION_PRIMARY, .vm_id = ID, .session = "s1"};
	struct vm *vm = kit_vm(SESSION_PRIMARY);

	vm->fresh = true;
	vm->saved.was_protected = false;
	vm->saved.generation = 1;
	strcpy(vm->saved.arbiter, "none");
	strcpy(vm->saved.session, "s1");
	vm_save_later(vm);
	kit_connect(source);
	r.pid = source->pid;
	send_to_daemon(source, SESSION_OP_REGISTER, &r);
	assert_int_equal(vm->phase, VM_RUNNING);
	kit_connect(command);
	command_waits(command->here, vm, false);
	return vm;
}

static void a_protection_that_is_not_on_disk_is_ended(void **state)
{
	struct session_peer peer = {"hostA"};
	struct session_end left = {.outcome = SESSION_LEFT};
	struct end source, command;

	(void)state;
	first_protection(&source, &command);
	take_away("vms");
	send_to_daemon(&source, SESSION_OP_PROTECTED, &peer);
	kit_expect(&source, SESSION_OP_LEAVE);
	assert_int_equal(json_array_size(command.got), 0);
	send_to_daemon(&source, SESSION_OP_DONE, &left);
	ctl_free(source.there);
	source.there = NULL;
	kit_settle();
	assert_int_equal(json_integer_value(json_object_get(kit_last(&command), "rc")), -ENOENT);
	assert_non_null(strstr(json_string_value(json_object_get(kit_last(&command), "error")),
			       ID ".json on hostB cannot be written"));
	assert_null(vm_by_id(&d, ID));
	give_back("vms");
	kit_hang_up(&source);
	kit_hang_up(&command);
}

static void a_protection_that_is_on_disk_stays(void **state)
{
	struct session_peer peer = {"hostA"};
	struct end source, command;
	struct vm *vm;

	(void)state;
	vm = first_protection(&source, &command);
	send_to_daemon(&source, SESSION_OP_PROTECTED, &peer);
	assert_int_equal(json_integer_value(json_object_get(kit_last(&command), "rc")), 0);
	assert_true(!vm->fresh && vm->saved.was_protected);
	/* Later it cannot be written: the VM stays protected. */
	take_away("vms");
	send_to_daemon(&source, SESSION_OP_PROTECTED, &peer);
	assert_int_equal(json_array_size(source.got), 0);
	expect_warning(ID ".json", "cannot be written");
	give_back("vms");
	try_again();
	vm->now.rep = NULL; /* its connection ends without an outcome: not of interest here */
	vm->now.replicator = 0;
	kit_hang_up(&source);
	kit_hang_up(&command);
}

static void a_backup_that_cannot_write_refuses(void **state)
{
	static const char *const folders[] = {"vms", "generations"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct session_register r = {.role = SESSION_BACKUP,
					     .vm_id = ID,
					     .name = "vm1",
					     .peer = "hostA",
					     .mode = "remus",
					     .arbiter = "none",
					     .session = "s1",
					     .generation = 1};
		struct end e;
		const char *why;

		take_away(folders[i]);
		kit_connect(&e);
		r.pid = e.pid;
		send_to_daemon(&e, SESSION_OP_REGISTER, &r);
		kit_expect(&e, SESSION_OP_REFUSE);
		why = json_string_value(json_object_get(kit_last(&e), "text"));
		assert_non_null(strstr(why, folders[i]));
		assert_non_null(strstr(why, "on hostB cannot be written"));
		assert_null(vm_by_id(&d, ID));
		give_back(folders[i]);
		kit_hang_up(&e);
		kit_settle();
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(what_is_promised_is_written_first),
		CASE(what_has_happened_is_written_later),
		CASE(a_file_that_cannot_go_is_removed_later),
		CASE(a_generation_is_known_before_it_is_written),
		CASE(status_warns),
		CASE(no_session_begins_that_is_not_on_disk),
		CASE(a_protection_that_is_not_on_disk_is_ended),
		CASE(a_protection_that_is_on_disk_stays),
		CASE(a_backup_that_cannot_write_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
