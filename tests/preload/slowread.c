/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slowread.so, for LD_PRELOAD: stands in for slow storage. Each large pread of the file $SLOWREAD takes
 * half a second more, and adds a byte to the file $SLOWREAD.count, in a program as it is (twinvmd).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LARGE_BYTES (1u << 20)

static bool is_slow(int fd)
{
	const char *path = getenv("SLOWREAD");
	struct stat slow, this;

	return path && !stat(path, &slow) && !fstat(fd, &this) && slow.st_ino == this.st_ino &&
	       slow.st_dev == this.st_dev;
}

static void count(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s.count", getenv("SLOWREAD"));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, ".", 1) != 1)
		abort();
	close(fd);
}

ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
	struct timespec t = {0, 500000000};

	if (n >= LARGE_BYTES && is_slow(fd)) {
		count();
		while (nanosleep(&t, &t))
			;
	}
	return syscall(SYS_pread64, fd, buf, n, offset);
}
