/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: its numbers, and its reports to the daemon. */
#include "replicator/source/source_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double ms(int64_t ns)
{
	return (double)(ns / 1000) / 1e3;
}

static const char *public_state(const struct source *s)
{
	switch (s->p.state) {
	case FO_P_SYNCING:
	case FO_P_PAIRING:
		return "syncing";
	case FO_P_PROTECTED:
	case FO_P_SUSPENDED:
	case FO_P_SWITCHING:
		return "protected";
	case FO_P_HELD:
	case FO_P_YIELDING:
	case FO_P_YIELDED:
	case FO_P_SWITCHED:
	case FO_P_FENCED:
		return "stopped";
	default:
		return "alone";
	}
}

static uint64_t uncommitted_bytes(const struct source *s)
{
	uint64_t sum = 0;

	for (uint64_t n = s->p.epoch_committed + 1; n <= s->p.epoch_captured; n++)
		sum += s->flight_bytes[n % (MAX_IN_FLIGHT + 2)];
	return sum;
}

void src_send_stats(struct source *s)
{
	struct ckpt_stats cs = {0};
	struct disks_stats ds = {0};
	struct nb_stats ns = {0};
	int64_t now = tv_now_ns();

	encoder_stats(s->en, &cs);
	if (s->disks)
		disks_stats(s->disks, &ds);
	if (s->nb)
		nb_stats(s->nb, &ns);
	report_send(s->report,
		    json_pack("{ss ss ss ss sI sI sf sI sf s{sf sf sf} s{sf} s{sI sI} sI sI sI sI "
			      "sI sf ss sI sI sb ss ss}",
			      "op", "stats", "state", public_state(s), "core",
			      fo_primary_state_name(s->p.state), "mode",
			      pace_mode_name(s->pace.mode), "epoch_running",
			      (json_int_t)s->p.epoch_running, "epoch_committed",
			      (json_int_t)s->p.epoch_committed, "lag_ms",
			      s->committed_state_ns ? ms(now - s->committed_state_ns) : 0.0,
			      "uncommitted_bytes", (json_int_t)uncommitted_bytes(s),
			      "oldest_held_frame_ms",
			      ns.oldest_held_ns ? ms(now - ns.oldest_held_ns) : 0.0, "pause_ms",
			      "p50", ms(src_percentile(&s->pause, 50)), "p99",
			      ms(src_percentile(&s->pause, 99)), "max", ms(s->pause.max),
			      "epoch_ms", "p50", ms(src_percentile(&s->interval, 50)),
			      "dirty_pages", "p50", (json_int_t)src_percentile(&s->dirty, 50),
			      "p99", (json_int_t)src_percentile(&s->dirty, 99), "raw_bytes",
			      (json_int_t)cs.raw_bytes, "wire_bytes",
			      (json_int_t)(cs.wire_bytes + ds.wire_bytes), "held_frames",
			      (json_int_t)ns.held_frames, "released_frames",
			      (json_int_t)(ns.released_frames + ns.passed_frames), "dropped_frames",
			      (json_int_t)ns.dropped_frames, "progress", s->progress, "reason",
			      s->why.text, "disk_bytes", (json_int_t)ds.raw_bytes,
			      "disk_kept_bytes", (json_int_t)ds.kept_bytes, "lease",
			      now - s->p.lease_from_ns < s->times.lease_ns, "output_held_by",
			      s->nb ? nb_way(s->nb) : "", "qemu", s->qemu_version));
}

void src_introduce(struct report *r, void *arg)
{
	struct source *s = arg;

	report_send(r, json_pack("{ss ss ss sI sI ss}", "op", "register", "role", "primary",
				 "vm_id", s->job.vm_id, "pid", (json_int_t)getpid(), "generation",
				 (json_int_t)s->job.generation, "session", s->job.session));
	if (s->stash_n)
		report_send_fds(r, json_pack("{ss}", "op", "stash"), s->stash, s->stash_n);
	src_send_stats(s);
}

void src_sample(struct samples *s, int64_t v)
{
	s->v[s->n++ % SAMPLES] = v;
	if (v > s->max)
		s->max = v;
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

int64_t src_percentile(const struct samples *s, unsigned p)
{
	int64_t v[SAMPLES];
	unsigned n = s->n < SAMPLES ? s->n : SAMPLES;

	if (!n)
		return 0;
	memcpy(v, s->v, n * sizeof(*v));
	qsort(v, n, sizeof(*v), cmp64);
	return v[(n - 1) * p / 100];
}

void src_arm(struct event *ev, int64_t ns)
{
	struct timeval tv;

	if (ns < 0)
		ns = 0;
	tv.tv_sec = ns / TV_NS_PER_S;
	tv.tv_usec = (ns % TV_NS_PER_S + 999) / 1000;
	event_add(ev, &tv);
}
