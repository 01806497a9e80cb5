/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A list of what is denied (EPERM), not of what is allowed: openssl, libevent, glibc and the
 * sanitizers use system calls of their own choice, and a newer one must not end the only copy of a
 * VM. Denied is what such a process never does and an attacker would: to run programs, to look into or act
 * on other processes (those of other sinks have the same user), namespaces and mounts, the kernel's
 * large interfaces, other users, sockets that are not of this host or the Internet, and to wait for
 * connections.
 */
#include "sandbox/filter.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES                                                                     \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	 CLONE_NEWPID | CLONE_NEWNET)

static const int denied[] = {
	/* programs */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(uselib),
	/* other processes */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(kcmp),
	SCMP_SYS(migrate_pages),
	SCMP_SYS(move_pages),
	SCMP_SYS(sched_setattr),
	SCMP_SYS(sched_setparam),
	SCMP_SYS(ioprio_set),
	/* mounts and namespaces */
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(open_tree),
	SCMP_SYS(move_mount),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(quotactl),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(fanotify_init),
	/* the kernel's large interfaces */
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(io_setup),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(memfd_secret),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(personality),
	SCMP_SYS(vmsplice),
	SCMP_SYS(syslog),
	SCMP_SYS(acct),
	SCMP_SYS(reboot),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	/* users and files' rights */
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setregid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setfsuid),
	SCMP_SYS(setfsgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(capset),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
};

/* To wait for connections. */
static const int denied_servers[] = {SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4)};

/* Only these: messages of this host's processes, the other host, and names of interfaces. */
static int deny_sockets(scmp_filter_ctx f)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	int rc = 0, last = -1;

	/* One range between each two of them. */
	for (unsigned i = 0; i < sizeof(families) / sizeof(*families) && !rc; i++) {
		for (int family = last + 1; family < families[i] && !rc; family++)
			rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
					      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
		last = families[i];
	}
	if (!rc)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
				      SCMP_A0(SCMP_CMP_GT, AF_INET6));
	return rc;
}

/* Calls that are allowed with some arguments: threads, this process's own priority and signals. */
static int deny_arguments(scmp_filter_ctx f)
{
	const uint32_t no = SCMP_ACT_ERRNO(EPERM);
	/* glibc makes threads with clone3, whose flags no filter can read, and without it with
	 * clone. */
	int rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	for (uint64_t bit = 1; bit <= NAMESPACES && !rc; bit <<= 1)
		if (NAMESPACES & bit)
			rc = seccomp_rule_add(f, no, SCMP_SYS(clone), 1,
					      SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
	if (!rc) /* no process of its own */
		rc = seccomp_rule_add(f, no, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	if (!rc)
		rc = seccomp_rule_add(f, no, SCMP_SYS(setpriority), 1,
				      SCMP_A0(SCMP_CMP_NE, PRIO_PROCESS));
	if (!rc)
		rc = seccomp_rule_add(f, no, SCMP_SYS(setpriority), 1, SCMP_A1(SCMP_CMP_NE, 0));
	if (!rc)
		rc = seccomp_rule_add(f, no, SCMP_SYS(sched_setscheduler), 1,
				      SCMP_A0(SCMP_CMP_NE, 0));
	if (!rc)
		rc = seccomp_rule_add(f, no, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0));
	if (!rc) /* abort() is allowed */
		rc = seccomp_rule_add(f, no, SCMP_SYS(tgkill), 1,
				      SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
	return rc;
}

static int deny(scmp_filter_ctx f, const int *calls, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
	return rc;
}

int sandbox_filter(unsigned keeps)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int rc = f ? deny_sockets(f) : -ENOMEM;

	if (!rc)
		rc = deny(f, denied, sizeof(denied) / sizeof(*denied));
	if (!rc && !(keeps & SANDBOX_SERVES))
		rc = deny(f, denied_servers, sizeof(denied_servers) / sizeof(*denied_servers));
	if (!rc)
		rc = deny_arguments(f);
	if (!rc)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc;
}
