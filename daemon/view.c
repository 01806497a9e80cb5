/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host knows, for the dashboard here and for the other hosts (docs/WIRE.md): itself, who it
 * sees, and its VMs as status has them and with more. It says nothing that is not known here and now:
 * a number that is not measured is not there. Its size is bounded: VMs that have no room are counted.
 */
#include "daemon/cluster.h"
#include "daemon/passing.h"
#include "daemon/drills.h"
#include "daemon/events.h"
#include "daemon/rehearsals.h"
#include "daemon/health.h"
#include "daemon/moves.h"
#include "daemon/roster.h"
#include "replicator/watch/watch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAUSES 4
#define EVENTS 40
#define REHEARSED 6
#define EVENTS_BYTES (20u << 10)
#define FAILOVERS 12
#define FAILOVERS_BYTES (10u << 10)
#define ROOM_BYTES \
	(WATCH_MAX_BYTES - (16u << 10) - EVENTS_BYTES - FAILOVERS_BYTES) /* for the VMs */

static void set(json_t *to, const char *name, json_t *value)
{
	(void)!json_object_set_new(to, name, value);
}

/* ---- a VM ---- */
static json_t *vm_json(struct vm *vm)
{
	json_t *to = vm_status(vm);

	if (!to)
		return NULL;
	json_object_del(to, "sockets");
	set(to, "kept", json_integer((json_int_t)json_array_size(json_object_get(to, "kept"))));
	set(to, "rehearsed", rehearsals_json(vm->d, vm->id, REHEARSED, false));
	set(to, "live", json_boolean(vm->now.rep && vm->phase == VM_RUNNING));
	if (vm->now.stats_ns && vm->now.stats.state[0])
		set(to, "report_age_ms",
		    json_integer((tv_now_ns() - vm->now.stats_ns) / TV_NS_PER_MS));
	return to;
}

/* ---- the host ---- */
static uint64_t meminfo_mib(const char *text, const char *word)
{
	const char *p = text ? strstr(text, word) : NULL;

	return p ? strtoull(p + strlen(word), NULL, 10) >> 10 : 0;
}

static json_t *machine(void)
{
	TV_FREE char *text = NULL;
	json_t *to = json_object();
	double load[1];

	if (!tv_read_file("/proc/meminfo", 1 << 16, &text, NULL)) {
		set(to, "memory_mib", json_integer((json_int_t)meminfo_mib(text, "MemTotal:")));
		set(to, "memory_free_mib",
		    json_integer((json_int_t)meminfo_mib(text, "MemAvailable:")));
	}
	if (getloadavg(load, 1) == 1)
		set(to, "load", json_real(load[0]));
	set(to, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	return to;
}

static json_t *hardware(void)
{
	const char *why, *state = health_state(&why);

	return json_pack("{ss so so so}", "state", state, "reason", fields_text(why), "moves",
			 moves_recent(), "causes", health_worst(CAUSES));
}

static json_t *arbiter(const struct daemon *d)
{
	json_t *to = json_pack("{so}", "url", fields_text(d->conf.arbiter)), *names;
	struct fo_host seen[FO_MAX_HOSTS];
	struct members_state m;
	unsigned n = members_seen(seen);

	members_state(&m);
	if (!m.asked)
		return to;
	names = json_array();
	for (unsigned i = 0; i < n; i++)
		(void)!json_array_append_new(names, fields_text(seen[i].name));
	set(to, "answers", json_boolean(m.answers));
	set(to, "why", fields_text(m.why));
	set(to, "asked_ms_ago", json_integer((tv_now_ns() - m.asked_ns) / TV_NS_PER_MS));
	set(to, "hosts", names);
	return to;
}

static size_t bytes_of(const json_t *v)
{
	return json_dumpb(v, NULL, 0, JSON_COMPACT);
}

static void add_vms(struct daemon *d, json_t *to)
{
	size_t room = ROOM_BYTES - roster_view_bytes(d), bytes;
	json_t *list = json_array(), *one;
	unsigned left_out = 0;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link) {
		one = vm_json(vm);
		bytes = one ? bytes_of(one) + 1 : 0;
		if (bytes > room && !json_object_del(one, "disks"))
			bytes = bytes_of(one) + 1;
		if (!one || bytes > room || json_array_size(list) == WATCH_MAX_VMS) {
			json_decref(one);
			left_out++;
			continue;
		}
		room -= bytes;
		(void)!json_array_append_new(list, one);
	}
	set(to, "vms", list);
	set(to, "vms_left_out", json_integer(left_out));
}

/* The newest that have room, oldest first. */
static json_t *newest(const struct daemon *d, const struct events_query *q, size_t room)
{
	json_t *list = events_read(d, q, NULL);

	while (json_array_size(list) && bytes_of(list) > room)
		json_array_remove(list, 0);
	return list;
}

static json_t *events(const struct daemon *d)
{
	const struct events_query last = {.limit = EVENTS, .newest = true};

	return newest(d, &last, EVENTS_BYTES);
}

/* Also when much has happened since. */
static json_t *failovers(const struct daemon *d)
{
	const struct events_query last = {.limit = FAILOVERS, .newest = true, .failovers = true};

	return newest(d, &last, FAILOVERS_BYTES);
}

json_t *view_json(struct daemon *d)
{
	json_t *to = json_pack("{so sI}", "host", fields_text(d->conf.host), "time_ms",
			       (json_int_t)cluster_now_ms());
	json_t *drills, *maintenance = maintenance_json(d);

	if (!to)
		return NULL;
	set(to, "began_ms", json_integer(d->began_ms));
	set(to, "machine", machine());
	set(to, "hardware", hardware());
	set(to, "arbiter", arbiter(d));
	set(to, "sees", cluster_sees(d));
	set(to, "events", events(d));
	set(to, "failovers", failovers(d));
	if (maintenance)
		set(to, "maintenance", maintenance);
	drills = drills_json(d);
	if (drills)
		set(to, "drills", drills);
	set(to, "takes", passed_taken(d));
	add_vms(d, to);
	return to;
}
