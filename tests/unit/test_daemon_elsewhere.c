/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs that another host runs, or may run: what is on disk of them, who may be started here, and what
 * libvirt's hook says where no daemon answers. The process that asks the arbiter is this test, started
 * again, which exits with TEST_EXIT.
 */
#include "daemon_session_kit.h"

#include "lv/lv.h"

#include <fcntl.h>
#include <signal.h>

#define UUID "11111111-2222-3333-4444-55555555abcd"
#define OTHER_UUID "11111111-2222-3333-4444-55555555abce"

static struct vm *with_uuid(enum session_role role)
{
	struct vm *vm = kit_vm(role);

	strcpy(vm->saved.uuid, UUID);
	strcpy(vm->saved.arbiter, "none");
	vm->saved.generation = 3;
	return vm;
}

static void ask(struct end *e, const char *uuid)
{
	kit_connect(e);
	ctl_send(e->there, json_pack("{ss ss}", "op", "may-start", "uuid", uuid));
	kit_settle();
}

static void answered(struct end *e, int rc, const char *words)
{
	const char *error;

	kit_settle();
	assert_true(json_is_true(json_object_get(kit_last(e), "done")));
	assert_int_equal(json_integer_value(json_object_get(kit_last(e), "rc")), rc);
	error = json_string_value(json_object_get(kit_last(e), "error"));
	if (!strstr(error, words))
		fail_msg("'%s' does not contain '%s'", error, words);
	kit_hang_up(e);
	kit_settle();
}

/* The daemon ends, and another one begins. */
static void next_daemon(void)
{
	struct elsewhere *x;

	while ((x = TAILQ_FIRST(&d.elsewhere))) {
		TAILQ_REMOVE(&d.elsewhere, x, link);
		free(x);
	}
	elsewhere_load(&d);
}

static int forget_all(void **state)
{
	while (TAILQ_FIRST(&d.elsewhere))
		elsewhere_forget(&d, TAILQ_FIRST(&d.elsewhere)->id);
	return kit_tear_down(state);
}

static void uuids(void **state)
{
	(void)state;
	assert_true(elsewhere_is_uuid(UUID));
	assert_false(elsewhere_is_uuid(""));
	assert_false(elsewhere_is_uuid(UUID "0"));
	assert_false(elsewhere_is_uuid("../../../etc/passwd"));
	assert_false(elsewhere_is_uuid("11111111-2222-3333-4444-55555555ABCD"));
	assert_false(elsewhere_is_uuid("11111111-2222-3333-4444_55555555abcd"));
}

static void unknown_vms_may_start(void **state)
{
	struct end e;

	(void)state;
	ask(&e, UUID);
	answered(&e, 0, "");
	ask(&e, "vm1");
	answered(&e, -EINVAL, "no UUID");
	vm_drop(with_uuid(SESSION_BACKUP));
	kit_vm(SESSION_BACKUP); /* one of that name, and without a UUID */
	assert_int_equal(elsewhere_note(vm_by_id(&d, ID), true, NULL), 0);
	ask(&e, UUID);
	answered(&e, 0, "");
}

static void not_beside_the_one_that_is_known(void **state)
{
	struct end e;
	struct vm *vm;

	(void)state;
	vm = with_uuid(SESSION_BACKUP);
	ask(&e, UUID);
	answered(&e, TV_E_REFUSED, "vm1 runs on hostA (generation 3)");
	vm->role = SESSION_PRIMARY;
	ask(&e, UUID);
	answered(&e, TV_E_REFUSED, "runs on hostB already");
	vm->saved.qemu.pid = 0;
	vm->phase = VM_RUNNING;
	ask(&e, UUID);
	answered(&e, TV_E_REFUSED, "has just ended");
	vm->phase = VM_IDLE;
	ask(&e, UUID);
	answered(&e, 0, "");
	ask(&e, OTHER_UUID);
	answered(&e, 0, "");
}

/* The host was off: only the note is left. */
static void without_an_arbiter_nobody_knows(void **state)
{
	struct tv_err e = {0};
	struct end end;
	struct vm *vm;
	json_t *o;

	(void)state;
	vm = with_uuid(SESSION_PRIMARY);
	assert_int_equal(elsewhere_note(vm, false, &e), 0);
	vm_drop(vm);
	next_daemon();
	ask(&end, UUID);
	answered(&end, TV_E_REFUSED, "nobody can say whether it runs there");
	o = elsewhere_status(&d, TAILQ_FIRST(&d.elsewhere));
	assert_string_equal(json_string_value(json_object_get(o, "state")), "stopped");
	assert_non_null(strstr(json_string_value(json_object_get(o, "reason")), "hostA"));
	json_decref(o);
	kit_connect(&end);
	ctl_send(end.there, json_pack("{ss ss sb}", "op", "unprotect", "vm", "vm1", "kept", 1));
	answered(&end, 0, "");
	ask(&end, UUID);
	answered(&end, 0, "");
	next_daemon();
	assert_null(elsewhere_find(&d, UUID));
}

static void the_arbiter_is_asked(void **state)
{
	struct end e;
	struct vm *vm;
	pid_t pid;
	int status;

	(void)state;
	vm = with_uuid(SESSION_PRIMARY);
	strcpy(vm->saved.arbiter, "file:///srv/arbiter");
	assert_int_equal(elsewhere_note(vm, false, NULL), 0);
	vm_drop(vm);
	for (int code = 1; code >= 0; code--) {
		setenv("TEST_EXIT", code ? "1" : "0", 1);
		ask(&e, UUID);
		assert_int_equal(json_array_size(e.got), 0);
		pid = TAILQ_FIRST(&d.may_start)->pid;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		supervise_child_exit(&d, pid, status);
		answered(&e, code ? TV_E_REFUSED : 0, code ? "exit 1" : "");
		next_daemon();
		assert_int_equal(TAILQ_FIRST(&d.elsewhere) != NULL, code);
	}
}

/* From before a host can get it until it is this one's alone. */
static void notes_follow_the_sessions(void **state)
{
	struct session_register r = offer(3, "s1");
	struct session_end end = {.outcome = SESSION_DISCARDED, .over = true};
	struct end e;
	struct vm *vm;

	(void)state;
	strcpy(r.uuid, UUID);
	kit_connect(&e);
	send_register(&e, &r);
	next_daemon();
	assert_true(elsewhere_find(&d, UUID) && elsewhere_find(&d, UUID)->runs);
	ctl_send(e.there, session_message(SESSION_OP_DONE, &end));
	kit_settle();
	kit_hang_up(&e);
	kit_settle();
	assert_null(elsewhere_find(&d, UUID)); /* protection has ended for good */
	kit_connect(&e);
	send_register(&e, &r);
	send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
	assert_non_null(elsewhere_find(&d, UUID)); /* its primary runs on, alone */
	/* Another try of it fails here, and then the first one of a VM that is not known yet. */
	for (int known = 1; known >= 0; known--) {
		kit_connect(&e);
		send_register(&e, &r);
		assert_non_null(elsewhere_find(&d, UUID));
		send_end(&e, SESSION_FAILED, TV_E_REFUSED, "");
		kit_hang_up(&e);
		assert_int_equal(elsewhere_find(&d, UUID) != NULL, known);
		elsewhere_forget(&d, ID);
	}
	elsewhere_forget(&d, ID);
	vm = with_uuid(SESSION_PRIMARY);
	fencing_note_stale(vm);
	assert_true(elsewhere_find(&d, UUID)->runs && elsewhere_find(&d, UUID)->generation == 4);
}

/* A definition in libvirt may be replaced for a VM that has run here, never by a peer's word. */
static void own_is_what_has_run_here(void **state)
{
	struct session_register r = offer(3, "s1");
	struct end e;
	struct vm *vm;

	(void)state;
	assert_false(own_noted(d.conf.state_dir, UUID));
	strcpy(r.uuid, UUID);
	kit_connect(&e);
	send_register(&e, &r);
	assert_non_null(elsewhere_find(&d, UUID));
	assert_false(own_noted(d.conf.state_dir, UUID));
	send_end(&e, SESSION_DISCARDED, 0, "");
	kit_hang_up(&e);
	kit_settle();
	elsewhere_forget(&d, ID);

	vm = with_uuid(SESSION_PRIMARY);
	assert_int_equal(elsewhere_note(vm, false, NULL), 0);
	assert_true(own_noted(d.conf.state_dir, UUID));
	assert_false(own_noted(d.conf.state_dir, OTHER_UUID));
	assert_false(own_noted(d.conf.state_dir, ""));
	vm_drop(vm);
	next_daemon();
	/* The other host offers it, as itself, and then as another domain. */
	vm = with_uuid(SESSION_BACKUP);
	assert_int_equal(elsewhere_note(vm, true, NULL), 0);
	assert_true(own_noted(d.conf.state_dir, UUID));
	strcpy(vm->saved.uuid, OTHER_UUID);
	assert_int_equal(elsewhere_note(vm, true, NULL), 0);
	assert_false(own_noted(d.conf.state_dir, OTHER_UUID));
	assert_false(own_noted(d.conf.state_dir, UUID));
	elsewhere_forget(&d, ID);
	assert_false(own_noted("/nonexistent", UUID));
}

/* ---- the hook ---- */
static void configure(void)
{
	char text[2000];

	snprintf(text, sizeof(text),
		 "host = hostB\nca = a\ncert = b\nkey = /dev/null\nstate_dir = %s\nrun_dir = %s\n"
		 "socket = %s/none.sock\n",
		 d.conf.state_dir, d.conf.run_dir, d.conf.run_dir);
	assert_int_equal(tv_write_file(d.conf.path, text, strlen(text)), 0);
}

static const char *metadata = ""; /* of the domain that is started */

/* Its exit status; what it says goes to words. */
static int hook(const char *uuid, const char *operation, char *words, size_t room)
{
	char *argv[] = {"hook",	 "--config", d.conf.path, "vm1", (char *)operation,
			"begin", "-",	     NULL};
	int in[2], err[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(in) | pipe(err), 0);
	pid = fork();
	if (!pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(err[1], STDERR_FILENO);
		close(in[1]);
		_exit(hook_main(7, argv));
	}
	close(in[0]);
	close(err[1]);
	dprintf(in[1], "<domain type='qemu'>\n<name>vm1</name>\n<uuid>%s</uuid>%s</domain>", uuid,
		metadata);
	close(in[1]);
	n = read(err[0], words, room - 1);
	words[n > 0 ? n : 0] = '\0';
	close(err[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_hook_without_a_daemon(void **state)
{
	char words[1000];
	struct vm *vm;

	(void)state;
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0); /* not configured */
	configure();
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0);
	vm = with_uuid(SESSION_PRIMARY);
	assert_int_equal(elsewhere_note(vm, true, NULL), 0);
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 1);
	assert_non_null(strstr(words, "twinvm: twinvmd does not answer: vm1 runs on hostA"));
	assert_int_equal(hook(OTHER_UUID, "prepare", words, sizeof(words)), 0);
	assert_int_equal(hook("", "prepare", words, sizeof(words)), 0);
	assert_int_equal(hook(UUID, "release", words, sizeof(words)), 0);
	/* The standby that twinvm starts. */
	assert_int_equal(start_note(d.conf.run_dir, "../../../../../../../tmp/somewhere/x"),
			 -EINVAL);
	assert_int_equal(start_note(d.conf.run_dir, UUID), 0);
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0);
	start_note_end(d.conf.run_dir, UUID);
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 1);
}

/* As libvirt prints what lv/xml.c makes. */
#define MADE_HERE                                                                     \
	"<metadata>\n  <twinvm:standby xmlns:twinvm=\"" LV_METADATA_URI "\" vm=\"" ID \
	"\">\n<twinvm:before>&lt;domain/&gt;</twinvm:before></twinvm:standby>\n"      \
	"</metadata>"

static void ask_of_copy(struct end *e)
{
	kit_connect(e);
	ctl_send(e->there, json_pack("{ss ss ss ss}", "op", "may-start", "uuid", UUID, "name",
				     "vm1", "mark", ID));
	kit_settle();
}

/* Protection has ended, and libvirtd was away: the standby's definition is still there. */
static void a_copy_that_is_left(void **state)
{
	struct tv_err e = {0};
	char words[1000];
	struct end end;
	struct vm *vm;

	(void)state;
	strcpy(d.conf.host, "hostB");
	configure();
	metadata = MADE_HERE;
	assert_int_equal(generation_note(&d, ID, 3, "hostA", "", &e), 0);
	ask_of_copy(&end);
	answered(&end, TV_E_REFUSED, "hostA ran the VM (generation 3). Start it there");
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 1);
	assert_non_null(
		strstr(words, "twinvmd does not answer: this definition of vm1 is the copy"));
	assert_non_null(strstr(words, "virsh undefine vm1"));
	metadata = "";
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0);
	ask(&end, UUID);
	answered(&end, 0, "");

	/* Promoted here, and shut down: its definition has the mark, and is the VM's. */
	metadata = MADE_HERE;
	assert_int_equal(generation_note(&d, ID, 4, "hostB", "", &e), 0);
	ask_of_copy(&end);
	answered(&end, 0, "");
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0);
	/* Home again. */
	assert_int_equal(generation_note(&d, ID, 5, "hostA", "", &e), 0);
	ask_of_copy(&end);
	answered(&end, TV_E_REFUSED, "hostA ran the VM");

	/* hostA is gone for good: an operator's word. */
	vm = with_uuid(SESSION_BACKUP);
	assert_int_equal(elsewhere_note(vm, true, NULL), 0);
	vm_drop(vm);
	kit_connect(&end);
	ctl_send(end.there, json_pack("{ss ss sb}", "op", "unprotect", "vm", "vm1", "kept", 1));
	answered(&end, 0, "");
	ask_of_copy(&end);
	answered(&end, 0, "");
	assert_int_equal(hook(UUID, "prepare", words, sizeof(words)), 0);
	/* It is offered anew: the word has had its time. */
	vm = with_uuid(SESSION_BACKUP);
	assert_int_equal(elsewhere_note(vm, true, NULL), 0);
	vm_drop(vm);
	assert_false(elsewhere_of(&d, ID)->released);
	metadata = "";
}

static void a_copy_of_which_nothing_is_known(void **state)
{
	struct end end;

	(void)state;
	ask_of_copy(&end);
	answered(&end, TV_E_REFUSED, "not known any more");
	kit_connect(&end);
	ctl_send(end.there, json_pack("{ss ss ss}", "op", "may-start", "uuid", UUID, "mark",
				      "../../../etc/passwd"));
	answered(&end, TV_E_REFUSED, "not known any more");
}

static void marks(void **state)
{
	static const char other[] = "0123456789abcdef0123456789abcdef";
	static const char *const none[] = {
		"",
		LV_METADATA_URI,
		"<",
		"<a:standby xmlns:a='" LV_METADATA_URI "'",
		"<a:standby xmlns:a='" LV_METADATA_URI "'/>",
		"<a:standby xmlns:a='" LV_METADATA_URI "' vm='x'/>",
		"<a:standby xmlns:a='" LV_METADATA_URI "' vm='0123456789abcdef0123456789abcdeg'/>",
		"<a:standby xmlns:a='" LV_METADATA_URI "' vm='0123456789abcdef0123456789abcdef0'/>",
		"<a:standby xmlns:a='" LV_METADATA_URI
		"'/><a vm='0123456789abcdef0123456789abcdef'/>",
		"<a:other xmlns:a='" LV_METADATA_URI "' vm='0123456789abcdef0123456789abcdef'/>",
		/* texts of a guest's owner, as libvirt prints them */
		"<description>&lt;a:standby xmlns:a='" LV_METADATA_URI
		"' vm='0123456789abcdef0123456789abcdef'/&gt;</description>",
		"<entry name='a:standby xmlns=&quot;" LV_METADATA_URI
		"&quot; vm=&quot;0123456789abcdef0123456789abcdef&quot;'/>",
	};
	char id[LV_VM_ID_ROOM];

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		if (lv_mark_of(none[i], id))
			fail_msg("%s: %s", none[i], id);
	assert_true(lv_mark_of(MADE_HERE, id));
	assert_string_equal(id, ID);
	assert_true(lv_mark_of(
		"<x/><standby vm='0123456789abcdef0123456789abcdef' xmlns='" LV_METADATA_URI "'/>",
		id));
	assert_string_equal(id, other);
}

static int replicate(void)
{
	const char *code = getenv("TEST_EXIT");

	dprintf(3, "exit %s", code ? code : "");
	return code ? atoi(code) : 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, forget_all)
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(uuids),
		T(unknown_vms_may_start),
		T(not_beside_the_one_that_is_known),
		T(without_an_arbiter_nobody_knows),
		T(the_arbiter_is_asked),
		T(notes_follow_the_sessions),
		T(own_is_what_has_run_here),
		T(the_hook_without_a_daemon),
		T(a_copy_that_is_left),
		T(a_copy_of_which_nothing_is_known),
		T(marks),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return replicate();
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_elsewhere", tests, NULL, NULL);
}
