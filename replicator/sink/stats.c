/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: what it reports to its daemon. */
#include "replicator/sink/sink_int.h"

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
	case FO_B_GONE:
		return "stopped";
	default:
		return "protected";
	}
}

void sink_send_stats(struct sink *s)
{
	report_send(s->report, json_pack("{ss ss ss sI sI sI sf ss sb}", "op", "stats", "state",
					 public_state(s), "core", fo_backup_state_name(s->b.state),
					 "epoch_running", (json_int_t)s->b.epoch_open,
					 "epoch_committed", (json_int_t)s->b.epoch_committed,
					 "wire_bytes", (json_int_t)s->rx_bytes, "progress",
					 s->b.state == FO_B_SYNCING ? 0.0 : 1.0, "reason",
					 s->why.text, "told", s->told));
}

void sink_introduce(struct report *r, void *arg)
{
	struct sink *s = arg;

	if (!s->hello)
		return;
	report_send(r, json_pack("{ss ss ss ss ss sI sI ss ss si ss sI ss si si ss si}", "op",
				 "register", "role", "backup", "vm_id", s->job.vm_id, "name",
				 s->job.vm_name, "peer", s->job.peer.name, "pid",
				 (json_int_t)getpid(), "generation", (json_int_t)s->job.generation,
				 "session", s->job.session, "arbiter", s->job.arbiter,
				 "standby_pid", (int)s->vm.pid, "dir", s->dir, "standby_start",
				 (json_int_t)s->vm.start_ticks, "qmp", s->vm.qmp_path, "slot",
				 (int)s->slot, "peer_port", (int)s->job.peer.port, "mode",
				 s->job.mode, "epoch_ms", s->job.epoch_ms));
	sink_send_stats(s);
}
