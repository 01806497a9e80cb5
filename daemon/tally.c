/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What metrics count of a VM, over its sessions on this host, and of this daemon. It begins at 0 with the
 * daemon, and for a VM when this host gets a part in it; it goes with the VM.
 */
#include "daemon/away.h"
#include "daemon/tally.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Of events_failover.c; the last: any other. */
static const char *const causes[TALLY_CAUSES] = {"silence", "closed", "asked", "planned",
						 "forced",  "fenced", "retry", "unknown"};

/* ---- counting ---- */
void tally_counts(struct vm *vm, const struct session_counts *counts)
{
	vm->tally.now = *counts;
}

static struct session_counts sum(const struct session_counts *a, const struct session_counts *b)
{
	struct session_counts out;
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
	uint64_t *to = (uint64_t *)&out;

	for (size_t i = 0; i < sizeof(out) / sizeof(*to); i++)
		to[i] = x[i] + y[i];
	return out;
}

void tally_session_ended(struct vm *vm, unsigned how)
{
	struct vm_tally *t = &vm->tally;

	t->past = sum(&t->past, &t->now);
	t->now = (struct session_counts){0};
	t->ended[how < SESSION_DIED ? how : SESSION_DIED]++;
}

void tally_failover(struct vm *vm, const char *cause)
{
	const struct session_outage *o = &vm->now.end.outage;
	unsigned i = 0;

	while (i < TALLY_CAUSES - 1 && strcmp(causes[i], cause) != 0)
		i++;
	vm->tally.failovers[i]++;
	if (*o->cause)
		histogram_add(&vm->tally.outage, histogram_outage_us,
			      (int64_t)(o->outage_ms * (double)TV_NS_PER_MS));
}

/* ---- what is shown ---- */
static const struct field outage_list[] = {
	FIELD(struct vm_tally, outage, LIST, "", "how many outages were not longer than each edge"),
};
static const struct fields outage_fields = FIELDS("tally", outage_list);

static json_t *by_cause(const struct vm_tally *t)
{
	json_t *to = json_object();

	for (unsigned i = 0; i < TALLY_CAUSES; i++)
		json_object_set_new(to, causes[i], json_integer(t->failovers[i]));
	return to;
}

static json_t *by_outcome(const struct vm_tally *t)
{
	json_t *to = json_object();

	for (unsigned i = 0; i < SESSION_DIED; i++)
		json_object_set_new(to, session_outcome_name((enum session_outcome)i),
				    json_integer(t->ended[i]));
	json_object_set_new(to, "died", json_integer(t->ended[SESSION_DIED]));
	return to;
}

json_t *tally_json(const struct vm *vm)
{
	const struct vm_tally *t = &vm->tally;
	struct session_counts all = sum(&t->past, &t->now);
	json_t *to = session_message(SESSION_OP_COUNTS, &all);

	if (!to)
		return NULL;
	json_object_del(to, "op");
	json_object_set_new(to, "saved", json_boolean(away_is(vm)));
	json_object_set_new(to, "failovers", by_cause(t));
	json_object_set_new(to, "sessions_ended", by_outcome(t));
	if (fields_add(&outage_fields, t, to)) {
		json_decref(to);
		return NULL;
	}
	return to;
}

/* ---- this process ---- */
static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n > 3 ? n - 3 : 0; /* without ".", ".." and the folder itself */
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

json_t *tally_process(const struct daemon *d)
{
	unsigned long virtual_pages = 0, resident_pages = 0;
	long page = sysconf(_SC_PAGESIZE);
	TV_FREE char *statm = NULL;
	struct rlimit fds = {0};
	struct rusage used = {0};

	if (!tv_read_file("/proc/self/statm", 256, &statm, NULL))
		(void)sscanf(statm, "%lu %lu", &virtual_pages, &resident_pages);
	getrusage(RUSAGE_SELF, &used);
	getrlimit(RLIMIT_NOFILE, &fds);
	return json_pack(
		"{sf sf sI sI sI sI}", "cpu_s", seconds(&used.ru_utime) + seconds(&used.ru_stime),
		"start_s", (double)d->began_ms / 1e3, "resident_bytes",
		(json_int_t)resident_pages * page, "virtual_bytes",
		(json_int_t)virtual_pages * page, "open_fds", (json_int_t)open_fds(), "max_fds",
		(json_int_t)(fds.rlim_cur > INT32_MAX ? INT32_MAX : fds.rlim_cur));
}
