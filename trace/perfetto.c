/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The trace event format (JSON): a process for each host, a thread for each track. A phase is one complete
 * event (X) with its length, as a pair of begin and end can lose a half. Times are microseconds with three
 * decimals from the first event on. Events of one track lie in each other or follow each other, or a
 * reader drops them: what overlaps, which two stamps of one moment may, begins where the one before ends.
 * An arrow (s, t, f) leads from an epoch's sending through its check to its release.
 */
#include "trace/trace_int.h"

#include <errno.h>

#define DEPTH 4 /* phases that lie in each other: two */

struct writer {
	FILE *f;
	int64_t zero_ns;
	bool comma, failed;
	int64_t open_ns[TRACE_TRACK_END][DEPTH]; /* ends of what is open */
	unsigned depth[TRACE_TRACK_END];
};

static const struct {
	enum trace_host host;
	const char *name;
} tracks[] = {
	[TRACE_TRACK_TRIGGER] = {TRACE_P, "trigger"},
	[TRACE_TRACK_PAUSE] = {TRACE_P, "pause"},
	[TRACE_TRACK_CHECK] = {TRACE_P, "check"},
	[TRACE_TRACK_ENCODE] = {TRACE_P, "encode"},
	[TRACE_TRACK_SEND] = {TRACE_P, "send"},
	[TRACE_TRACK_ACK] = {TRACE_P, "wait for commit (even epochs)"},
	[TRACE_TRACK_ACK_ODD] = {TRACE_P, "wait for commit (odd epochs)"},
	[TRACE_TRACK_RELEASE] = {TRACE_P, "release"},
	[TRACE_TRACK_CLOCK] = {TRACE_P, "heartbeat that set the clocks"},
	[TRACE_TRACK_RECEIVE] = {TRACE_B, "receive"},
	[TRACE_TRACK_APPLY] = {TRACE_B, "verify and apply"},
	[TRACE_TRACK_COMMIT] = {TRACE_B, "commit"},
};

static void put(struct writer *w, json_t *o)
{
	fputs(w->comma ? ",\n" : "\n", w->f);
	w->comma = true;
	if (!o || json_dumpf(o, w->f, JSON_COMPACT | JSON_REAL_PRECISION(15)))
		w->failed = true;
	json_decref(o);
}

static double us(const struct writer *w, int64_t ns)
{
	return (double)(ns - w->zero_ns) / 1e3;
}

static int pid_of(enum trace_host host)
{
	return host == TRACE_P ? 1 : 2;
}

static void put_name(struct writer *w, enum trace_host host, int tid, const char *what,
		     const char *key, json_t *value)
{
	put(w, json_pack("{ss ss si si s{so}}", "ph", "M", "name", what, "pid", pid_of(host), "tid",
			 tid, "args", key, value));
}

static void put_names(struct writer *w, const struct trace_set *s)
{
	for (int host = TRACE_P; host <= TRACE_B; host++) {
		put_name(w, host, 0, "process_name", "name",
			 json_sprintf("%s %s", host == TRACE_P ? "primary" : "backup",
				      s->half[host].host));
		put_name(w, host, 0, "process_sort_index", "sort_index", json_integer(host));
	}
	for (int tid = 1; tid < TRACE_TRACK_END; tid++) {
		put_name(w, tracks[tid].host, tid, "thread_name", "name",
			 json_string(tracks[tid].name));
		put_name(w, tracks[tid].host, tid, "thread_sort_index", "sort_index",
			 json_integer(tid));
	}
}

static enum trace_track track_of(const struct trace_event *ev)
{
	enum trace_track t = trace_track_of(ev->phase);

	return t == TRACE_TRACK_ACK && ev->epoch % 2 ? TRACE_TRACK_ACK_ODD : t;
}

/* Events come by their start. False: nothing of it is left. */
static bool fit(struct writer *w, enum trace_track t, int64_t *start_ns, int64_t *end_ns)
{
	int64_t *open = w->open_ns[t];

	while (w->depth[t] && open[w->depth[t] - 1] <= *start_ns)
		w->depth[t]--;
	if (w->depth[t] && *end_ns > open[w->depth[t] - 1]) {
		*start_ns = open[--w->depth[t]];
		return fit(w, t, start_ns, end_ns);
	}
	if (w->depth[t] == DEPTH || *end_ns < *start_ns)
		return false;
	open[w->depth[t]++] = *end_ns;
	return true;
}

static json_t *args_of(const struct trace_event *ev)
{
	json_int_t value = (json_int_t)ev->value;

	switch (ev->phase) {
	case TRACE_CLOCK:
		return json_pack("{sI}", "offset_ns", value);
	case TRACE_PAUSE:
		return json_pack("{sI sI}", "epoch", (json_int_t)ev->epoch, "pages", value);
	case TRACE_SAVE:
	case TRACE_ENCODE:
	case TRACE_SEND:
		return json_pack("{sI sI}", "epoch", (json_int_t)ev->epoch, "bytes", value);
	default:
		return json_pack("{sI}", "epoch", (json_int_t)ev->epoch);
	}
}

static void put_arrow(struct writer *w, const struct trace_event *ev, int64_t at_ns)
{
	const char *ph = ev->phase == TRACE_SEND      ? "s"
			 : ev->phase == TRACE_VERIFY  ? "t"
			 : ev->phase == TRACE_RELEASE ? "f"
						      : NULL;
	json_t *o;

	if (!ph)
		return;
	o = json_pack("{ss ss ss sI sf si si}", "ph", ph, "name", "epoch", "cat", "epoch", "id",
		      (json_int_t)ev->epoch, "ts", us(w, at_ns), "pid",
		      pid_of(tracks[track_of(ev)].host), "tid", (int)track_of(ev));
	if (o && *ph == 'f')
		json_object_set_new(o, "bp", json_string("e"));
	put(w, o);
}

static void put_counter(struct writer *w, const struct trace_event *ev)
{
	const char *name = ev->phase == TRACE_PAUSE    ? "dirty pages"
			   : ev->phase == TRACE_ENCODE ? "encoded bytes"
						       : NULL;

	if (name)
		put(w,
		    json_pack("{ss ss sf si s{sI}}", "ph", "C", "name", name, "ts",
			      us(w, ev->start_ns), "pid", 1, "args", name, (json_int_t)ev->value));
}

static void put_event(struct writer *w, const struct trace_event *ev)
{
	const struct trace_phase_info *info = trace_phase_info(ev->phase);
	enum trace_track t = track_of(ev);
	int64_t start_ns = ev->start_ns, end_ns = ev->start_ns + ev->length_ns;

	if (!fit(w, t, &start_ns, &end_ns))
		return;
	put(w, json_pack("{ss ss ss sf sf si si so}", "ph", "X", "name", info->word, "cat", "epoch",
			 "ts", us(w, start_ns), "dur", (double)(end_ns - start_ns) / 1e3, "pid",
			 pid_of(info->host), "tid", (int)t, "args", args_of(ev)));
	put_arrow(w, ev, start_ns);
	put_counter(w, ev);
}

static json_t *metadata(const struct writer *w, const struct trace_set *s)
{
	const struct trace_half *p = &s->half[TRACE_P], *b = &s->half[TRACE_B];

	return json_pack("{ss ss ss ss sb sb sI sI sI sI s{si sI sI sI sI}}", "vm", s->vm,
			 "primary", p->host, "backup", b->host, "recorded_on",
			 s->half[s->role].host, "primary_half", p->there, "backup_half", b->there,
			 "generation", (json_int_t)s->generation, "start_wall_ms",
			 (json_int_t)(s->wall_ms_at_0 + w->zero_ns / TV_NS_PER_MS), "lost_events",
			 (json_int_t)s->lost, "refused_events", (json_int_t)s->refused, "clock",
			 "samples", (int)s->clocks, "backup_offset_ns", (json_int_t)s->offset_ns,
			 "uncertain_ns", (json_int_t)s->uncertain_ns, "moved_epochs",
			 (json_int_t)s->moved, "moved_most_ns", (json_int_t)s->moved_most_ns);
}

int trace_perfetto(const struct trace_set *s, FILE *out)
{
	struct writer w = {.f = out, .zero_ns = s->n ? s->events[0].start_ns : 0};
	json_t *about = metadata(&w, s);

	fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", out);
	put_names(&w, s);
	for (size_t i = 0; i < s->n; i++)
		put_event(&w, &s->events[i]);
	fputs("\n],\"otherData\":", out);
	if (!about || json_dumpf(about, out, JSON_COMPACT))
		w.failed = true;
	fputs("}\n", out);
	json_decref(about);
	if (w.failed)
		return -ENOMEM;
	return fflush(out) || ferror(out) ? -EIO : 0;
}
