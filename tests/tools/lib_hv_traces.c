/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What attaching may leave in a QEMU: objects, descriptors, threads, watched mappings. */
#include "tests/tools/lib_hv_bed.h"
#include "hv/qemu/qemu.h"

#include <dirent.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static void print_answers(FILE *f, struct hv_qmp *q)
{
	static const char *const queries[] = {"query-chardev", "query-fdsets", "query-status"};
	struct tv_err e = {0};
	json_t *ret;

	for (int i = 0; i < 4; i++) {
		char *text;

		MUST(!hv_qmp_cmd(q, i == 3 ? "qom-list" : queries[i],
				 i == 3 ? json_pack("{s:s}", "path", "/objects") : NULL, &ret,
				 BED_MS, &e),
		     "%s", e.text);
		text = json_dumps(ret, JSON_SORT_KEYS);
		fprintf(f, "%s\n", text);
		free(text);
		json_decref(ret);
	}
}

/* The guest's own drivers make QEMU open eventfds: those do not count. */
static unsigned count_descriptors(void)
{
	char path[320], link[256];
	struct dirent *de;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", bed.pid);
	d = opendir(path);
	MUST(d, "%s", path);
	while ((de = readdir(d))) {
		ssize_t r;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", bed.pid, de->d_name);
		r = readlink(path, link, sizeof(link) - 1);
		link[r > 0 ? r : 0] = '\0';
		n += r > 0 && !strstr(link, "[eventfd]") &&
		     !(bed.deaths && !strncmp(link, "pipe:", strlen("pipe:")));
		MUST(!strstr(link, "userfaultfd") && !strstr(link, "twinvm"), "%s", link);
	}
	closedir(d);
	return n;
}

/* QEMU closes some a moment after it has answered. */
static unsigned settled_descriptors(void)
{
	unsigned n = count_descriptors(), before = n + 1;

	for (int tries = 0; tries < 500 && n != before; tries++) {
		poll(NULL, 0, 5);
		before = n;
		n = count_descriptors();
	}
	return n;
}

static void must_run_freely(void)
{
	struct dirent *de;
	char path[320];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", bed.pid);
	d = opendir(path);
	MUST(d, "%s", path);
	while ((de = readdir(d))) {
		TV_FREE char *stat = NULL;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", bed.pid, de->d_name);
		if (de->d_name[0] == '.' || tv_read_file(path, 1 << 16, &stat, NULL))
			continue;
		MUST(strstr(stat, "TracerPid:\t0\n"), "thread %s is traced", de->d_name);
		MUST(!strstr(stat, "State:\tT") && !strstr(stat, "State:\tt"), "%s is stopped",
		     de->d_name);
	}
	closedir(d);
}

char *bed_traces(void)
{
	struct tv_err e = {0};
	struct hv_qmp *q;
	char *text;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	MUST(f, "no memory");
	/* Counted while connected: QEMU greets one connection when it has closed the one before, and a
	 * busy machine makes the moment until then a long one. */
	MUST(!hv_qmp_open(bed.qmp_path, 0, BED_MS, &q, &e), "%s", e.text);
	print_answers(f, q);
	fprintf(f, "descriptors %u\n", settled_descriptors());
	hv_qmp_close(q);
	must_run_freely();
	fclose(f);
	return text;
}

static void must_not_be_watched(void)
{
	TV_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps", bed.pid);
	MUST(!tv_read_file(path, 64 << 20, &text, NULL), "%s", path);
	for (char *p = text; (p = strstr(p, "VmFlags:")); p += 8)
		MUST(!memmem(p, strcspn(p, "\n"), " uw", 3), "a mapping is still watched");
}

/* QEMU closes descriptors a moment after it has answered, a busy machine makes that a long one. */
void bed_must_be_same(const char *before, const char *what)
{
	char *after = bed_traces();

	for (int tries = 0; tries < 100 && strcmp(before, after); tries++) {
		free(after);
		poll(NULL, 0, 50);
		after = bed_traces();
	}
	MUST(!strcmp(before, after), "after %s:\n%s\nbefore:\n%s", what, after, before);
	free(after);
	must_not_be_watched();
}
