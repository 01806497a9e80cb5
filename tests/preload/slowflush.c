/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slowflush.so, for LD_PRELOAD: stands in for a slow disk. Each fdatasync takes as many milliseconds
 * more as the file $SLOWFLUSH says at that moment (none: no longer than ever), or only the next one
 * ("6000 once"), in a program as it is (a stock QEMU).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_MS 10000

static long more_ms(void)
{
	const char *path = getenv("SLOWFLUSH");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char text[16] = "";
	long ms;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	close(fd);
	ms = strtol(text, NULL, 10);
	if (strstr(text, "once"))
		unlink(path);
	return ms < 0 ? 0 : ms > LONGEST_MS ? LONGEST_MS : ms;
}

int fdatasync(int fd)
{
	long ms = more_ms();
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (ms && nanosleep(&t, &t))
		;
	return (int)syscall(SYS_fdatasync, fd);
}
