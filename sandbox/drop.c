/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process gives up its rights. What is left is what any process of that user has: memory, the
 * descriptors that it holds, the user's files, and calls that filter.c lets pass. With
 * SANDBOX_PRIORITY it may raise the priority of its threads, for heartbeats that do not wait for
 * guests; a thread that uses the highest one without a pause ends the process.
 */
#include "sandbox/sandbox.h"
#include "sandbox/filter.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE_LIMIT 40	   /* 20 - (-20): job_raise_priority, link/beat.c */
#define REALTIME_LIMIT 1   /* link/beat.c */
#define REALTIME_US 500000 /* without a pause: that is no heartbeat */

static bool is_none(const struct __user_cap_data_struct cap[2])
{
	return !(cap[0].effective | cap[0].permitted | cap[0].inheritable | cap[1].effective |
		 cap[1].permitted | cap[1].inheritable);
}

int sandbox_drop_bounds(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap))
			return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) ||
	    prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
					     SECBIT_NO_SETUID_FIXUP_LOCKED |
					     SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
					     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED))
		return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0}, now[2];

	if (syscall(SYS_capset, &head, none) || syscall(SYS_capget, &head, now))
		return -errno;
	return is_none(now) ? 0 : -EPERM;
}

static int become(uid_t uid, gid_t gid)
{
	uid_t r, e, s;

	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	if (getresuid(&r, &e, &s) || r != uid || e != uid || s != uid || !setuid(0))
		return -EPERM;
	return 0;
}

static int limit(unsigned keeps)
{
	const struct rlimit nice = {NICE_LIMIT, NICE_LIMIT}, none = {0, 0};
	const struct rlimit realtime = {REALTIME_LIMIT, REALTIME_LIMIT};
	const struct rlimit spin = {REALTIME_US, REALTIME_US};

	/* As job_raise_priority: without it heartbeats are only less punctual under load. */
	if ((keeps & SANDBOX_PRIORITY) &&
	    (setrlimit(RLIMIT_NICE, &nice) || setrlimit(RLIMIT_RTPRIO, &realtime)))
		tv_log(TV_DEBUG, "no limit for priorities: %s", strerror(errno));
	if (setrlimit(RLIMIT_RTTIME, &spin))
		return -errno;
	return setrlimit(RLIMIT_CORE, &none) ? -errno : 0;
}

int sandbox_drop(uid_t uid, gid_t gid, unsigned keeps)
{
	int rc = limit(keeps);

	if (!rc)
		rc = sandbox_drop_bounds();
	if (!rc)
		rc = become(uid, gid);
	if (!rc)
		rc = drop_capabilities();
	/* After the user changed, which would set it again. */
	if (!rc && (prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		rc = -errno;
	return rc ? rc : sandbox_filter(keeps);
}
