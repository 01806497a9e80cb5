/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Standbys run as a system user of their own: who that is, and becoming it. */
#include "hv/host/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KVM "/dev/kvm"
#define LAST_CAPABILITY 63
#define NO_GROUP 65534

static const char *host_name(void)
{
	static __thread char name[65];

	if (gethostname(name, sizeof(name) - 1))
		strcpy(name, "this host");
	return name;
}

/* Root's group is left out: it opens what only root is to open. */
static void take_groups(struct hv_host_user *u)
{
	gid_t list[HV_HOST_GROUPS - 1];
	int n = HV_HOST_GROUPS - 1;

	if (getgrouplist(u->name, u->gid, list, &n) < 0)
		n = HV_HOST_GROUPS - 1;
	u->n_groups = 0;
	for (int i = 0; i < n; i++)
		if (list[i])
			u->groups[u->n_groups++] = list[i];
}

int hv_host_user_find(const char *name, struct hv_host_user *out, struct tv_err *e)
{
	char text[4096];
	struct passwd pw, *p = NULL;

	*out = (struct hv_host_user){0};
	if (!tv_copy(out->name, sizeof(out->name), name) || !*out->name)
		return tv_fail(e, -EINVAL, "'standby_user' of %s is no user's name", host_name());
	if (getpwnam_r(name, &pw, text, sizeof(text), &p) || !p)
		return tv_fail(e, -ENOENT,
			       "%s has no user %s to run standbys as ('standby_user' in its "
			       "configuration); make it there: useradd --system --user-group "
			       "--no-create-home --shell /usr/sbin/nologin %s",
			       host_name(), name, name);
	out->uid = p->pw_uid;
	out->gid = p->pw_gid;
	if (!out->uid || !out->gid)
		return tv_fail(e, TV_E_REFUSED,
			       "%s: 'standby_user = %s' has root's user or group number, and a "
			       "standby never runs as root; name another user",
			       host_name(), name);
	take_groups(out);
	return 0;
}

void hv_host_user_apart(struct hv_host_user *u)
{
	struct group *g = getgrnam("nogroup");

	g = g ? g : getgrnam("nobody");
	u->gid = g && g->gr_gid ? g->gr_gid : NO_GROUP;
	u->n_groups = 0;
}

int hv_host_user_kvm(struct hv_host_user *u, struct tv_err *e)
{
	struct stat st;
	int rc;

	if (stat(KVM, &st))
		return tv_fail(e, -ENOTSUP,
			       "the VM runs under KVM, and " KVM " on %s cannot be used: %s",
			       host_name(), strerror(errno));
	if (st.st_gid && (st.st_mode & 0060) == 0060)
		u->groups[u->n_groups++] = st.st_gid;
	rc = hv_host_user_try(u, KVM, O_RDWR);
	return rc ? tv_fail(e, -ENOTSUP,
			    "the VM runs under KVM, and the user %s on %s, who runs standbys, "
			    "cannot open " KVM " (owner %u:%u, mode %o): %s; there: chgrp kvm " KVM
			    " && chmod 660 " KVM,
			    u->name, host_name(), (unsigned)st.st_uid, (unsigned)st.st_gid,
			    (unsigned)st.st_mode & 07777, tv_strerror(rc))
		  : 0;
}

/* The calls themselves and not libc's, which would have other threads follow. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* there may be none */
	return syscall(SYS_capset, &head, none) ? -errno : 0;
}

static int empty_bounding_set(void)
{
	for (int cap = 0; cap <= LAST_CAPABILITY; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			return -errno;
	return 0;
}

int hv_host_user_become(const struct hv_host_user *u)
{
	int rc = empty_bounding_set();

	if (rc)
		return rc;
	umask(077);
	if (syscall(SYS_setgroups, u->n_groups, u->groups) ||
	    syscall(SYS_setresgid, u->gid, u->gid, u->gid) ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid))
		return -errno;
	rc = drop_capabilities();
	if (!rc && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		rc = -errno;
	return rc;
}

int hv_host_user_try(const struct hv_host_user *u, const char *path, int flags)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		int rc = hv_host_user_become(u);

		if (!rc && open(path, flags | O_CLOEXEC | O_NONBLOCK) < 0)
			rc = -errno;
		_exit(-rc);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}
