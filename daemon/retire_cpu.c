/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUs as the kernel shows them, and who is bound to which. A CPU that goes out of service breaks the bonds of
 * threads that have no other one, and they are not mended when it comes back: what they were is noted before.
 */
#include "daemon/retire.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST_BYTES 65536
#define LINE_BYTES (256 << 10) /* of a QEMU */
#define MAX_VCPUS 4096

bool retire_has(const struct retire_cpus *s, unsigned cpu)
{
	return cpu < RETIRE_MAX_CPUS && (s->bits[cpu / 64] >> cpu % 64 & 1);
}

static void add(struct retire_cpus *s, unsigned cpu)
{
	s->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

unsigned retire_count(const struct retire_cpus *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < RETIRE_MAX_CPUS / 64; i++)
		n += (unsigned)__builtin_popcountll(s->bits[i]);
	return n;
}

bool retire_cpus_of(const char *list, struct retire_cpus *out)
{
	const char *p = list;
	char *end;

	*out = (struct retire_cpus){0};
	while (isdigit((unsigned char)*p)) {
		unsigned long from = strtoul(p, &end, 10), to = from;

		if (*end == '-' && isdigit((unsigned char)end[1]))
			to = strtoul(end + 1, &end, 10);
		if (to < from || to >= RETIRE_MAX_CPUS)
			return false;
		for (unsigned long cpu = from; cpu <= to; cpu++)
			add(out, (unsigned)cpu);
		if (*end != ',')
			return !*end || *end == '\n';
		p = end + 1;
	}
	return false;
}

void retire_cpus_text(const struct retire_cpus *s, char *out, size_t room)
{
	size_t used = 0;

	out[0] = '\0';
	for (unsigned cpu = 0; cpu < RETIRE_MAX_CPUS && used < room; cpu++) {
		unsigned to = cpu;

		if (!retire_has(s, cpu))
			continue;
		while (retire_has(s, to + 1))
			to++;
		used += (size_t)snprintf(out + used, room - used, to > cpu ? "%s%u-%u" : "%s%u",
					 used ? "," : "", cpu, to);
		cpu = to;
	}
}

static bool list_in(const char *path, struct retire_cpus *out)
{
	TV_FREE char *text = NULL;

	if (tv_read_file(path, LIST_BYTES, &text, NULL))
		text = NULL;
	return text && retire_cpus_of(text, out);
}

bool retire_siblings(const char *sys, unsigned cpu, struct retire_cpus *out)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%u/topology/thread_siblings_list",
		 sys, cpu);
	return list_in(path, out) && retire_has(out, cpu);
}

uint32_t retire_first_sibling(const char *sys, uint32_t cpu)
{
	struct retire_cpus siblings;
	uint32_t first = 0;

	if (!retire_siblings(sys, cpu, &siblings))
		return cpu;
	while (!retire_has(&siblings, first))
		first++;
	return first;
}

bool retire_online(const char *sys, struct retire_cpus *out)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/devices/system/cpu/online", sys);
	return list_in(path, out);
}

/* ---- vCPUs ---- */
/* Under KVM: each is a descriptor. */
static unsigned kvm_vcpus(const char *proc, pid_t pid)
{
	char folder[300], path[600], to[64];
	unsigned n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(folder, sizeof(folder), "%s/%d/fd", proc, (int)pid);
	d = opendir(folder);
	while (d && (e = readdir(d))) {
		ssize_t r;

		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		r = readlink(path, to, sizeof(to) - 1);
		if (r <= 0)
			continue;
		to[r] = '\0';
		n += !strncmp(to, "anon_inode:kvm-vcpu", 19);
	}
	if (d)
		closedir(d);
	return n;
}

/* The value of -smp: "4", "cpus=4,...", "sockets=2,cores=2". */
static unsigned smp_of(const char *value)
{
	static const char *const factors[] = {"sockets=", "dies=", "cores=", "threads="};
	const char *p = strstr(value, "cpus=");
	unsigned long n = 1;

	while (p && p > value && p[-1] != ',') /* maxcpus= */
		p = strstr(p + 1, "cpus=");
	if (isdigit((unsigned char)*value) || p)
		return (unsigned)strtoul(p ? p + 5 : value, NULL, 10);
	for (size_t i = 0; i < sizeof(factors) / sizeof(*factors); i++) {
		p = strstr(value, factors[i]);
		if (p && (p == value || p[-1] == ','))
			n *= strtoul(p + strlen(factors[i]), NULL, 10);
	}
	return n < MAX_VCPUS ? (unsigned)n : MAX_VCPUS;
}

static unsigned smp_vcpus(const char *proc, pid_t pid)
{
	TV_FREE char *line = NULL;
	char path[300];
	size_t bytes, at;

	snprintf(path, sizeof(path), "%s/%d/cmdline", proc, (int)pid);
	if (tv_read_file(path, LINE_BYTES, &line, &bytes)) {
		line = NULL;
		return 1;
	}
	for (at = 0; at < bytes; at += strlen(line + at) + 1) {
		size_t next = at + strlen(line + at) + 1;

		if (!strcmp(line + at, "-smp") && next < bytes)
			return smp_of(line + next);
	}
	return 1;
}

unsigned retire_vcpus(const char *proc, pid_t pid)
{
	unsigned kvm = pid > 0 ? kvm_vcpus(proc, pid) : 0;

	if (pid <= 0)
		return 0;
	return kvm ? kvm : smp_vcpus(proc, pid);
}

/* ---- threads ---- */
typedef void each_thread(pid_t tid, const struct retire_cpus *bound, void *arg);

static bool bound_to(pid_t tid, struct retire_cpus *out)
{
	*out = (struct retire_cpus){0};
	return !sched_getaffinity(tid, sizeof(*out), (cpu_set_t *)(void *)out);
}

static void each(pid_t pid, each_thread *f, void *arg)
{
	struct retire_cpus bound;
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = pid > 0 ? opendir(path) : NULL;
	while (d && (e = readdir(d))) {
		pid_t tid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;

		if (tid > 0 && bound_to(tid, &bound))
			f(tid, &bound, arg);
	}
	if (d)
		closedir(d);
}

struct pins {
	const struct retire_cpus *cpus;
	unsigned online;
	json_t *list;
	bool pinned;
};

static unsigned in_both(const struct retire_cpus *a, const struct retire_cpus *b)
{
	unsigned n = 0;

	for (size_t i = 0; i < RETIRE_MAX_CPUS / 64; i++)
		n += (unsigned)__builtin_popcountll(a->bits[i] & b->bits[i]);
	return n;
}

static void see_pin(pid_t tid, const struct retire_cpus *bound, void *arg)
{
	struct pins *p = arg;
	unsigned n = retire_count(bound);

	(void)tid;
	p->pinned |= n && in_both(bound, p->cpus) == n;
}

bool retire_is_pinned(pid_t pid, const struct retire_cpus *cpus)
{
	struct pins p = {.cpus = cpus};

	each(pid, see_pin, &p);
	return p.pinned;
}

static void note_pin(pid_t tid, const struct retire_cpus *bound, void *arg)
{
	struct pins *p = arg;
	char text[4096];

	if (!in_both(bound, p->cpus) || retire_count(bound) >= p->online)
		return;
	retire_cpus_text(bound, text, sizeof(text));
	json_array_append_new(p->list,
			      json_pack("{si sI ss}", "tid", (int)tid, "start",
					(json_int_t)tv_pid_start_ticks(tid), "cpus", text));
}

void retire_note_threads(pid_t pid, const struct retire_cpus *cpus, json_t *list)
{
	struct pins p = {
		.cpus = cpus, .online = (unsigned)sysconf(_SC_NPROCESSORS_ONLN), .list = list};

	each(pid, note_pin, &p);
}

unsigned retire_restore_threads(const json_t *list)
{
	struct retire_cpus bound;
	unsigned n = 0;
	json_t *o;
	size_t i;

	json_array_foreach((json_t *)list, i, o) {
		pid_t tid = (pid_t)json_integer_value(json_object_get(o, "tid"));
		uint64_t start = (uint64_t)json_integer_value(json_object_get(o, "start"));
		const char *cpus = json_string_value(json_object_get(o, "cpus"));

		/* /proc/TID is there for threads, too. */
		if (tid > 0 && cpus && start && tv_pid_start_ticks(tid) == start &&
		    retire_cpus_of(cpus, &bound) &&
		    !sched_setaffinity(tid, sizeof(bound), (const cpu_set_t *)(void *)&bound))
			n++;
	}
	return n;
}
