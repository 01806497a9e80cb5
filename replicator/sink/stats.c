/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: what it reports to its daemon while it runs. */
#include "replicator/sink/sink_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *public_state(const struct sink *s)
{
	switch (s->b.state) {
	case FO_B_SYNCING:
		return "syncing";
	case FO_B_PROMOTING:
	case FO_B_ASKING:
		return "promoting";
	case FO_B_PROMOTED:
		return "alone";
	case FO_B_OFFERED:
	case FO_B_KEPT:
	case FO_B_GONE:
		return "stopped";
	default:
		return "protected";
	}
}

static void note_state(struct sink *s, struct session_stats *st)
{
	const char *state = public_state(s);
	int64_t now_ns = tv_now_ns(), for_ms;

	if (!s->state || strcmp(s->state, state) != 0)
		s->state_ns = now_ns;
	s->state = state;
	for_ms = (now_ns - s->state_ns) / TV_NS_PER_MS;
	st->state_for_ms = (double)for_ms;
}

static void add_surroundings(const struct sink *s, struct session_stats *st)
{
	const struct fo_watch *w = &s->watch;
	int64_t rtt_us = s->conn ? repl_rtt_ns(s->conn) / 1000 : 0;
	int64_t for_ms = w->seen ? (tv_now_ns() - w->since_ns) / TV_NS_PER_MS : 0;

	st->rtt_ms = (double)rtt_us / 1e3;
	if (s->sign_ns)
		st->contact_for_ms = (double)((tv_now_ns() - s->sign_ns) / 1000 + 1) / 1e3;
	st->arbiter_for_ms = (double)for_ms;
	tv_copy(st->arbiter_state, sizeof(st->arbiter_state), fo_arbiter_seen_name(w->seen));
}

void sink_know_disks(struct sink *s)
{
	json_t *description = json_loads(s->description ? s->description : "", 0, NULL);
	const char *dir = s->job.conf.replica_dir;
	struct session_disk *d;

	s->disks = calloc(SESSION_MAX_DISKS, sizeof(*s->disks));
	if (s->disks)
		s->disks_n = session_disks_described(description, s->disks);
	for (unsigned i = 0; i < s->disks_n; i++) {
		d = &s->disks[i];
		if (ckpt_image_path(dir, s->names.id, i, d->file, sizeof(d->file)))
			d->file[0] = 0;
	}
	json_decref(description);
}

static void send_disks(const struct sink *s)
{
	const char *state = s->b.epoch_committed ? "whole" : "copying";
	uint64_t bytes;

	for (unsigned i = 0; i < s->disks_n; i++) {
		bytes = atomic_load(&s->images.bytes[i]);
		s->disks[i].image_bytes = bytes ? bytes : UINT64_MAX;
		tv_copy(s->disks[i].state, sizeof(s->disks[i].state), state);
	}
	if (s->disks_n)
		report_send(s->report, session_disks_message(s->disks, s->disks_n));
}

void sink_send_stats(struct sink *s)
{
	struct session_stats st = {.progress = s->b.state == FO_B_SYNCING ? 0.0 : 1.0,
				   .epoch_running = s->b.epoch_open,
				   .epoch_committed = s->b.epoch_committed,
				   .wire_bytes = s->rx_bytes,
				   .asked_to_run = s->asked_to_run,
				   .suspended = s->suspended};

	tv_copy(st.state, sizeof(st.state), public_state(s));
	tv_copy(st.core, sizeof(st.core), fo_backup_state_name(s->b.state));
	tv_copy(st.reason, sizeof(st.reason), s->why.text[0] ? s->why.text : s->warning.text);
	if (s->b.state == FO_B_STANDBY)
		tv_copy(st.warning, sizeof(st.warning), s->watch.warning.text);
	add_surroundings(s, &st);
	note_state(s, &st);
	report_send(s->report, session_message(SESSION_OP_STATS, &st));
	send_disks(s);
}

void sink_send_counts(struct sink *s)
{
	struct session_counts c = {.epochs_committed = s->b.epoch_committed,
				   .wire_bytes = s->rx_bytes};

	s->last_counts_ns = tv_now_ns();
	report_send(s->report, session_message(SESSION_OP_COUNTS, &c));
}

/* The VM's, from the command line that its primary describes; a claim as all of that. */
static void take_uuid(const char *description, char out[37])
{
	json_t *desc = json_loads(description ? description : "", 0, NULL), *word;
	const char *before = "", *text;
	size_t i;

	json_array_foreach(json_object_get(desc, "argv"), i, word) {
		text = json_string_value(word);
		if (text && !strcmp(before, "-uuid") && strlen(text) == 36)
			tv_copy(out, 37, text);
		before = text ? text : "";
	}
	json_decref(desc);
}

void sink_introduce(struct report *r, void *arg)
{
	struct sink *s = arg;
	struct session_register reg = {.role = SESSION_BACKUP,
				       .pid = getpid(),
				       .generation = s->job.generation,
				       .peer_port = s->job.peer.port,
				       .epoch_ms = s->job.epoch_ms,
				       .by_operator = s->job.by_operator};

	if (!s->hello)
		return;
	tv_copy(reg.vm_id, sizeof(reg.vm_id), s->job.vm_id);
	tv_copy(reg.session, sizeof(reg.session), s->job.session);
	tv_copy(reg.name, sizeof(reg.name), s->job.vm_name);
	tv_copy(reg.peer, sizeof(reg.peer), s->job.peer.name);
	tv_copy(reg.arbiter, sizeof(reg.arbiter), s->job.arbiter);
	take_uuid(s->description, reg.uuid);
	tv_copy(reg.mode, sizeof(reg.mode), s->job.mode);
	report_send(r, session_message(SESSION_OP_REGISTER, &reg));
	sink_trace_show(s);
	sink_send_stats(s);
}
