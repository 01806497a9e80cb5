/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUs that were taken out of service come back, and threads are bound to them as before. */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/retire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The highest one: a core's first CPU is stopped last. -1: none is left. */
int retire_next_cpu(const struct retire_cpus *s)
{
	for (int cpu = RETIRE_MAX_CPUS - 1; cpu >= 0; cpu--)
		if (retire_has(s, (unsigned)cpu))
			return cpu;
	return -1;
}

void retire_cpu_back(struct daemon *d, const struct kp_reply *k, void *arg)
{
	(void)d;
	if (k->rc && k->rc != -EALREADY)
		tv_log(TV_WARN, "CPU %u does not come back: %s", (unsigned)(uintptr_t)arg, k->text);
}

int retire_ask_cpu(enum kp_verb verb, unsigned cpu, unsigned floor, keeper_cb *cb, void *arg)
{
	static struct kp_request q; /* kilobytes */

	q = (struct kp_request){.verb = verb, .cpu = cpu, .floor = floor};
	return keeper_ask(&q, cb, arg);
}

/* All CPUs of a core are asked for in one go: the keeper answers in order, and the last one counts. */
static void on_core_back(struct daemon *d, const struct kp_reply *k, void *arg)
{
	TV_FREE char *cpus = arg;
	json_t *o;
	size_t i;

	if (k->rc && k->rc != -EALREADY) {
		events_add(d, EVENTS_PART_STAYS, NULL, NULL, "CPU %.200s does not come back: %s",
			   cpus, k->text);
		return;
	}
	json_array_foreach(json_object_get(retire_record(), "cpus"), i, o) {
		if (strcmp(json_string_value(json_object_get(o, "cpus")), cpus) != 0)
			continue;
		events_add(d, EVENTS_PART_BACK, NULL, json_pack("{ss}", "part", cpus),
			   "CPU %.200s is in service again; %u threads of VMs are bound to it as "
			   "before",
			   cpus, retire_restore_threads(json_object_get(o, "threads")));
		retire_record_forget(d, cpus);
		return;
	}
}

unsigned retire_undo(struct daemon *d)
{
	unsigned n = 0;
	json_t *o;
	size_t i;

	(void)d;
	json_array_foreach(json_object_get(retire_record(), "cpus"), i, o) {
		struct retire_cpus left;
		char *cpus;
		int cpu;

		if (!retire_cpus_of(json_string_value(json_object_get(o, "cpus")), &left))
			continue;
		while ((cpu = retire_next_cpu(&left)) >= 0) {
			left.bits[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
			if (retire_next_cpu(&left) >= 0) {
				if (retire_ask_cpu(KP_CPU_ON, (unsigned)cpu, 0, retire_cpu_back,
						   (void *)(uintptr_t)cpu))
					break;
				continue;
			}
			cpus = strdup(json_string_value(json_object_get(o, "cpus")));
			if (cpus &&
			    !retire_ask_cpu(KP_CPU_ON, (unsigned)cpu, 0, on_core_back, cpus))
				n++;
			else
				free(cpus);
		}
	}
	return n;
}
