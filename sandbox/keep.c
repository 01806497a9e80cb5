/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that keeps some rights, and nothing else. What it may do is a list of what is allowed: it is small,
 * and runs no library's code that would use calls of its own choice.
 */
#include "sandbox/filter.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int allowed[] = {
	/* files and sockets that are open */
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(getdents64),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	/* memory, time, the end */
	SCMP_SYS(brk),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getppid),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sched_yield),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int filter(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = f ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed) && !rc; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	/* For reading only: what it may write to is open. */
	if (!rc)
		rc = seccomp_rule_add(
			f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	if (!rc) /* abort() */
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (!rc)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc;
}

/* Exactly these, in each of a process's sets that counts; none that a program it ran would inherit. */
static int set_capabilities(const int *keeps, size_t n)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct want[2] = {0}, now[2];

	for (size_t i = 0; i < n; i++) {
		want[keeps[i] / 32].effective |= 1u << keeps[i] % 32;
		want[keeps[i] / 32].permitted |= 1u << keeps[i] % 32;
	}
	if (syscall(SYS_capset, &head, want) || syscall(SYS_capget, &head, now))
		return -errno;
	return memcmp(now, want, sizeof(now)) ? -EPERM : 0;
}

int sandbox_keep(const int *keeps, size_t n)
{
	const struct rlimit none = {0, 0};
	int rc = setrlimit(RLIMIT_CORE, &none) ? -errno : 0;

	if (!rc)
		rc = sandbox_drop_bounds();
	if (!rc)
		rc = set_capabilities(keeps, n);
	if (!rc && (prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		rc = -errno;
	return rc ? rc : filter();
}

int sandbox_give_up(int cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	const uint32_t bit = 1u << cap % 32;

	if (prctl(PR_CAPBSET_READ, cap) == 1 && prctl(PR_CAPBSET_DROP, cap))
		return -errno;
	if (syscall(SYS_capget, &head, sets))
		return -errno;
	sets[cap / 32].effective &= ~bit;
	sets[cap / 32].permitted &= ~bit;
	sets[cap / 32].inheritable &= ~bit; /* and so no ambient one */
	return syscall(SYS_capset, &head, sets) ? -errno : 0;
}
