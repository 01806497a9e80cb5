/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon has on disk about generations and stopped QEMUs, and the names it gives. */
#include "daemon_kit.h"

#include <signal.h>
#include <sys/wait.h>

#include <errno.h>

static void whose_a_vm_is_is_on_disk(void **state)
{
	char path[300];
	struct fo_own own;

	(void)state;
	assert_int_equal(generation_seen(&d, ID), 0);
	assert_int_equal(generation_note(&d, ID, 3, "hostA", "", NULL), 0);
	generation_read(&d, ID, &own);
	assert_true(own.highest == 3 && !own.ran && !own.backup[0]);
	assert_string_equal(own.host, "hostA");
	/* It was this host's, then another one's: that it was is known. */
	assert_int_equal(generation_note(&d, ID, 4, "hostB", "hostC", NULL), 0);
	generation_read(&d, ID, &own);
	assert_true(own.highest == 4 && own.ran == 4);
	assert_string_equal(own.backup, "hostC");
	assert_int_equal(generation_note(&d, ID, 5, "hostC", "", NULL), 0);
	generation_read(&d, ID, &own);
	assert_true(own.highest == 5 && own.ran == 4 && !own.backup[0]);
	/* What the record says counts, also when that is less. */
	assert_int_equal(generation_note(&d, ID, 2, "hostA", "", NULL), 0);
	assert_int_equal(generation_seen(&d, ID), 2);
	assert_int_equal(generation_seen(&d, OTHER), 0);
	/* A note of an older version, and a damaged one. */
	kit_path(path, sizeof(path), "generations/" OTHER);
	assert_int_equal(tv_write_file(path, "7\n", 2), 0);
	generation_read(&d, OTHER, &own);
	assert_true(own.highest == 7 && !own.host[0]);
	assert_int_equal(tv_write_file(path, "{\"generation\": 9}", 17), 0);
	assert_int_equal(generation_seen(&d, OTHER), 0);
	/* An id is a file's name: nothing else may be. */
	assert_int_equal(generation_note(&d, "../" ID, 1, "hostA", "", NULL), -EINVAL);
	assert_int_equal(generation_note(&d, "", 1, "hostA", "", NULL), -EINVAL);
	strcat(d.conf.state_dir, "/nowhere");
	assert_true(generation_note(&d, ID, 4, "hostA", "", NULL) < 0); /* not on disk: reported */
	*strrchr(d.conf.state_dir, '/') = 0;
}

/* A peer that offers one VM after the other: the newest are known, and those of other hosts. */
static void notes_of_one_host_are_bounded(void **state)
{
	unsigned n = 0;
	char id[33];

	(void)state;
	(void)kit_vm(SESSION_BACKUP); /* has an entry: its note stays, however old */
	assert_int_equal(generation_note(&d, ID, 1, "hostC", "", NULL), 0);
	assert_int_equal(generation_note(&d, OTHER, 1, "hostA", "", NULL), 0);
	for (unsigned i = 0; i < 600; i++) {
		snprintf(id, sizeof(id), "%032x", i);
		assert_int_equal(generation_note(&d, id, 1, "hostC", "", NULL), 0);
	}
	for (unsigned i = 0; i < 600; i++) {
		snprintf(id, sizeof(id), "%032x", i);
		n += generation_seen(&d, id) != 0;
	}
	assert_int_equal(n, 512);
	assert_int_equal(generation_seen(&d, id), 1);
	assert_int_equal(generation_seen(&d, ID), 1);
	assert_int_equal(generation_seen(&d, OTHER), 1);
}

static void slots_share_no_name(void **state)
{
	struct slot_names n[SLOTS_MAX], other;

	(void)state;
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		slot_names(ID, i, &n[i]);
		assert_true(strlen(n[i].tap_prefix) + 2 <= 15); /* a tap's name, with its number */
		slot_names(OTHER, i, &other);
		assert_string_not_equal(n[i].tap_prefix, other.tap_prefix);
		for (unsigned j = 0; j < i; j++) {
			assert_string_not_equal(n[i].id, n[j].id);
			/* No number makes one of the other's names of it. */
			assert_true(i == j || strcmp(n[i].tap_prefix, n[j].tap_prefix) != 0);
			assert_false(j && !strncmp(n[i].tap_prefix, n[j].tap_prefix,
						   strlen(n[j].tap_prefix)));
		}
	}
	assert_string_equal(n[0].id, ID);
}

static void what_is_kept_keeps_its_slot(void **state)
{
	struct vm *vm;
	struct kept *k;

	(void)state;
	vm = kit_vm(SESSION_PRIMARY);
	vm->saved.generation = 4;
	vm->saved.slot = 0;
	assert_int_equal(kept_free_slot(&d, ID), 0);
	/* One that has ended is forgotten by itself. */
	vm->saved.qemu.start_ticks++;
	kept_add(vm, "gone");
	kept_prune(&d);
	assert_true(TAILQ_EMPTY(&d.kept));
	vm->saved.qemu.start_ticks--;
	kept_add(vm, "another host runs it");
	assert_int_equal(kept_free_slot(&d, ID), 1);
	assert_int_equal(kept_free_slot(&d, OTHER), 0);
	/* The next daemon knows it, by any of its names. */
	free(TAILQ_FIRST(&d.kept));
	TAILQ_INIT(&d.kept);
	kept_load(&d);
	k = kept_find(&d, "vm1");
	assert_non_null(k);
	assert_ptr_equal(kept_find(&d, ID), k);
	assert_ptr_equal(kept_find(&d, "/run/vm1.qmp"), k);
	assert_true(kept_is(&d, getpid()) && k->slot == 0 && k->generation == 4);
	assert_string_equal(k->why, "another host runs it");
	assert_int_equal(kept_free_slot(&d, ID), 1);
	/* It is forgotten on request. */
	assert_int_equal(kept_forget(&d, ID), 1);
	assert_null(kept_find(&d, "vm1"));
	assert_int_equal(kept_free_slot(&d, ID), 0);
	kept_load(&d);
	assert_true(TAILQ_EMPTY(&d.kept));
}

/* A process in the place of a stopped QEMU: it does not end by itself, and at SIGTERM if gentle. */
static pid_t stopped_qemu(struct vm *vm, bool gentle)
{
	int ready[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		signal(SIGTERM, gentle ? SIG_DFL : SIG_IGN);
		(void)!write(ready[1], "", 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	vm->saved.qemu.pid = pid;
	vm->saved.qemu.start_ticks = tv_pid_start_ticks(pid);
	return pid;
}

static void touch(const char *name)
{
	char path[300];

	kit_path(path, sizeof(path), name);
	assert_int_equal(tv_write_file(path, name, strlen(name)), 0);
}

static void is_there(const char *name, bool there)
{
	char path[300];

	kit_path(path, sizeof(path), name);
	assert_int_equal(access(path, F_OK), there ? 0 : -1);
}

static void until_ended(pid_t pid)
{
	int status;

	while (kept_is(&d, pid))
		event_base_loop(d.base, EVLOOP_ONCE);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	kit_settle();
}

/* With an arbiter: at the next protection, with its memory and its own images, and no others. */
static void what_is_kept_ends_when_protected_again(void **state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	struct kept_cost cost;
	pid_t pid;

	(void)state;
	strcpy(d.conf.replica_dir, d.conf.state_dir);
	strcpy(vm->saved.arbiter, "file:///somewhere");
	vm->saved.generation = 4;
	vm->saved.slot = 0;
	touch(ID "-0.raw");
	touch(ID "-12.raw");
	touch(ID ".state");
	touch(ID "-1-0.raw"); /* of slot 1 */
	touch(ID "-1.state");
	touch(OTHER "-0.raw");
	touch(ID "-0.raw.copy");
	pid = stopped_qemu(vm, true);
	kept_add(vm, "another host runs it");
	cost = kept_cost(TAILQ_FIRST(&d.kept));
	assert_true(cost.memory_bytes > 4096 && cost.image_bytes >= 3 * 4096);
	kept_protected(&d, OTHER, 9);
	kept_protected(&d, ID, 4); /* its own generation: not another host's */
	kit_settle();
	assert_true(kept_is(&d, pid) && !TAILQ_FIRST(&d.kept)->ending);
	kept_protected(&d, ID, 5);
	assert_true(TAILQ_FIRST(&d.kept)->ending);
	until_ended(pid);
	assert_true(TAILQ_EMPTY(&d.kept));
	is_there(ID "-0.raw", false);
	is_there(ID "-12.raw", false);
	is_there(ID ".state", false);
	is_there(ID "-1-0.raw", true);
	is_there(ID "-1.state", true);
	is_there(OTHER "-0.raw", true);
	is_there(ID "-0.raw.copy", true);
	/* Never a standby: its images are the user's, also where they have such names. */
	touch(ID "-0.raw");
	vm->saved.slot = -1;
	pid = stopped_qemu(vm, true);
	kept_add(vm, "another host runs it");
	assert_int_equal(kept_cost(TAILQ_FIRST(&d.kept)).image_bytes, 0);
	kept_protected(&d, ID, 5);
	until_ended(pid);
	is_there(ID "-0.raw", true);
}

/* Without an arbiter something may be lost with it: the newest one stays. A daemon that restarts
 * ends what was to end, also what does not end at a word. */
static void only_the_newest_stays(void **state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	pid_t first, second;
	struct kept *k;

	(void)state;
	strcpy(vm->saved.arbiter, "none");
	vm->saved.generation = 4;
	first = stopped_qemu(vm, false);
	kept_add(vm, "another host runs it");
	kept_protected(&d, ID, 9);
	assert_false(TAILQ_FIRST(&d.kept)->ending);
	second = stopped_qemu(vm, true);
	kept_add(vm, "another host runs it");
	kit_settle();
	while ((k = TAILQ_FIRST(&d.kept))) { /* the daemon dies */
		TAILQ_REMOVE(&d.kept, k, link);
		if (k->end)
			event_free(k->end);
		tv_close_fd(&k->pidfd);
		free(k);
	}
	kept_load(&d);
	until_ended(first);
	assert_true(kept_is(&d, second));
	assert_int_equal(kill(second, SIGKILL), 0);
	assert_int_equal(waitpid(second, NULL, 0), second);
	kept_prune(&d);
	assert_true(TAILQ_EMPTY(&d.kept));
}

static void damaged_notes_are_ignored(void **state)
{
	static const char *const bad[] = {"", "{}", "[]", "{\"id\": 1}", "{\"id\": \"" ID "\"}"};
	char path[300];

	(void)state;
	kit_path(path, sizeof(path), "kept/" ID "-1.json");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(tv_write_file(path, bad[i], strlen(bad[i])), 0);
		kept_load(&d);
		assert_true(TAILQ_EMPTY(&d.kept));
	}
}

static void notes_are_roots(void **state)
{
	struct standby_note n = {4711, 99, "/run/x y.qmp"}, got;
	char dir[300], path[400];

	(void)state;
	kit_path(dir, sizeof(dir), "run/" ID);
	assert_int_equal(promotion_noted(dir), 0);
	assert_false(standby_noted(dir, &got));
	assert_int_equal(tv_mkdirs(d.conf.run_dir), 0);
	assert_int_equal(promotion_note(dir, 7), 0);
	assert_int_equal(standby_note(dir, &n), 0);
	assert_int_equal(promotion_noted(dir), 7);
	assert_true(standby_noted(dir, &got));
	assert_true(got.pid == 4711 && got.start_ticks == 99);
	assert_string_equal(got.qmp, n.qmp);
	/* A link, or another user's file, is no note. */
	snprintf(path, sizeof(path), "%s.standby", dir);
	assert_int_equal(truncate(path, 5), 0);
	assert_false(standby_noted(dir, &got));
	unlink(path);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_false(standby_noted(dir, &got));
	assert_int_equal(standby_note(dir, &n), -ELOOP);
	snprintf(path, sizeof(path), "%s.promoted", dir);
	if (!geteuid()) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_int_equal(promotion_noted(dir), 0);
	}
	notes_forget(dir);
	assert_int_not_equal(access(path, F_OK), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {T(whose_a_vm_is_is_on_disk),
					   T(notes_of_one_host_are_bounded),
					   T(slots_share_no_name),
					   T(what_is_kept_keeps_its_slot),
					   T(what_is_kept_ends_when_protected_again),
					   T(only_the_newest_stays),
					   T(damaged_notes_are_ignored),
					   T(notes_are_roots)};

	return cmocka_run_group_tests_name("daemon_kept", tests, NULL, NULL);
}
