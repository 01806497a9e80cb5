/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a weak page was when it was looked for, and who is bound to a core. The oldest note gives its place:
 * a VM that is not noted stays where it is until its host is red.
 */
#include "daemon/moves.h"
#include "daemon/vm.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGES 64
#define MOST_CPUS 8192

static struct {
	char vm_id[33], page[RAS_TEXT_ROOM];
} pages[PAGES];
static unsigned next;

static bool is_id(const char *t)
{
	return strlen(t) == 32 && strspn(t, "0123456789abcdef") == 32;
}

void weak_page_note(const char *vm_id, const char *page)
{
	if (!is_id(vm_id) || weak_page_is(vm_id, page))
		return;
	tv_copy(pages[next].vm_id, sizeof(pages->vm_id), vm_id);
	tv_copy(pages[next].page, sizeof(pages->page), page);
	next = (next + 1) % PAGES;
}

bool weak_page_is(const char *vm_id, const char *page)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (!strcmp(pages[i].vm_id, vm_id) && !strcmp(pages[i].page, page))
			return true;
	return false;
}

json_t *weak_keep(void)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < PAGES; i++) {
		unsigned at = (next + i) % PAGES; /* the oldest first */

		if (pages[at].vm_id[0])
			json_array_append_new(list, json_pack("{ss ss}", "id", pages[at].vm_id,
							      "page", pages[at].page));
	}
	return list;
}

void weak_restore(const json_t *kept)
{
	json_t *o;
	size_t i;

	json_array_foreach((json_t *)kept, i, o) {
		const char *id = json_string_value(json_object_get(o, "id"));
		const char *page = json_string_value(json_object_get(o, "page"));

		if (i < PAGES && id && page && strlen(page) < RAS_TEXT_ROOM)
			weak_page_note(id, page);
	}
}

/* ---- cores ---- */
/* "0,4" or "0-1": the CPUs of cpu's core. */
static void siblings(unsigned cpu, cpu_set_t *set, size_t bytes)
{
	TV_FREE char *text = NULL;
	char path[96], *p;

	CPU_ZERO_S(bytes, set);
	CPU_SET_S(cpu, bytes, set);
	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list",
		 cpu);
	if (tv_read_file(path, 4096, &text, NULL))
		return;
	for (p = text; *p >= '0' && *p <= '9'; p += *p == ',') {
		unsigned long from = strtoul(p, &p, 10),
			      to = *p == '-' ? strtoul(p + 1, &p, 10) : from;

		for (; from <= to && to < MOST_CPUS; from++)
			CPU_SET_S(from, bytes, set);
	}
}

static bool binds(pid_t tid, const cpu_set_t *core, unsigned online, size_t bytes)
{
	cpu_set_t *may = CPU_ALLOC(MOST_CPUS), *both = CPU_ALLOC(MOST_CPUS);
	bool bound = false;

	if (may && both && !sched_getaffinity(tid, bytes, may)) {
		CPU_AND_S(bytes, both, may, core);
		bound = CPU_COUNT_S(bytes, may) < (int)online && CPU_COUNT_S(bytes, both);
	}
	CPU_FREE(may);
	CPU_FREE(both);
	return bound;
}

bool weak_core_binds(pid_t pid, unsigned cpu)
{
	size_t bytes = CPU_ALLOC_SIZE(MOST_CPUS);
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t *core = cpu < MOST_CPUS ? CPU_ALLOC(MOST_CPUS) : NULL;
	bool bound = false;
	struct dirent *e;
	char path[64];
	DIR *dir;

	if (!core)
		return false;
	siblings(cpu, core, bytes);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir && !bound && (e = readdir(dir)))
		if (atoi(e->d_name) > 0)
			bound = binds((pid_t)atoi(e->d_name), core,
				      online > 0 ? (unsigned)online : 1, bytes);
	if (dir)
		closedir(dir);
	CPU_FREE(core);
	return bound;
}
