/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP client: events as they come, while a command waits for its answer. They go into a fixed queue;
 * some are counted, kept back or dropped on the way, because our own commands make QEMU send them.
 */
#include "hv/qemu/qmp_int.h"

#include <string.h>

static void keep(struct hv_qmp *q, const char *text, size_t n)
{
	if (q->event_bytes + n > HV_QMP_EVENTS_BYTES) {
		q->lost++;
		return;
	}
	memcpy(q->events + q->event_bytes, text, n);
	q->event_bytes += n;
}

static bool is_named(const struct hv_qmp *q, size_t n, const char *name)
{
	return memmem(q->in, n, name, strlen(name));
}

/* What was kept back is somebody else's: it goes where it would have gone. */
static void keep_pair(struct hv_qmp *q)
{
	static const char stop[] = "{\"event\": \"STOP\"}", resume[] = "{\"event\": \"RESUME\"}";

	if (q->pair != HV_QMP_NONE)
		keep(q, stop, sizeof(stop) - 1);
	if (q->pair == HV_QMP_BOTH)
		keep(q, resume, sizeof(resume) - 1);
	q->pair = HV_QMP_NONE;
}

/* Is the event kept back? */
static bool pairs(struct hv_qmp *q, bool stop, bool resume)
{
	if (!q->pairing || !(stop || resume))
		return false;
	if (stop) {
		keep_pair(q);
		q->pair = HV_QMP_STOPPED;
		return true;
	}
	if (q->pair != HV_QMP_STOPPED)
		return false;
	q->pair = HV_QMP_BOTH;
	return true;
}

void hv_qmp_keep_event(struct hv_qmp *q, size_t n)
{
	bool stop = is_named(q, n, "\"STOP\""), resume = is_named(q, n, "\"RESUME\"");

	q->runs.stops += stop;
	q->runs.resumes += resume;
	q->runs.resets += is_named(q, n, "\"RESET\"");
	if (stop || resume)
		q->runs.stop_last = stop;
	if (pairs(q, stop, resume))
		return;
	if (q->mute && is_named(q, n, q->mute)) {
		q->muted++;
		return;
	}
	keep(q, q->in, n);
}

unsigned hv_qmp_mute(struct hv_qmp *q, const char *name)
{
	unsigned n = q->muted;

	q->mute = name;
	q->muted = 0;
	return n;
}

bool hv_qmp_is_late(const struct hv_qmp *q)
{
	return q->late;
}

struct hv_qmp_runs hv_qmp_runs(const struct hv_qmp *q)
{
	return q->runs;
}

void hv_qmp_pair_begin(struct hv_qmp *q)
{
	q->pairing = true;
	q->pair = HV_QMP_NONE;
}

enum hv_qmp_pair hv_qmp_pair(const struct hv_qmp *q)
{
	return q->pair;
}

enum hv_qmp_pair hv_qmp_pair_end(struct hv_qmp *q)
{
	enum hv_qmp_pair pair = q->pair;

	if (pair == HV_QMP_STOPPED)
		keep_pair(q);
	q->pair = HV_QMP_NONE;
	q->pairing = false;
	return pair;
}
