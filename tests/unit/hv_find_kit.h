/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A made-up /proc: a folder with some processes in it. */
#ifndef HV_FIND_KIT_H
#define HV_FIND_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANOTHER 65534u /* nobody, on every Linux */

static char root[64];

/* args: one string, arguments end with '|'. */
static void make_process_of(unsigned uid, int pid, const char *exe, const char *cwd,
			    const char *args)
{
	char path[256], text[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d", root, pid);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/%d/cmdline", root, pid);
	snprintf(text, sizeof(text), "%s", args);
	for (char *p = text; *p; p++)
		*p = *p == '|' ? '\0' : *p;
	f = fopen(path, "w");
	assert_int_equal(fwrite(text, strlen(args), 1, f), 1);
	fclose(f);
	snprintf(path, sizeof(path), "%s/%d/stat", root, pid);
	f = fopen(path, "w");
	fprintf(f, "%d (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d 20 21\n", pid,
		1000 + pid);
	fclose(f);
	snprintf(path, sizeof(path), "%s/%d/status", root, pid);
	f = fopen(path, "w");
	fprintf(f, "Name:\tqemu\nUid:\t%u\t0\t0\t0\nGid:\t0\t0\t0\t0\n", uid);
	fclose(f);
	snprintf(path, sizeof(path), "%s/%d/exe", root, pid);
	assert_int_equal(symlink(exe, path), 0);
	snprintf(path, sizeof(path), "%s/%d/cwd", root, pid);
	assert_int_equal(symlink(cwd, path), 0);
}

static void make_process(int pid, const char *exe, const char *cwd, const char *args)
{
	make_process_of(0, pid, exe, cwd, args);
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", root);
	return system(cmd);
}

#endif
