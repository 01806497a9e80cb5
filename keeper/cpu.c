/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes a CPU out of service, and back. Never CPU 0, never the last one of a NUMA node, never below
 * the floor that the request names.
 */
#include "keeper/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BYTES 65536

unsigned kp_cpus_in(const char *list, uint32_t cpu, bool *has)
{
	unsigned long from, to;
	unsigned n = 0;
	char *end;

	*has = false;
	for (const char *p = list; *p >= '0' && *p <= '9'; p = *end == ',' ? end + 1 : end) {
		from = to = strtoul(p, &end, 10);
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		if (to < from || to >= KP_MAX_CPUS)
			return 0;
		n += (unsigned)(to - from + 1);
		*has = *has || (cpu >= from && cpu <= to);
	}
	return n;
}

/* A list of CPUs in a file; 0: it cannot be read. */
static unsigned cpus_of(const struct kp_sys *s, const char *file, uint32_t cpu, bool *has)
{
	TV_FREE char *text = NULL;
	char path[320];
	size_t bytes;

	*has = false;
	snprintf(path, sizeof(path), "%s/sys/devices/system/%s", s->root, file);
	if (tv_read_file(path, LIST_BYTES, &text, &bytes))
		return 0;
	return kp_cpus_in(text, cpu, has);
}

/* Of the node that it is in; a kernel without NUMA has none. */
static bool last_of_node(const struct kp_sys *s, uint32_t cpu)
{
	TV_FREE char *nodes = NULL;
	char path[320], file[64];
	size_t bytes;
	bool has;

	snprintf(path, sizeof(path), "%s/sys/devices/system/node/online", s->root);
	if (tv_read_file(path, LIST_BYTES, &nodes, &bytes))
		return false;
	for (unsigned node = 0; node < KP_MAX_CPUS; node++) {
		kp_cpus_in(nodes, node, &has);
		if (!has)
			continue;
		snprintf(file, sizeof(file), "node/node%u/cpulist", node);
		if (cpus_of(s, file, cpu, &has) <= 1 && has)
			return true;
	}
	return false;
}

static bool may_stop(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r)
{
	bool has;
	unsigned n = cpus_of(s, "cpu/online", q->cpu, &has);

	if (!has)
		kp_fail(r, -EALREADY, "CPU %u is not in service", q->cpu);
	else if (n <= q->floor || n <= 1)
		kp_fail(r, -EPERM, "%u CPUs are in service, and %u are needed", n,
			q->floor ? q->floor : 1);
	else if (last_of_node(s, q->cpu))
		kp_fail(r, -EPERM, "CPU %u is the last one of its NUMA node", q->cpu);
	return !r->rc;
}

void kp_cpu(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r)
{
	bool on = q->verb == KP_CPU_ON, has;
	int rc;

	if (!q->cpu || q->cpu >= KP_MAX_CPUS || s->online_fd[q->cpu] < 0) {
		kp_fail(r, -EOPNOTSUPP, "CPU %u cannot be taken out of service", q->cpu);
		return;
	}
	cpus_of(s, "cpu/online", q->cpu, &has);
	if (on && has) {
		kp_fail(r, -EALREADY, "CPU %u is in service", q->cpu);
		return;
	}
	if (!on && !may_stop(s, q, r))
		return;
	rc = s->put(s->online_fd[q->cpu], on ? "1" : "0");
	if (rc)
		kp_fail(r, rc, "CPU %u: the kernel: %s", q->cpu, tv_strerror(rc));
}
