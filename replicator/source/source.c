/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the replicator on the primary
 *
 * One process, one VM, one session. A session hashes the files that its VM only reads (CD images), as
 * far as they are not known from an earlier session. Then it connects to the backup, attaches, offers
 * the VM's description, copies the VM while it runs, and streams epochs until the session ends: the user's unprotect, the backup lost, the
 * VM gone, or a higher generation somewhere else. The VM runs on untouched after every end but the
 * last. A lost backup is not waited for in here: for a new try the daemon starts a new process.
 *
 * Threads: this loop (connection, held frames, decisions), the heartbeats' (link/beat.c), the
 * capture thread (all that talks to QEMU), the encoder thread, the servers of the disks' mirrors,
 * the arbiter's. They meet in bounded queues only, and this loop never waits for one of them.
 *
 * What may be captured, released and asked for is failover/primary.c's to decide; this process
 * carries it out: output passes until epoch 1's barrier, then it is held until the engine says
 * release.
 *
 * The end begins in src_end (end.c), whatever the reason. In the usual case (FO_ACTION_LEAVE) what
 * is held is released, as by then the record says that the VM runs alone; when it has all been
 * written, filters are removed and the VM is let go; then the backup gets its Bye, and twinvmd the
 * outcome.
 */
#include "replicator/source/source.h"
#include "replicator/source/source_int.h"
#include "hv/proxy/proxy.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROXY_FD 3     /* and the next one: daemon/children.c */
#define PROXY_MS 15000 /* it waits for whoever holds the monitor */

/* ---- the daemon's orders ---- */
static void order_switch(struct source *s)
{
	struct session_answer a = {.ok = false};

	if (s->p.state != FO_P_PROTECTED)
		tv_copy(a.text, sizeof(a.text), "the VM is not protected at this moment");
	else if (s->operator.pending)
		tv_copy(a.text, sizeof(a.text), "it is just being suspended or resumed");
	else if (s->vm.stopped)
		snprintf(a.text, sizeof(a.text), "%s; %s",
			 s->operator.suspended ? SESSION_SUSPENDED
			 : s->vm.state	       ? s->vm.state->why
					       : "the VM is paused",
			 s->vm.state && !s->operator.suspended ? s->vm.state->remedy
							       : "resume it first");
	else
		a.ok = true;
	report_send(s->report, session_message(SESSION_OP_SWITCH_ANSWER, &a));
	if (!a.ok)
		return;
	s->orders.switch_over = true;
	src_event(s, FO_PE_SWITCH);
}

static void order_fence(struct source *s, const json_t *msg)
{
	struct session_text t;

	if (session_body(SESSION_OP_FENCE, msg, &t, sizeof(t), NULL) || !t.text[0])
		tv_copy(t.text, sizeof(t.text), "another host runs the VM");
	src_fence(s, t.text);
}

/* The daemon has it from the kernel, which may be earlier than QEMU. A session that is not attached yet
 * meets what is left of the page by itself. */
static void order_memory_error(struct source *s, const json_t *msg)
{
	struct session_memory_error m;

	if (!s->vm.attached || session_body(SESSION_OP_MEMORY_ERROR, msg, &m, sizeof(m), NULL) ||
	    !m.text[0])
		return;
	src_poisoned(s, (int64_t)m.at_ns, m.text);
}

/* Never longer than the operator has set; the pause budget of the mode counts as before. */
static void order_hurry(struct source *s, const json_t *msg)
{
	struct session_hurry h;

	if (session_body(SESSION_OP_HURRY, msg, &h, sizeof(h), NULL) || h.epoch_ms < 0)
		return;
	if (!h.epoch_ms || h.epoch_ms > s->job.epoch_ms)
		h.epoch_ms = s->job.epoch_ms;
	s->epochs.pace.epoch_ns = h.epoch_ms * TV_NS_PER_MS;
	s->epochs.pace.hurried = h.epoch_ms < s->job.epoch_ms;
}

static void order_leave(struct source *s)
{
	s->orders.leave = true;
	if (s->vm.attached)
		src_event(s, FO_PE_LEAVE);
	else
		src_end(s, SESSION_LEFT, 0, "", SRC_DETACH_RUNNING);
}

static void on_order(struct report *r, json_t *msg, void *arg)
{
	struct source *s = arg;

	(void)r;
	switch (session_op_of(msg)) {
	case SESSION_OP_SUSPEND:
		src_order_suspend(s, true);
		return;
	case SESSION_OP_RESUME:
		src_order_suspend(s, false);
		return;
	default:
		break;
	}
	if (s->end.leaving)
		return;
	switch (session_op_of(msg)) {
	case SESSION_OP_SWITCH:
		order_switch(s);
		break;
	case SESSION_OP_FENCE:
		order_fence(s, msg);
		break;
	case SESSION_OP_MEMORY_ERROR:
		order_memory_error(s, msg);
		break;
	case SESSION_OP_HURRY:
		order_hurry(s, msg);
		break;
	case SESSION_OP_LEAVE:
		order_leave(s);
		break;
	case SESSION_OP_VERIFY:
		src_order_verify(s, msg);
		break;
	case SESSION_OP_VERIFY_END:
		src_verify_stop(s);
		break;
	default: /* of a newer daemon */
		break;
	}
}

/* ---- start ---- */
static int map_page(struct source *s, struct tv_err *e)
{
	const char *run_dir = s->job.conf.run_dir;
	char path[CAP_PAGE_PATH];
	int rc = tv_mkdirs(run_dir);

	if (rc)
		return tv_fail(e, rc, "run directory %s: %s", run_dir, tv_strerror(rc));
	cap_page_path(run_dir, s->job.vm_id, path);
	rc = cap_page_map(path, true, &s->page);
	return rc ? tv_fail(e, rc, "%s: %s", path, tv_strerror(rc)) : 0;
}

static int start_capture(struct source *s)
{
	struct cap_conf cc = {.page = s->page,
			      .barrier = src_barrier,
			      .pausing = src_pausing,
			      .disk = src_disk,
			      .disks_copied = src_disks_copied,
			      .disks_begun = src_disks_begun,
			      .disks_wait = src_disks_wait,
			      .compare = s->verify.compare,
			      .event = src_on_cap,
			      .arg = s};
	char hashes[PATH_MAX];

	cc.vm.pid = s->job.vm_pid;
	cc.vm.start_ticks = s->job.vm_start_ticks;
	tv_copy(cc.vm.name, sizeof(cc.vm.name), s->job.vm_name);
	tv_copy(cc.vm.qmp_path, sizeof(cc.vm.qmp_path), s->job.vm_qmp);
	cc.opts.stopped = &s->page->in_pause;
	cc.opts.plaintext = s->job.conf.replica_plaintext;
	cc.opts.three_commands = getenv("TWINVM_THREE_COMMANDS") != NULL;
	if (snprintf(hashes, sizeof(hashes), "%s/hashes.json", s->job.conf.run_dir) <
	    (int)sizeof(hashes))
		s->hashes = hv_hashes_open(hashes);
	cc.opts.hashes = s->hashes;
	cc.opts.two_step = getenv("TWINVM_TWO_STEP") != NULL;
	cc.opts.net_below = !getenv("TWINVM_RELAY") && !nb_plug_probe(&s->hold.not_below);
	return cap_new(s->base, &cc, s->en, &s->cap);
}

/* The VM's monitor is shared with its tools: once that is so, this is one more client of it. */
static int await_proxy(struct source *s, struct tv_err *e)
{
	int rc = s->job.waits_for_proxy ? hv_proxy_await(PROXY_FD, PROXY_MS, e) : 0;

	if (s->job.waits_for_proxy) {
		close(PROXY_FD);
		close(PROXY_FD + 1);
	}
	return rc;
}

/* What captures, encodes and streams. */
static int set_up_stream(struct source *s, struct tv_err *e)
{
	int rc = encoder_new(s->base, s->job.conf.staging_bytes, s->job.conf.cache_bytes,
			     src_on_piece, s, &s->en);

	if (rc)
		return tv_fail(e, rc, "no memory for %llu MiB of staging",
			       (unsigned long long)(s->job.conf.staging_bytes >> 20));
	rc = cdisk_new(&s->verify.disks);
	if (!rc)
		rc = src_disks_init(s);
	if (!rc)
		rc = compare_new(&s->verify.compare);
	if (!rc)
		rc = start_capture(s);
	return rc ? tv_fail(e, rc, "no memory") : 0;
}

/* What decides. */
static int set_up_engine(struct source *s, struct tv_err *e)
{
	struct fo_arbiter_conf ac = config_arbiter(&s->job.conf, &s->times);
	int rc = fo_arbiter_open(s->job.arbiter, &ac, &s->arbiter, e);

	if (!rc)
		rc = fo_arbiter_probe(s->arbiter, e); /* no protection that could not be recorded */
	if (rc)
		return rc;
	fo_primary_init(&s->p, &s->times, &src_engine_ops, s, s->job.generation,
			s->arbiter != NULL);
	rc = fo_ask_new(s->base, fo_claim_here, s->arbiter, src_on_answer, s, &s->ask);
	return rc ? tv_fail(e, rc, "no memory") : 0;
}

static int set_up(struct source *s, struct tv_err *e)
{
	struct repl_tls_conf tls = config_tls(&s->job.conf);
	struct report_ops rops = {src_introduce, on_order, s};
	int rc = map_page(s, e);

	if (rc)
		return rc;
	rc = pace_mode_parse(s->job.mode, &s->epochs.pace.mode);
	if (rc)
		return tv_fail(e, rc, "mode '%s' is not adaptive, remus or kemari", s->job.mode);
	s->epochs.pace.epoch_ns = s->job.epoch_ms * TV_NS_PER_MS;
	s->epochs.pace.budget = s->job.conf.pause_budget;
	rc = report_new(s->base, s->job.conf.socket, &rops, &s->report);
	if (rc)
		return tv_fail(e, rc, "no memory");
	rc = await_proxy(s, e);
	if (!rc)
		rc = set_up_stream(s, e);
	if (!rc)
		rc = set_up_engine(s, e);
	if (!rc)
		rc = repl_tls_new(&tls, &s->link.tls, e);
	if (!rc)
		cap_post(s->cap, CAP_HASH, 0); /* then src_connect */
	return rc;
}

/* An epoch's time is some milliseconds, which libevent rounds timers to otherwise. */
static struct event_base *new_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base = NULL;

	if (c && !event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER))
		base = event_base_new_with_config(c);
	if (c)
		event_config_free(c);
	return base;
}

static void set_up_loop(struct source *s)
{
	char tag[64];

	snprintf(tag, sizeof(tag), "%s source %.20s", s->job.conf.host, s->job.vm_name);
	tv_log_init(tag);
	s->base = new_base();
	fo_times_init(&s->times, s->job.conf.heartbeat_ms * TV_NS_PER_MS);
	s->tick = evtimer_new(s->base, src_on_tick, s);
	s->epochs.due = evtimer_new(s->base, src_on_due, s);
	s->part.wait = evtimer_new(s->base, src_on_part_wait, s);
	s->end.settle = evtimer_new(s->base, src_on_settle, s);
	s->end.outcome = SESSION_FAILED; /* until it is known better */
}

int source_main(const char *job_text)
{
	static struct source source; /* outlives every callback */
	struct source *s = &source;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	/* A host that goes down sends it to every process, in any order: the VM's end, which comes
	 * then, is still to be reported to the backup. */
	signal(SIGTERM, SIG_IGN);
	rc = job_from_text(job_text, &s->job, &s->end.why);
	if (rc) {
		tv_log(TV_ERROR, "%s", s->end.why.text);
		return 1;
	}
	set_up_loop(s);
	rc = set_up(s, &s->end.why);
	if (rc) {
		s->end.rc = rc;
		if (s->report) { /* the daemon connects in the first turn; then it can be sent */
			event_base_loop(s->base, EVLOOP_ONCE);
			src_finish(s);
		}
		return 1;
	}
	job_raise_priority();
	src_arm(s->tick, s->times.tick_ns);
	event_base_dispatch(s->base);
	repl_beat_free(s->link.beats);
	src_stop_epochs(s);
	cap_free(s->cap);
	hv_hashes_free(s->hashes);
	encoder_free(s->en);
	compare_free(s->verify.compare);
	disks_free(s->disks);
	cdisk_free(s->verify.disks);
	return s->end.rc ? 1 : 0;
}
