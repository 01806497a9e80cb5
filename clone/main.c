/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two processes of a clone. The outer one makes the namespaces, and waits; the inner one is process 1
 * in them, with a /proc that shows its own. It ends with the outer one (the signal of a parent's death, and a
 * pipe for the moment before that is set), so that whoever kills the outer one has killed all.
 */
#include "clone/clone_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (uint64_t)st.st_ino;
}

static int make_namespaces(struct tv_err *e)
{
	if (!unshare(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS))
		return 0;
	return tv_fail(e, -errno,
		       "a clone needs namespaces of its own, and twinvmd may not make them (%s): "
		       "in its unit CapabilityBoundingSet needs CAP_SYS_ADMIN, and "
		       "RestrictNamespaces 'net pid mnt'",
		       strerror(errno));
}

/* What made the namespaces is needed by nobody in them: neither by QEMU nor by a probe. */
static int give_up(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	const uint32_t bit = 1u << CAP_SYS_ADMIN;

	if (prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) || syscall(SYS_capget, &head, data))
		return -errno;
	data[0].effective &= ~bit;
	data[0].permitted &= ~bit;
	data[0].inheritable &= ~bit;
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

/* What follows is in the inner process. */
static int move_in(struct tv_err *e)
{
	int rc = 0;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		rc = -errno;
	rc = rc ? rc : give_up();
	return rc ? tv_fail(e, rc, "cannot make a world for the clone: %s", tv_strerror(rc)) : 0;
}

static void refuse(const struct tv_err *e)
{
	clone_say(json_pack("{ss sb ss}", "op", "report", "passed", 0, "reason", e->text));
}

/* Whoever looks for what is left needs to know where. */
static void tell_world(void)
{
	clone_say(json_pack("{ss sI sI}", "op", "world", "net",
			    (json_int_t)inode_of("/proc/self/ns/net"), "pids",
			    (json_int_t)inode_of("/proc/self/ns/pid")));
}

static int inner(const struct config *c, const struct clone_order *o, int fd, int outer_fd,
		 int still_fd)
{
	static struct clone_watch watch; /* outlives the thread */
	struct tv_err e = {0};
	int rc = move_in(&e);

	tell_world();
	watch.daemon_fd = fd;
	watch.outer_fd = outer_fd;
	watch.disk_bytes = o->disk_bytes;
	watch.until_ns = o->ordered_ns + o->for_s * TV_NS_PER_S;
	if (!rc && (rc = clone_watch_start(&watch)))
		tv_fail(&e, rc, "no thread to watch the clone: %s", tv_strerror(rc));
	if (!rc)
		return clone_run(c, o, &watch, still_fd);
	refuse(&e);
	return CLONE_FAILED;
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return CLONE_FAILED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : CLONE_FAILED;
}

static int take_order(int fd, struct config *c, struct clone_order *o, int *still_fd,
		      struct tv_err *e)
{
	json_t *j;
	int rc = clone_listen(fd, &j, still_fd, e);

	if (rc)
		return rc;
	rc = clone_order_read(j, o, e);
	json_decref(j);
	return rc ? rc : config_load(o->config, c, e);
}

int clone_outer(int fd)
{
	static struct clone_order order;
	static struct config conf;
	int ends[2] = {-1, -1}, still_fd = -1, rc, status = CLONE_FAILED;
	struct tv_err e = {0};
	char tag[80];
	pid_t pid = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	tv_set_title("twinvmd clone");
	rc = take_order(fd, &conf, &order, &still_fd, &e);
	clone_say(json_pack("{ss si}", "op", "outer", "pid", (int)getpid()));
	snprintf(tag, sizeof(tag), "%s clone", conf.host);
	tv_log_init(tag);
	if (!rc)
		rc = make_namespaces(&e);
	if (!rc && (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0))
		rc = tv_fail(&e, -errno, "no process for the clone: %s", strerror(errno));
	if (!pid) {
		close(ends[1]);
		_exit(inner(&conf, &order, fd, ends[0], still_fd));
	}
	tv_close_fd(&still_fd); /* the inner process alone holds it */
	tv_close_fd(&ends[0]);
	if (rc)
		refuse(&e);
	else
		status = give_up() ? CLONE_FAILED : wait_for(pid);
	clone_say(json_pack("{ss si}", "op", "exit", "status", status));
	return 0;
}
