/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See guest_cpu.h. */
#include "replicator/source/guest_cpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t guest_cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;
	int rc = clock_getcpuclockid(pid, &clock);

	if (rc)
		return -rc;
	if (clock_gettime(clock, &t))
		return -errno;
	return t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

/* The state is the word after the name, which may hold anything, parentheses too. */
static bool thread_runs(int dir, const char *tid)
{
	char path[32], text[256];
	const char *end;
	ssize_t n;
	int fd;

	if (snprintf(path, sizeof(path), "%.16s/stat", tid) >= (int)sizeof(path))
		return true;
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false; /* it has just ended */
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	end = strrchr(text, ')');
	return !end || end[1] != ' ' || end[2] == 'R';
}

bool guest_cpu_runs(pid_t pid)
{
	const struct dirent *d;
	bool runs = false;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return true;
	while (!runs && (d = readdir(dir)))
		runs = d->d_name[0] != '.' && thread_runs(dirfd(dir), d->d_name);
	closedir(dir);
	return runs;
}
