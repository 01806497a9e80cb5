/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hold_thread TID: stops that one thread of a process, whose others continue, until stdin ends or this
 * process does. Prints "held" once it stands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	pid_t tid = argc == 2 ? atoi(argv[1]) : 0;
	char c;
	int status;

	if (tid <= 0) {
		fprintf(stderr, "usage: hold_thread TID\n");
		return 2;
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
	    waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) {
		fprintf(stderr, "thread %d: %s\n", tid, strerror(errno));
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return ptrace(PTRACE_DETACH, tid, 0, 0) ? 1 : 0;
}
