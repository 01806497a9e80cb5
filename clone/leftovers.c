/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a test leaves on this host: looked up where it would be, never concluded from a call that returned. */
#include "clone/clone_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void clone_names(const struct config *c, const char *vm_id, struct clone_names *out)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->name, sizeof(out->name), "test-%s", vm_id);
	snprintf(out->dir, sizeof(out->dir), "%s/%s", c->run_dir, out->name);
	snprintf(out->images, sizeof(out->images), "%s/clones", c->state_dir);
	snprintf(out->screen, sizeof(out->screen), "%s/clones/screen-%s", c->state_dir, vm_id);
}

static uint64_t inode_of(pid_t pid, const char *what)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, what);
	return stat(path, &st) ? 0 : (uint64_t)st.st_ino;
}

bool clone_has(const struct clone_world *w, pid_t pid)
{
	return w->net && w->pids && inode_of(pid, "net") == w->net &&
	       inode_of(pid, "pid") == w->pids;
}

static bool outer_lives(const struct clone_world *w)
{
	return w->pid > 0 && w->start_ticks && tv_pid_start_ticks(w->pid) == w->start_ticks;
}

/* A dead process that its parent has not looked at yet has no namespaces any more. */
static void find_processes(json_t *list, const struct clone_world *w)
{
	DIR *d = opendir("/proc");
	struct dirent *de;

	if (outer_lives(w))
		json_array_append_new(list, json_sprintf("process %d", (int)w->pid));
	while (d && (de = readdir(d))) {
		pid_t pid = (pid_t)atoi(de->d_name);

		if (pid > 0 && clone_has(w, pid))
			json_array_append_new(list, json_sprintf("process %d", (int)pid));
	}
	if (d)
		closedir(d);
}

static bool is_image_of(const char *file, const struct clone_names *n)
{
	size_t bytes = strlen(n->name);

	return !strncmp(file, n->name, bytes) && file[bytes] == '-';
}

static void each_image(const struct clone_names *n, void (*cb)(const char *path, json_t *list),
		       json_t *list)
{
	DIR *d = opendir(n->images);
	struct dirent *de;
	char path[600];

	while (d && (de = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", n->images, de->d_name);
		if (is_image_of(de->d_name, n))
			cb(path, list);
	}
	if (d)
		closedir(d);
}

static void add_file(const char *path, json_t *list)
{
	json_array_append_new(list, json_sprintf("file %s", path));
}

static void remove_file(const char *path, json_t *list)
{
	(void)list;
	(void)unlink(path);
}

json_t *clone_leftovers(const struct config *c, const char *vm_id, const struct clone_world *w)
{
	json_t *list = json_array();
	struct clone_names n;
	struct stat st;

	clone_names(c, vm_id, &n);
	find_processes(list, w);
	if (!lstat(n.dir, &st))
		add_file(n.dir, list);
	each_image(&n, add_file, list);
	if (hv_host_has_group(n.dir))
		json_array_append_new(list, json_sprintf("control group %s", n.name));
	return list;
}

void clone_remove(const struct config *c, const char *vm_id, const struct clone_world *w)
{
	TV_CLOSE int pidfd = w->pid > 0 ? (int)syscall(SYS_pidfd_open, w->pid, 0) : -1;
	struct clone_names n;

	clone_names(c, vm_id, &n);
	/* The pidfd first: what it means cannot change after the start time was read. */
	if (pidfd >= 0 && outer_lives(w))
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	each_image(&n, remove_file, NULL);
	hv_host_reap(0, 0, n.dir);
	(void)rmdir(n.dir);
}
