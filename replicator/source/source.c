/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the replicator on the primary
 *
 * One process, one VM, one session. A session connects to the backup first (a backup that cannot be
 * reached costs the VM nothing), attaches, offers the VM's description, copies the VM while it
 * runs, and then streams epochs until the session ends: the user's unprotect, the backup lost, the
 * VM gone, or a higher generation somewhere else. The VM runs on untouched after every end but the last.
 * A lost backup is not waited for in here: the daemon starts a new process for every new try.
 *
 * Threads: this loop (connection, heartbeats, held frames, decisions), the capture thread (all that
 * talks to QEMU), the encoder thread, the arbiter's. They meet in bounded queues only.
 *
 * What may be captured, released and asked for is failover/primary.c's to decide; this process
 * carries it out: output passes until epoch 1's barrier, then it is held until the engine says
 * release.
 *
 * Order of the end (FO_ACTION_LEAVE): what is held is released, by then the record says that we run
 * alone; when it has all been written, filters are removed and the VM let go; then the backup
 * gets its Bye.
 */
#include "replicator/source/source.h"
#include "replicator/source/source_int.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the daemon's orders ---- */
static void src_switch(struct source *s)
{
	const char *no = s->p.state != FO_P_PROTECTED ? "the VM is not protected at this moment"
			 : s->vm_stopped	      ? "the VM is paused: resume it first"
						      : NULL;

	report_send(s->report, json_pack("{ss sb ss}", "op", "switch-answer", "ok", !no, "text",
					 no ? no : ""));
	if (no)
		return;
	s->user_switch = true;
	src_event(s, FO_PE_SWITCH);
}

static void on_order(struct report *r, json_t *msg, void *arg)
{
	struct source *s = arg;
	const char *op = json_string_value(json_object_get(msg, "op"));

	(void)r;
	if (!op || s->leaving)
		return;
	if (!strcmp(op, "switch")) {
		src_switch(s);
		return;
	}
	if (!strcmp(op, "fence")) {
		const char *text = json_string_value(json_object_get(msg, "text"));

		src_fence(s, text ? text : "another host runs the VM");
		return;
	}
	if (strcmp(op, "leave") != 0)
		return;
	s->user_leave = true;
	if (!s->attached) {
		src_give_up(s, "left", 0, "");
		return;
	}
	src_event(s, FO_PE_LEAVE);
}

static int set_up(struct source *s, struct tv_err *e)
{
	struct repl_opts opts = {.expect_peer = s->job.peer.name[0] ? s->job.peer.name : NULL};
	struct fo_arbiter_conf ac = config_arbiter(&s->job.conf, &s->times);
	struct report_ops rops = {src_introduce, on_order, s};
	struct cap_conf cc = {.barrier = src_barrier,
			      .pausing = src_pausing,
			      .disk = src_disk,
			      .disks_copied = src_disks_copied,
			      .disks_wait = src_disks_wait,
			      .event = src_on_cap,
			      .arg = s};
	char dir[256], path[300];
	int rc;

	rc = job_dir(&s->job.conf, s->job.vm_id, dir, sizeof(dir));
	if (rc)
		return tv_fail(e, rc, "run directory %s: %s", dir, tv_strerror(rc));
	snprintf(path, sizeof(path), "%s/page", dir);
	rc = cap_page_map(path, true, &s->page);
	if (rc)
		return tv_fail(e, rc, "%s: %s", path, tv_strerror(rc));
	cc.page = s->page;
	cc.vm.pid = s->job.vm_pid;
	cc.vm.start_ticks = s->job.vm_start_ticks;
	cc.opts.stopped = &s->page->in_pause;
	cc.opts.two_step = getenv("TWINVM_TWO_STEP") != NULL;
	cc.opts.net_below = !getenv("TWINVM_RELAY") && !nb_plug_probe(&s->net_why);
	snprintf(cc.vm.name, sizeof(cc.vm.name), "%s", s->job.vm_name);
	snprintf(cc.vm.qmp_path, sizeof(cc.vm.qmp_path), "%s", s->job.vm_qmp);
	rc = pace_mode_parse(s->job.mode, &s->pace.mode);
	if (rc)
		return tv_fail(e, rc, "mode '%s' is not adaptive, remus or kemari", s->job.mode);
	s->pace.epoch_ns = s->job.epoch_ms * TV_NS_PER_MS;
	rc = report_new(s->base, s->job.conf.socket, &rops, &s->report);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = encoder_new(s->base, s->job.conf.staging_bytes, s->job.conf.cache_bytes, src_on_piece,
			 s, &s->en);
	if (rc)
		return tv_fail(e, rc, "no memory for %llu MiB of staging",
			       (unsigned long long)(s->job.conf.staging_bytes >> 20));
	rc = src_disks_init(s);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = cap_new(s->base, &cc, s->en, &s->cap);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = fo_arbiter_open(s->job.arbiter, &ac, &s->arbiter, e);
	if (!rc)
		rc = fo_arbiter_probe(s->arbiter, e); /* no protection that could not be recorded */
	if (rc)
		return rc;
	fo_primary_init(&s->p, &s->times, &src_engine_ops, s, s->job.generation,
			s->arbiter != NULL);
	rc = fo_ask_new(s->base, s->arbiter, src_on_answer, s, &s->ask);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = repl_tls_new(s->job.conf.ca, s->job.conf.cert, s->job.conf.key, &s->tls, e);
	if (rc)
		return rc;
	return repl_connect(s->base, s->tls, s->job.peer.address, s->job.peer.port, &opts,
			    &src_link_ops, s, &s->conn, e);
}

int source_main(const char *job_text)
{
	static struct source source; /* outlives every callback */
	struct source *s = &source;
	char tag[64];
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = job_from_text(job_text, &s->job, &s->why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->why.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s source %.20s", s->job.conf.host, s->job.vm_name);
	tv_log_init(tag);
	s->base = event_base_new();
	fo_times_init(&s->times, s->job.conf.heartbeat_ms * TV_NS_PER_MS);
	s->tick = evtimer_new(s->base, src_on_tick, s);
	s->due = evtimer_new(s->base, src_on_due, s);
	s->part_wait = evtimer_new(s->base, src_on_part_wait, s);
	s->settle = evtimer_new(s->base, src_on_settle, s);
	s->outcome = "failed";
	rc = set_up(s, &s->why);
	if (rc) {
		s->exit_rc = rc;
		if (s->report) { /* wait for the daemon's ear, then say it */
			event_base_loop(s->base, EVLOOP_ONCE);
			src_finish(s);
		}
		return 1;
	}
	job_raise_priority();
	src_arm(s->tick, s->times.tick_ns);
	event_base_dispatch(s->base);
	src_stop_epochs(s);
	cap_free(s->cap);
	encoder_free(s->en);
	disks_free(s->disks);
	return s->exit_rc ? 1 : 0;
}
