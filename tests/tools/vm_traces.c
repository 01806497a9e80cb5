/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm_traces QMP [STATE]: looks for anything twinvm left in a VM: objects, character devices, block
 * jobs, fd sets, a userfaultfd, a tracer, a stopped thread; and whether it runs (or is in STATE, as
 * QEMU calls it). Exit status 0: clean and running; 1: something is there, one line each on stdout.
 * Also prints the number of open fds (for leaks).
 */
#include "hv/hv.h"
#include "hv/qemu/qmp.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int found;

static void say(const char *what, const char *which)
{
	printf("left: %s %s\n", what, which);
	found = 1;
}

static void look(struct hv_qmp *q, const char *command, json_t *args, const char *key,
		 const char *what, bool any)
{
	struct tv_err e = {0};
	json_t *ret = NULL, *o;
	size_t i;

	if (hv_qmp_cmd(q, command, args, &ret, 5000, &e)) {
		say(command, e.text);
		return;
	}
	json_array_foreach(ret, i, o) {
		const char *s = json_string_value(json_object_get(o, key));

		if (any || (s && strstr(s, "twinvm")))
			say(what, s ? s : "?");
	}
	json_decref(ret);
}

static void look_at_threads(pid_t pid)
{
	char path[300], line[256];
	struct dirent *ent;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (ent = readdir(d))) {
		FILE *f;

		if (ent->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, ent->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			if (!strncmp(line, "State:", 6) &&
			    (strchr(line, 't') == line + 7 || line[7] == 'T'))
				say("stopped thread", ent->d_name);
			if (!strncmp(line, "TracerPid:", 10) && atoi(line + 10))
				say("traced thread", ent->d_name);
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
}

static unsigned look_at_fds(pid_t pid)
{
	char path[300], link[256];
	struct dirent *ent;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && (ent = readdir(d))) {
		ssize_t r;

		if (ent->d_name[0] == '.')
			continue;
		n++;
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, ent->d_name);
		r = readlink(path, link, sizeof(link) - 1);
		if (r < 0)
			continue;
		link[r] = 0;
		if (strstr(link, "userfaultfd") || strstr(link, "memfd:twinvm"))
			say("file descriptor", link);
	}
	if (d)
		closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	struct hv_vm_id id;
	struct hv_qmp *q = NULL;
	struct tv_err e = {0};
	json_t *ret = NULL;
	const char *s, *wanted = argc == 3 ? argv[2] : "running";

	if (argc < 2 || argc > 3 || hv_find(argv[1], "twinvm-vm", NULL, NULL, &id, &e) ||
	    hv_qmp_open(argv[1], 0, 5000, &q, &e)) {
		printf("vm_traces: %s\n", argc >= 2 ? e.text : "usage: vm_traces QMP [STATE]");
		return 2;
	}
	look(q, "qom-list", json_pack("{ss}", "path", "/objects"), "name", "object", false);
	look(q, "query-chardev", NULL, "label", "character device", false);
	look(q, "query-block-jobs", NULL, "device", "block job", true);
	look(q, "query-named-block-nodes", json_pack("{sb}", "flat", 1), "node-name", "block node",
	     false);
	look(q, "query-fdsets", NULL, "fdset-id", "fd set", true);
	if (hv_qmp_cmd(q, "query-status", NULL, &ret, 5000, &e))
		say("query-status", e.text);
	s = json_string_value(json_object_get(ret, "status"));
	if (s && strcmp(s, wanted) != 0)
		say("run state", s);
	json_decref(ret);
	look_at_threads(id.pid);
	printf("fds %u\n", look_at_fds(id.pid));
	hv_qmp_close(q);
	return found;
}
