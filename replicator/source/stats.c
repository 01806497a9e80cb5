/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: its numbers, and its reports of them to the daemon. */
#include "replicator/source/source_int.h"

#include <inttypes.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTS_EVERY_NS TV_NS_PER_S
#define SLOW_STOP_NS (20 * TV_NS_PER_MS)

/* ---- counting ---- */
static void sample(struct src_samples *s, int64_t v)
{
	s->v[s->n++ % SRC_SAMPLES] = v;
	if (v > s->max)
		s->max = v;
}

static void count(struct histogram *h, int64_t ns)
{
	histogram_add(h, histogram_epoch_us, ns);
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t percentile(const struct src_samples *s, unsigned p)
{
	int64_t v[SRC_SAMPLES];
	unsigned n = s->n < SRC_SAMPLES ? s->n : SRC_SAMPLES;

	if (!n)
		return 0;
	memcpy(v, s->v, n * sizeof(*v));
	qsort(v, n, sizeof(*v), cmp64);
	return v[(n - 1) * p / 100];
}

void src_count_progress(struct source *s, double progress)
{
	s->numbers.progress = progress;
}

void src_count_captured(struct source *s, const struct cap_event *ev)
{
	struct src_numbers *n = &s->numbers;

	if (n->last_pause_ns) {
		sample(&n->interval, ev->pause_start_ns - n->last_pause_ns);
		count(&n->counts.epoch, ev->pause_start_ns - n->last_pause_ns);
	}
	n->last_pause_ns = ev->pause_start_ns;
	sample(&n->pause, ev->pause_ns);
	count(&n->counts.pause, ev->pause_ns);
	n->counts.dirty_pages += ev->pages;
	n->stop_ns += (ev->stop_ns - n->stop_ns) / 8;
	/* Left at half of what it is entered at: a disk that is as slow as that is one warning. */
	n->stops_slowly = n->stop_ns >= (n->stops_slowly ? SLOW_STOP_NS / 2 : SLOW_STOP_NS);
	sample(&n->dirty, (int64_t)ev->pages);
}

void src_count_sent(struct source *s, uint64_t epoch, int64_t captured_ns, uint64_t bytes)
{
	s->numbers.captured_at_ns[epoch % SRC_EPOCHS] = captured_ns;
	s->numbers.flight_bytes[epoch % SRC_EPOCHS] = bytes;
}

void src_count_committed(struct source *s, uint64_t epoch)
{
	struct session_counts *c = &s->numbers.counts;
	int64_t now_ns = tv_now_ns();

	while (c->epochs_committed < epoch) { /* at most FO_MAX_IN_FLIGHT */
		int64_t ns = now_ns - s->numbers.captured_at_ns[++c->epochs_committed % SRC_EPOCHS];

		count(&c->commit, ns);
		sample(&s->numbers.commit, ns);
	}
	s->numbers.committed_state_ns = s->numbers.captured_at_ns[epoch % SRC_EPOCHS];
	if (epoch == 1)
		s->numbers.progress = 1;
}

void src_count_aborted(struct source *s)
{
	s->numbers.counts.epochs_aborted++;
}

/* What came after the epoch's pause belongs to a later one, and is held on. */
void src_count_released(struct source *s, uint64_t epoch, int64_t oldest_held_ns)
{
	struct src_numbers *n = &s->numbers;

	if (!oldest_held_ns || oldest_held_ns == n->hold_counted_ns ||
	    oldest_held_ns > n->captured_at_ns[epoch % SRC_EPOCHS])
		return;
	n->hold_counted_ns = oldest_held_ns;
	count(&n->counts.hold, tv_now_ns() - oldest_held_ns);
}

/* ---- reporting ---- */
static double ms(int64_t ns)
{
	int64_t us = ns / 1000;

	return (double)us / 1e3;
}

static const char *public_state(const struct source *s)
{
	switch (s->p.state) {
	case FO_P_OPENING:
	case FO_P_DOUBTING:
	case FO_P_SYNCING:
	case FO_P_PAIRING:
	case FO_P_REPAIRING:
		return "syncing";
	case FO_P_PROTECTED:
	case FO_P_SWITCHING:
		return "protected";
	case FO_P_SUSPENDED:
	case FO_P_HELD:
	case FO_P_YIELDING:
	case FO_P_CHECKING:
	case FO_P_QUITTING:
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
		sum += s->numbers.flight_bytes[n % SRC_EPOCHS];
	return sum;
}

/* How far the reading of files is, or their copies; "": none are made. */
static void files_text(const struct source *s, char *out, size_t room)
{
	const struct src_files *f = &s->files;

	*out = '\0';
	if (f->to_hash_bytes)
		snprintf(out, room,
			 "files that the VM reads are hashed: %" PRIu64 " of %" PRIu64 " MiB",
			 f->hashed_bytes >> 20, f->to_hash_bytes >> 20);
	else if (f->all_bytes && !s->p.welcomed)
		snprintf(out, room,
			 "files that the VM reads are copied: %" PRIu64 " of %" PRIu64 " MiB",
			 f->done_bytes >> 20, f->all_bytes >> 20);
}

static const char *reason(const struct source *s)
{
	if (s->end.why.text[0])
		return s->end.why.text;
	if (s->link.warning[0])
		return s->link.warning;
	if (s->operator.suspended)
		return SESSION_SUSPENDED;
	return s->vm.stopped && s->vm.state ? s->vm.state->why : "";
}

/* A VM that stands still does nothing that could be lost: its state does not age. */
static int64_t aged_until_ns(const struct source *s, int64_t now_ns)
{
	int64_t since_ns = s->vm.stopped ? s->vm.stopped_ns : now_ns;

	return since_ns > s->numbers.committed_state_ns ? since_ns : s->numbers.committed_state_ns;
}

/* QEMU stops a VM within some milliseconds, unless its disks' writes and flushes take longer. */
static void warn(const struct source *s, char *out, size_t room)
{
	tv_copy(out, room, s->watch.warning.text);
	if (out[0] || !s->disks || !s->numbers.stops_slowly)
		return;
	snprintf(out, room,
		 "the VM's disks take %.0f ms to flush, at each epoch: the VM is paused for that "
		 "long, and epochs are spaced by it; look at the storage below %s",
		 ms(s->numbers.stop_ns), s->job.conf.host);
}

static void add_session(struct source *s, struct session_stats *st, int64_t now_ns)
{
	const struct src_numbers *n = &s->numbers;

	tv_copy(st->state, sizeof(st->state), public_state(s));
	tv_copy(st->core, sizeof(st->core), fo_primary_state_name(s->p.state));
	tv_copy(st->reason, sizeof(st->reason), reason(s));
	if (!st->reason[0])
		files_text(s, st->reason, sizeof(st->reason));
	tv_copy(st->run_state, sizeof(st->run_state), s->vm.state ? s->vm.state->name : "running");
	st->suspended = s->operator.suspended;
	if (s->vm.hung.text[0])
		tv_copy(st->warning, sizeof(st->warning), s->vm.hung.text);
	else if (s->vm.poison.text[0])
		tv_copy(st->warning, sizeof(st->warning), s->vm.poison.text);
	else if (s->p.state == FO_P_PROTECTED)
		warn(s, st->warning, sizeof(st->warning));
	tv_copy(st->qemu, sizeof(st->qemu), s->vm.qemu);
	st->progress = n->progress;
	st->epoch_running = s->p.epoch_running;
	st->epoch_committed = s->p.epoch_committed;
	st->lag_ms =
		n->committed_state_ns ? ms(aged_until_ns(s, now_ns) - n->committed_state_ns) : 0.0;
	st->uncommitted_bytes = uncommitted_bytes(s);
	st->lease = now_ns - s->p.lease_from_ns < s->times.lease_ns;
	st->pause_ms.p50 = ms(percentile(&n->pause, 50));
	st->pause_ms.p99 = ms(percentile(&n->pause, 99));
	st->pause_ms.max = ms(n->pause.max);
	st->epoch_ms.p50 = ms(percentile(&n->interval, 50));
	st->commit_ms.p50 = ms(percentile(&n->commit, 50));
	st->commit_ms.p99 = ms(percentile(&n->commit, 99));
	st->dirty_pages.p50 = (uint64_t)percentile(&n->dirty, 50);
	st->dirty_pages.p99 = (uint64_t)percentile(&n->dirty, 99);
}

static void note_state(struct source *s, struct session_stats *st, int64_t now_ns)
{
	struct src_numbers *n = &s->numbers;
	const char *state = public_state(s);

	if (!n->state || strcmp(n->state, state) != 0)
		n->state_ns = now_ns;
	n->state = state;
	st->state_for_ms = ms(now_ns - n->state_ns);
}

static void add_surroundings(const struct source *s, struct session_stats *st, int64_t now_ns)
{
	const char *why;

	st->rtt_ms = s->link.conn ? ms(repl_rtt_ns(s->link.conn)) : 0.0;
	st->link_bytes_s = s->link.rate.bytes_s;
	st->link_acked_bytes = s->link.acked_bytes;
	if (s->link.heard_ns)
		st->contact_for_ms = ms(now_ns - s->link.heard_ns) + 1e-3; /* 0: none */
	if (s->epochs.pace.last_start_ns) {
		st->epoch_target_ms = ms(pace_target_ns(&s->epochs.pace, &why));
		tv_copy(st->epoch_why, sizeof(st->epoch_why), why);
	}
	tv_copy(st->arbiter_state, sizeof(st->arbiter_state), fo_arbiter_seen_name(s->watch.seen));
	st->arbiter_for_ms = s->watch.seen ? ms(now_ns - s->watch.since_ns) : 0.0;
}

static void add_bytes(struct source *s, struct session_stats *st, struct disks_stats *disks)
{
	struct ckpt_stats cs = {0};

	if (s->en) /* not yet: set_up() has failed before */
		encoder_stats(s->en, &cs);
	if (s->disks)
		disks_stats(s->disks, disks);
	st->raw_bytes = cs.raw_bytes;
	st->wire_bytes = cs.wire_bytes + disks->wire_bytes;
	st->disk_bytes = disks->raw_bytes;
	st->disk_kept_bytes = disks->kept_bytes;
}

static void add_output(const struct source *s, struct session_stats *st, int64_t now_ns)
{
	struct nb_stats ns = {0};

	if (!s->hold.nb)
		return;
	nb_stats(s->hold.nb, &ns);
	tv_copy(st->output_held_by, sizeof(st->output_held_by), nb_way(s->hold.nb));
	st->oldest_held_frame_ms = ns.oldest_held_ns ? ms(now_ns - ns.oldest_held_ns) : 0.0;
	st->held_frames = ns.held_frames;
	st->released_frames = ns.released_frames + ns.passed_frames;
	st->dropped_frames = ns.dropped_frames;
}

void src_send_stats(struct source *s)
{
	struct session_stats st = {0};
	struct disks_stats disks = {0};
	int64_t now = tv_now_ns();

	add_session(s, &st, now);
	add_surroundings(s, &st, now);
	note_state(s, &st, now);
	add_bytes(s, &st, &disks);
	add_output(s, &st, now);
	report_send(s->report, session_message(SESSION_OP_STATS, &st));
	if (s->known_disks.n)
		src_disks_report(s, &disks);
}

/* Taken from where they are counted, and kept: the netbuffer's are gone before the session's end. */
static void gather(struct source *s)
{
	struct session_counts *c = &s->numbers.counts;
	struct session_stats bytes = {0};
	struct disks_stats disks = {0};
	struct nb_stats ns = {0};

	add_bytes(s, &bytes, &disks);
	c->memory_bytes = bytes.raw_bytes;
	c->wire_bytes = bytes.wire_bytes;
	c->disk_bytes = bytes.disk_bytes;
	if (!s->hold.nb)
		return;
	nb_stats(s->hold.nb, &ns);
	if (ns.released_frames + ns.held_frames > c->frames_held)
		c->frames_held = ns.released_frames + ns.held_frames;
	c->frames_released = ns.released_frames + ns.passed_frames;
	c->frames_dropped = ns.dropped_frames;
}

static void send_counts(struct source *s, int64_t now_ns)
{
	s->numbers.counts_sent_ns = now_ns;
	gather(s);
	report_send(s->report, session_message(SESSION_OP_COUNTS, &s->numbers.counts));
}

void src_send_last_counts(struct source *s)
{
	if (s->p.epoch_captured > s->p.epoch_committed)
		s->numbers.counts.epochs_aborted += s->p.epoch_captured - s->p.epoch_committed;
	send_counts(s, tv_now_ns());
}

bool src_report(struct source *s, int64_t now_ns)
{
	if (now_ns - s->numbers.reported_ns < s->times.heartbeat_ns)
		return false;
	s->numbers.reported_ns = now_ns;
	src_send_stats(s);
	if (now_ns - s->numbers.counts_sent_ns >= COUNTS_EVERY_NS)
		send_counts(s, now_ns);
	return true;
}

void src_introduce(struct report *r, void *arg)
{
	struct source *s = arg;
	struct session_register reg = {
		.role = SESSION_PRIMARY, .pid = getpid(), .generation = s->job.generation};

	tv_copy(reg.vm_id, sizeof(reg.vm_id), s->job.vm_id);
	tv_copy(reg.session, sizeof(reg.session), s->job.session);
	report_send(r, session_message(SESSION_OP_REGISTER, &reg));
	if (s->hold.stash_n)
		report_send_fds(r, session_message(SESSION_OP_STASH, NULL), s->hold.stash,
				s->hold.stash_n);
	src_trace_show(s);
	src_send_stats(s);
}
