/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other hosts offer a VM: whose it is, by the arbiter's record or by memory, and what happens then.
 * Replicators and helper processes are as in test_daemon_ends.c.
 */
#include "daemon_session_kit.h"

#include <fcntl.h>
#include <signal.h>

/* ---- the record, which a process looks at: this test, started again ---- */
static void record_file(char *out, size_t room)
{
	kit_path(out, room, "record");
}

static int look(void)
{
	struct fo_record rec;
	const char *path = getenv("TEST_RECORD");
	TV_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return path ? LOOK_NONE : 1;
	return read(fd, &rec, sizeof(rec)) != sizeof(rec) || tv_write_all(3, &rec, sizeof(rec));
}

/* generation 0: the arbiter has none. host NULL: it does not answer. */
static struct session_register recorded(struct session_register r, const char *host,
					uint64_t generation)
{
	struct fo_record rec = {.version = 1, .generation = generation};
	char path[300];

	strcpy(r.arbiter, "file:///x");
	record_file(path, sizeof(path));
	unlink(path);
	if (host)
		setenv("TEST_RECORD", path, 1);
	else
		unsetenv("TEST_RECORD");
	if (host && generation) {
		strcpy(rec.primary, host);
		assert_int_equal(tv_write_file(path, &rec, sizeof(rec)), 0);
	}
	return r;
}

/* The process that looks at a record has ended. */
static void answer_look(void)
{
	struct looking *l = TAILQ_FIRST(&d.looking);
	pid_t pid = l ? l->pid : 0;
	int status;

	if (!l)
		return;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	supervise_child_exit(&d, pid, status);
	kit_settle();
	assert_true(TAILQ_EMPTY(&d.looking));
}

static void send_offer(struct end *e, const struct session_register *r)
{
	send_register(e, r);
	answer_look();
}

static void a_stale_primary_is_refused(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e;

	(void)state;
	assert_int_equal(generation_note(&d, ID, 5, "hostB", "", NULL), 0);
	kit_connect(&e);
	send_offer(&e, &r);
	kit_expect(&e, SESSION_OP_FENCED);
	/* The one after its own: without an arbiter it believes no other. */
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "generation")), 4);
	assert_null(vm_by_id(&d, ID));
	kit_hang_up(&e);
	r = recorded(offer(3, "s1"), "hostB", 5);
	kit_connect(&e);
	send_offer(&e, &r);
	kit_expect(&e, SESSION_OP_FENCED);
	assert_int_equal(json_integer_value(json_object_get(kit_last(&e), "generation")), 5);
	kit_hang_up(&e);
}

static void refused(const struct session_register *r, const char *why)
{
	struct end e;

	kit_connect(&e);
	send_offer(&e, r);
	kit_expect(&e, SESSION_OP_REFUSE);
	assert_non_null(strstr(json_string_value(json_object_get(kit_last(&e), "text")), why));
	kit_hang_up(&e);
}

/* Another host's VM, by the record or by memory: nothing changes, and the sentence says whose. */
static void a_stranger_is_refused(void **state)
{
	struct session_register a = recorded(offer(3, "s1"), "hostA", 3), r;
	struct end e;
	struct vm *vm;

	(void)state;
	kit_connect(&e);
	send_offer(&e, &a);
	kit_expect(&e, SESSION_OP_GO);
	vm = vm_by_id(&d, ID);
	for (unsigned i = 0; i < 3; i++) {
		static const uint64_t theirs[] = {3, 4, INT64_MAX};

		r = recorded(offer(theirs[i], "s2"), "hostA", 3);
		strcpy(r.peer, "hostC");
		refused(&r, "by the arbiter's record it is hostA's, generation 3");
		r = recorded(offer(theirs[i], "s2"), "", 0);
		strcpy(r.peer, "hostC");
		refused(&r, "of which the arbiter has no record");
		r = offer(theirs[i], "s2");
		strcpy(r.peer, "hostC");
		refused(&r, "hostB knows this VM as hostA's, generation 3");
		strcpy(r.session, "s1"); /* nor is it that session, whatever it is called */
		refused(&r, "hostB knows this VM as hostA's");
	}
	assert_ptr_equal(vm_by_id(&d, ID), vm);
	assert_true(vm->now.rep == e.here && generation_seen(&d, ID) == 3);
	assert_int_equal(json_array_size(e.got), 1); /* its session was not disturbed */
	send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
}

/* Another host offers a higher generation: its session waits until this host's VM is stopped. */
static void a_vm_yields_to_a_higher_generation(void **state)
{
	struct session_register r = recorded(offer(5, "s9"), "hostA", 5), none = offer(5, "s9");
	struct end e, other;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&e);
	refused(&none, "there is no arbiter to ask");
	assert_int_equal(json_array_size(e.got), 0);
	kit_connect(&other);
	send_offer(&other, &r);
	kit_expect(&e, SESSION_OP_FENCE);
	assert_int_equal(generation_seen(&d, ID), 5);
	send_end(&e, SESSION_FENCED, TV_E_LOST, "");
	assert_true(vm->phase == VM_FENCING);
	assert_int_equal(json_array_size(other.got), 0);
	reap(vm);
	kit_settle();
	answer_look();			   /* once more: time has passed */
	kit_expect(&other, SESSION_OP_GO); /* with names of its own: the old ones are kept */
	assert_int_equal(vm_by_id(&d, ID)->role, SESSION_BACKUP);
	send_end(&other, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
	kit_hang_up(&other);
}

static void without_an_answer_nothing_is_believed(void **state)
{
	struct session_register r = recorded(offer(3, "s1"), NULL, 0);
	struct end e[33];

	(void)state;
	refused(&r, "hostB cannot ask the arbiter file:///x whose this VM is");
	assert_int_equal(generation_seen(&d, ID), 0);
	/* One that closes is not waited for; many at a time are refused. */
	r = recorded(offer(3, "s1"), "hostA", 3);
	for (unsigned i = 0; i < 33; i++) {
		kit_connect(&e[i]);
		send_register(&e[i], &r);
	}
	kit_expect(&e[32], SESSION_OP_REFUSE);
	for (unsigned i = 0; i < 33; i++)
		kit_hang_up(&e[i]);
	while (TAILQ_FIRST(&d.looking)) {
		pid_t pid = TAILQ_FIRST(&d.looking)->pid;
		int status;

		while (TAILQ_FIRST(&d.looking)->c) /* until it has closed */
			event_base_loop(d.base, EVLOOP_ONCE);

		assert_int_equal(waitpid(pid, &status, 0), pid);
		supervise_child_exit(&d, pid, status);
	}
	assert_null(vm_by_id(&d, ID));
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(a_stale_primary_is_refused),
		T(a_stranger_is_refused),
		T(a_vm_yields_to_a_higher_generation),
		T(without_an_answer_nothing_is_believed),
	};

	if (argc > 2 && !strcmp(argv[1], "replicate"))
		return strcmp(argv[2], "look") ? 0 : look();
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_owner", tests, NULL, NULL);
}
