/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process uses of the host's CPUs: of this one's children. */
#include "replicator/source/guest_cpu.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Its name has what the line's format uses, too. */
static pid_t child(bool works)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "a) R (b) S");
	while (works)
		;
	for (;;)
		pause();
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_process_that_works_is_seen(void **state)
{
	pid_t pid = child(true);
	int64_t ns;

	(void)state;
	while ((ns = guest_cpu_ns(pid)) < TV_NS_PER_MS)
		assert_true(ns >= 0);
	assert_true(guest_cpu_runs(pid));
	end(pid);
	assert_true(guest_cpu_ns(pid) < 0);
	assert_true(guest_cpu_runs(pid)); /* not known */
}

static void one_that_sleeps_is_seen(void **state)
{
	pid_t pid = child(false);
	int64_t ns;

	(void)state;
	while (guest_cpu_runs(pid))
		sched_yield();
	ns = guest_cpu_ns(pid);
	assert_true(ns >= 0);
	assert_int_equal(guest_cpu_ns(pid), ns);
	end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_that_works_is_seen),
		cmocka_unit_test(one_that_sleeps_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
