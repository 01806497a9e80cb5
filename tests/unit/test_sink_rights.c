/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rights of a sink, given up for real. */
#include "monitor_kit.h"

#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

/* ---- rights ---- */

#define CHECK(x)                                             \
	do {                                                 \
		if (!(x)) {                                  \
			fprintf(stderr, "not so: %s\n", #x); \
			_exit(1);                            \
		}                                            \
	} while (0)
#define DENIED(x) CHECK((x) == -1 && errno == EPERM)

static uint64_t status_number(const char *text, const char *key, int base)
{
	const char *p = strstr(text, key);

	CHECK(p);
	return strtoull(p + strlen(key), NULL, base);
}

static void check_status(uid_t uid)
{
	static const char *const caps[] = {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
	char *text;
	char want[64];

	CHECK(!tv_read_file("/proc/self/status", 1 << 16, &text, NULL));
	for (size_t i = 0; i < sizeof(caps) / sizeof(*caps); i++)
		CHECK(status_number(text, caps[i], 16) == 0);
	CHECK(status_number(text, "NoNewPrivs:", 10) == 1);
	CHECK(status_number(text, "Seccomp:", 10) == 2);
	snprintf(want, sizeof(want), "Uid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
	CHECK(strstr(text, want));
	CHECK(strstr(text, "\nGroups:\t \n"));
}

static void *nothing(void *arg)
{
	return arg;
}

static void check_calls(void)
{
	static char *const argv[] = {NULL};
	struct rlimit l;
	pthread_t t;
	int fd;

	DENIED(execve("/bin/true", argv, argv));
	DENIED(fork());
	DENIED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	DENIED(kill(getppid(), 0));
	DENIED(unshare(CLONE_NEWUSER));
	DENIED(socket(AF_PACKET, SOCK_RAW, 0));
	DENIED(socket(AF_NETLINK, SOCK_RAW, 0));
	DENIED(socket(AF_VSOCK, SOCK_STREAM, 0));
	DENIED(socket(AF_ALG, SOCK_SEQPACKET, 0));
	DENIED((int)syscall(SYS_bpf, 0, NULL, 0));
	DENIED((int)syscall(SYS_io_uring_setup, 1, NULL));
	DENIED((int)syscall(SYS_pidfd_send_signal, -1, 0, NULL, 0));
	DENIED((int)syscall(SYS_tgkill, getppid(), getppid(), 0));
	DENIED(setuid(0));
	DENIED(setpriority(PRIO_USER, 0, 0));
	DENIED(prlimit(getppid(), RLIMIT_CORE, NULL, &l));
	CHECK(open("/etc/shadow", O_RDONLY) < 0 && errno == EACCES);
	/* And what it needs. */
	CHECK(!pthread_create(&t, NULL, nothing, NULL) && !pthread_join(t, NULL));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(fd >= 0 && !close(fd));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(fd >= 0 && !close(fd));
	CHECK(!setpriority(PRIO_PROCESS, 0, 19));
	CHECK(!getrlimit(RLIMIT_CORE, &l) && !l.rlim_max);
}

/* In a child: rights cannot be had back. Returns what ended it. */
static int in_child(const char *user, int want)
{
	struct tv_err e = {0};
	int status;
	pid_t pid = fork();

	if (!pid) {
		strcpy(conf.sink_user, user);
		CHECK(monitor_drop(&conf, &e) == want);
		CHECK(!want || (strstr(e.text, "hostB has no user 'no-such-user'") &&
				strstr(e.text, "sink_user in /nowhere/twinvmd.conf")));
		check_status(65534);
		check_calls();
		abort(); /* works as well */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void all_rights_are_given_up(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(in_child("nobody", 0), SIGABRT);
	assert_int_equal(in_child("no-such-user", -ENOENT), SIGABRT);
}

static void root_is_no_user_for_it(void **state)
{
	struct tv_err e = {0};

	(void)state;
	strcpy(conf.sink_user, "root");
	assert_int_equal(monitor_drop(&conf, &e), -EPERM);
	assert_non_null(strstr(e.text, "name a user without rights"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_rights_are_given_up),
		T(root_is_no_user_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
