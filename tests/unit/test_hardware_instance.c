/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instance of the running kernel's tracing: made, not shared, removed, also when it was left. */
#include "hardware/instance.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <tracefs.h>
#include <unistd.h>

#include <cmocka.h>

#define PLACE "/sys/kernel/tracing"

/* In mounts of its own. False: this kernel has no tracefs, or its rights do not suffice. */
static bool mounted(void)
{
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("nodev", PLACE, "tracefs", 0, NULL) && !access(PLACE "/instances", W_OK);
}

static int without_tracefs(void)
{
	struct hw_instance x;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0; /* no rights to look */
	while (!umount2(PLACE, MNT_DETACH) || !umount2("/sys/kernel/debug", MNT_DETACH))
		;
	hw_instance_open(&x);
	for (int s = 0; s < RAS_SRC_COUNT; s++)
		if (x.source[s].there || !strstr(x.source[s].why, "not mounted"))
			return 1;
	if (x.instance || !x.reader)
		return 2;
	hw_instance_close(&x);
	hw_instance_remove(&x);
	return access(PLACE "/instances", F_OK) ? 0 : 3; /* nothing was mounted */
}

static int with_tracefs(void)
{
	struct hw_instance x, second;

	if (!mounted())
		return 77;
	if (!access(PLACE "/instances/" HW_INSTANCE, F_OK))
		return 77; /* a twinvmd of this host has it */
	hw_instance_open(&x);
	if (!x.instance || access(PLACE "/instances/" HW_INSTANCE, F_OK))
		return 1;
	if (!x.cpus || x.raw[0] < 0 || x.stats[0] < 0)
		return 2;
	for (int s = 0; s < RAS_SRC_COUNT; s++)
		if (x.source[s].there != !x.source[s].why[0] ||
		    x.source[s].there != ras_reader_knows(x.reader, (enum ras_source)s, NULL, 0))
			return 3;
	/* It is read: another one does not take it away. */
	hw_instance_open(&second);
	if (second.instance || !strstr(second.why, "another process"))
		return 4;
	hw_instance_close(&second);
	hw_instance_remove(&second);
	/* Left: its process is gone, and nobody has removed it. */
	hw_instance_close(&x);
	hw_instance_open(&second);
	if (!second.instance)
		return 5;
	hw_instance_close(&second);
	hw_instance_remove(&second);
	return access(PLACE "/instances/" HW_INSTANCE, F_OK) ? 0 : 6;
}

/* What it does to its mounts ends with it. */
static int run(int (*what)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(what());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void it_is_made_and_leaves_no_trace(void **state)
{
	int rc = run(with_tracefs);

	(void)state;
	if (rc == 77)
		skip(); /* no tracefs, no rights, or a twinvmd that runs */
	assert_int_equal(rc, 0);
}

static void without_tracefs_it_says_so(void **state)
{
	(void)state;
	if (geteuid())
		skip(); /* mounts */
	assert_int_equal(run(without_tracefs), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_made_and_leaves_no_trace),
		cmocka_unit_test(without_tracefs_it_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
