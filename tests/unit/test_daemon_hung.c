/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A replicator that hangs in a pause is ended; one that reports, or whose pauses change, is not. */
#include "tests/unit/daemon_kit.h"

#include <signal.h>
#include <unistd.h>

static struct vm *vm;
static struct cap_page *page;
static pid_t child;
static unsigned ticks;
static bool reports, moves;
static struct event *tick;

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	ticks++;
	vm->now.stats_ns += reports;
	page->pauses += moves ? 2 : 0;
}

static int set_up(void **state)
{
	struct timeval tv = {0, 50000};
	char path[CAP_PAGE_PATH];

	if (kit_set_up(state))
		return -1;
	vm = kit_vm(SESSION_PRIMARY);
	child = fork();
	if (!child)
		for (;;)
			pause();
	vm->phase = VM_RUNNING;
	vm->now.replicator = child;
	vm->now.rep = (struct ctl *)vm; /* there is one */
	cap_page_path(d.conf.run_dir, vm->id, path);
	assert_int_equal(cap_page_map(path, true, &page), 0);
	page->pauses = 7;
	ticks = 0;
	reports = moves = false;
	tick = event_new(d.base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &tv);
	hung_start(&d);
	return 0;
}

static int tear_down(void **state)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	vm->now.rep = NULL;
	vm->now.replicator = 0;
	event_free(tick);
	event_free(d.hung);
	cap_page_unmap(page);
	return kit_tear_down(state);
}

/* Is it dead after that many of our ticks, two for each look? */
static bool is_ended(unsigned most)
{
	siginfo_t info = {0};

	while (ticks < most && !info.si_pid) {
		event_base_loop(d.base, EVLOOP_ONCE);
		waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
	}
	return info.si_pid == child && info.si_status == SIGKILL;
}

static void test_hangs_in_a_pause(void **state)
{
	(void)state;
	assert_true(is_ended(2000));
	assert_true(ticks >= 7); /* not at the first look */
}

static void test_lives(void **state)
{
	(void)state;
	reports = true;
	assert_false(is_ended(40));
}

static void test_pauses_change(void **state)
{
	(void)state;
	moves = true;
	assert_false(is_ended(40));
}

static void test_hangs_while_the_vm_runs(void **state)
{
	(void)state;
	page->pauses = 8;
	assert_false(is_ended(40));
}

static void test_backup(void **state)
{
	(void)state;
	vm->role = SESSION_BACKUP;
	assert_false(is_ended(40));
}

/* The next daemon knows it by its page only. */
static void test_never_registers(void **state)
{
	uint64_t own;

	(void)state;
	vm->now.rep = NULL;
	vm->now.replicator = 0;
	vm->phase = VM_IDLE;
	supervise_loaded(&d);
	own = page->start_ticks;
	assert_int_equal(page->pid, getpid()); /* who made it; not ended by itself */
	page->pid = child;
	page->start_ticks = own + 1000000; /* another process has that pid by now */
	d.due(vm);
	assert_false(is_ended(4));
	page->start_ticks = tv_pid_start_ticks(child);
	assert_int_equal(kill(child, SIGSTOP), 0);
	vm->now.awaited = true;
	d.due(vm);
	assert_true(is_ended(200));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hangs_in_a_pause),	 T(test_lives),	 T(test_pauses_change),
		T(test_hangs_while_the_vm_runs), T(test_backup), T(test_never_registers)};

	return cmocka_run_group_tests_name("daemon_hung", tests, NULL, NULL);
}
