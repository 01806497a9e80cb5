/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: what the engine (failover/backup.c) asks for. */
#include "replicator/sink/sink_int.h"

#define HAND_OVER_MS 100 /* the primary's Fenced, which reports that the VM runs, has this long */

static void ask(void *arg, enum fo_question q)
{
	struct sink *s = arg;
	struct fo_claim c;

	/* A failover comes first. */
	sink_thaw(s, "the primary is silent, and a failover comes first");
	repl_beat_allow(s->beats, 0); /* each echo is a lease: none from here on */
	job_claim(&s->job, &c);
	c.had_record = true; /* or the primary died before there was one: kept for the operator */
	fo_ask_start(s->ask, q, &c);
}

static void note_promotion(struct sink *s, uint64_t generation)
{
	struct tv_err e = {0};

	if (monitor_promoted(s->monitor, generation, &e))
		tv_log(TV_WARN,
		       "the note that %s is promoted cannot be written (%s): if twinvmd dies now, "
		       "the next one ends the promoted VM",
		       s->job.vm_name, e.text);
}

static void act(void *arg, enum fo_action a, uint64_t generation)
{
	struct sink *s = arg;

	switch (a) {
	case FO_ACTION_PROMOTE:
		sink_thaw(s, "the VM is started here, and a failover comes first");
		s->job.generation = generation;
		note_promotion(s, generation);
		applier_drop_queued(s->applier);
		sink_post(s, APPLY_PROMOTE, NULL, 0, s->b.planned && !s->b.closed, NULL);
		break;
	case FO_ACTION_DISCARD:
		sink_end(s, s->exit_rc ? SESSION_FAILED : SESSION_DISCARDED, 0);
		break;
	case FO_ACTION_HAND_OVER:
		s->exit_rc = 0;
		sink_end(s, SESSION_PROMOTED, HAND_OVER_MS);
		break;
	default:
		break;
	}
}

/* When the primary's last message came; a request of it has just done so. */
static int64_t last_sign_ns(struct sink *s, enum fo_backup_event ev, int64_t now_ns)
{
	int64_t ns = s->sign_ns;

	if (ev == FO_BE_TAKE_OVER)
		return now_ns;
	if (s->conn && repl_last_rx_ns(s->conn) > ns)
		ns = repl_last_rx_ns(s->conn);
	return repl_beat_rx_ns(s->beats) > ns ? repl_beat_rx_ns(s->beats) : ns;
}

static void changed(void *arg, enum fo_backup_event ev, enum fo_backup_state from)
{
	struct sink *s = arg;
	int64_t now_ns = tv_now_ns();

	outage_changed(&s->outage, ev, s->b.state,
		       s->b.poisoned  ? "memory"
		       : s->b.planned ? "planned"
				      : NULL,
		       last_sign_ns(s, ev, now_ns), now_ns);
	tv_log(TV_INFO, "%s: %s -> %s (generation %llu, epoch %llu)", fo_backup_event_name(ev),
	       fo_backup_state_name(from), fo_backup_state_name(s->b.state),
	       (unsigned long long)s->b.generation, (unsigned long long)s->b.epoch_committed);
	sink_allow_echoes(s);
	if (!sink_is_ending(s))
		sink_send_stats(s);
}

const struct fo_backup_ops sink_engine_ops = {
	.send = sink_send_msg, .ask = ask, .act = act, .changed = changed};

void sink_on_answer(enum fo_question q, int rc, const struct fo_record *rec, const char *why,
		    void *arg)
{
	struct sink *s = arg;

	if (q == FO_ASK_LOOK) {
		sink_watch_answer(s, rc, rec, why);
		return;
	}
	if (s->has_arbiter)
		fo_watch_seen(&s->watch, rc, tv_now_ns());
	if (sink_is_ending(s))
		return;
	if (rc)
		tv_log(TV_WARN, "arbiter: %s", why);
	if (rc == TV_E_LOST)
		tv_copy(s->why.text, sizeof(s->why.text), why);
	fo_backup_answer(&s->b, tv_now_ns(), rc, rc ? 0 : rec->generation);
}
