/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a drill
 *
 *   OUT    the switch is ordered, as by `twinvm failover`; its answer ends this
 *   AWAY   the other host runs the VM, and protects it again: this host becomes its backup
 *   BACK   this host is a whole backup: its view has the wish to get the VM back, until it has it
 *   AGAIN  the VM runs here: it is to be protected again
 *
 * A look every LOOK_MS finds out what has come; nothing is believed but what this host's own entry of the VM
 * states. The drill ends after LIMIT_S at the latest: the VM stays where it is then, protected or not as
 * status shows it, and the report has the remedy. All figures but the other host's outage are measured here.
 *
 * The next daemon continues the drill of one that has died: the history has the entry that runs, with the
 * generation at the start; where the VM is, and with which generation, shows how far it has come. What had
 * been measured is lost, and nobody waits.
 */
#include "daemon/cluster.h"
#include "daemon/commands.h"
#include "daemon/drills.h"
#include "daemon/passing.h"
#include "daemon/rehearsals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 100
#define LIMIT_S 1800
#define MAX_DRILLS 4
#define SWITCH_S \
	60 /* a switch that an earlier daemon has ordered has begun by then, or never does */

enum phase { OUT, AWAY, BACK, AGAIN };
static const char *const phase_words[] = {"switching", "away", "returning", "protecting again"};

struct drill {
	LIST_ENTRY(drill) link;
	struct daemon *d;
	struct ctl *c; /* NULL: nobody waits */
	char id[33], name[128], peer[64];
	uint64_t history, generation; /* generation: that it had at the start */
	enum phase phase;
	int64_t began_ns, phase_ns;
	bool again;  /* it was begun by an earlier daemon */
	bool marked; /* the pinger's stretch of the way out has ended */
	struct pinger *pinger;
	json_t *figures;
	struct rehearsal end; /* while the last figures come */
};
static LIST_HEAD(drill_list, drill) drills = LIST_HEAD_INITIALIZER(drills);
static struct event *tick;

static struct drill *drill_of(const char *vm_id)
{
	struct drill *r;

	LIST_FOREACH(r, &drills, link)
		if (!strcmp(r->id, vm_id))
			return r;
	return NULL;
}

bool drills_has(const struct daemon *d, const char *vm_id)
{
	(void)d;
	return drill_of(vm_id) != NULL;
}

/* ---- figures ---- */
static double since_s(int64_t ns)
{
	return (double)((tv_now_ns() - ns) / TV_NS_PER_MS) / 1e3;
}

static void set(struct drill *r, const char *name, json_t *v)
{
	(void)!json_object_set_new(r->figures, name, v);
}

static json_t *outage_here(struct drill *r)
{
	const struct events_query q = {.vm = r->id, .limit = 20, .newest = true, .failovers = true};
	json_t *list = events_read(r->d, &q, NULL);
	json_t *o = drill_outage_of(list, r->id, r->generation + 2);

	json_decref(list);
	return o;
}

static void note_gap(void *arg, bool ok, const struct pinger_gap *gap, const char *name)
{
	struct drill *r = arg;

	if (ok && gap->answered)
		set(r, name,
		    json_pack("{sf si si}", "gap_ms", gap->longest_ms, "probes", (int)gap->sent,
			      "answers", (int)gap->answered));
	else
		set(r, name, json_pack("{si si}", "probes", (int)gap->sent, "answers", 0));
}

static void on_gap_out(void *arg, bool ok, const struct pinger_gap *gap)
{
	note_gap(arg, ok, gap, "client_out");
}

/* ---- the end ---- */
static void answer(struct drill *r, int rc, const char *error, json_t *rehearsal)
{
	if (!r->c)
		return;
	ctl_send(r->c, json_pack("{sb si so so*}", "done", 1, "rc", rc, "error", fields_text(error),
				 "rehearsal", rehearsal ? json_incref(rehearsal) : NULL));
	ctl_set_arg(r->c, &ctl_deaf, NULL);
	ctl_close_when_sent(r->c);
	r->c = NULL;
}

static void close_drill(struct drill *r)
{
	const struct rehearsal *kept;
	json_t *shown;
	int rc = r->end.result == REHEARSAL_PASSED ? 0 : -EIO;

	set(r, "total_s", json_real(since_s(r->began_ns)));
	r->end.figures = r->figures;
	r->figures = NULL;
	(void)rehearsals_end(r->d, r->id, r->name, r->history, &r->end);
	kept = rehearsals_last(r->d, r->id, REHEARSAL_DRILL, false);
	shown = kept ? rehearsal_json(kept, true) : NULL;
	answer(r, rc, rc ? r->end.reason : "", shown);
	json_decref(shown);
	pinger_stop(r->pinger);
	LIST_REMOVE(r, link);
	free(r);
}

static void on_gap_back(void *arg, bool ok, const struct pinger_gap *gap)
{
	struct drill *r = arg;

	note_gap(r, ok, gap, r->marked ? "client_back" : "client_out");
	close_drill(r);
}

static void finish(struct drill *r, enum rehearsal_result result, const char *fmt, ...)
	TV_PRINTF(3, 4);
static void finish(struct drill *r, enum rehearsal_result result, const char *fmt, ...)
{
	va_list ap;

	r->end.result = result;
	va_start(ap, fmt);
	vsnprintf(r->end.reason, sizeof(r->end.reason), fmt, ap);
	va_end(ap);
	if (r->pinger)
		pinger_mark(r->pinger, on_gap_back, r);
	else
		close_drill(r);
}

/* ---- from phase to phase ---- */
static void enter(struct drill *r, enum phase p)
{
	r->phase = p;
	r->phase_ns = tv_now_ns();
	if (r->c)
		ctl_send(r->c,
			 json_pack("{ss sf}", "state", phase_words[p], "progress", (double)p / 4));
}

static void on_switched(struct daemon *d, int rc, const char *error, json_t *last, void *arg)
{
	char *id = arg;
	struct drill *r = drill_of(id);

	(void)d;
	(void)last;
	free(id);
	if (!r || r->phase != OUT || r->end.result)
		return;
	set(r, "out_s", json_real(since_s(r->phase_ns)));
	if (rc)
		finish(r, rc == TV_E_REFUSED ? REHEARSAL_REFUSED : REHEARSAL_FAILED,
		       "the switch to %s failed: %.180s; see 'twinvm status'", r->peer, error);
	else
		enter(r, AWAY);
}

/* Ordered by an earlier daemon, whose command nobody answers. */
static void look_out(struct drill *r, const struct vm *vm)
{
	if (!vm || vm->role == SESSION_BACKUP || vm->saved.generation != r->generation)
		enter(r, AWAY);
	else if (since_s(r->phase_ns) > SWITCH_S)
		finish(r, REHEARSAL_FAILED,
		       "twinvmd ended before the switch, which has not happened: %s runs here",
		       r->name);
}

static void look_away(struct drill *r, const struct vm *vm)
{
	if (!vm || vm->role != SESSION_BACKUP || vm->phase != VM_RUNNING ||
	    vm->saved.generation != r->generation + 1 || strcmp(vm->now.stats.state, "protected"))
		return;
	set(r, "away_protected_s", json_real(since_s(r->phase_ns)));
	if (r->pinger && !r->marked)
		pinger_mark(r->pinger, on_gap_out, r);
	r->marked = true;
	enter(r, BACK);
}

static void look_back(struct drill *r, const struct vm *vm)
{
	json_t *o;

	if (!vm || vm->role != SESSION_PRIMARY || vm->saved.generation <= r->generation)
		return;
	set(r, "back_s", json_real(since_s(r->phase_ns)));
	o = outage_here(r);
	if (vm->saved.generation != r->generation + 2 ||
	    (o && !json_is_true(json_object_get(o, "planned")))) {
		json_decref(o);
		finish(r, REHEARSAL_FAILED,
		       "the VM runs here again, but not by the planned switch: see 'twinvm events'");
		return;
	}
	if (o)
		set(r, "back", o);
	enter(r, AGAIN);
}

static void look_again(struct drill *r, const struct vm *vm)
{
	if (!vm || vm->role != SESSION_PRIMARY || strcmp(vm->now.stats.state, "protected") != 0)
		return;
	set(r, "again_protected_s", json_real(since_s(r->phase_ns)));
	set(r, "after", drill_numbers(&vm->now.stats));
	finish(r, REHEARSAL_PASSED, "there and back in %.1f s", since_s(r->began_ns));
}

/* The other host reports it in its view, a moment after. */
static void look_for_outage(struct drill *r)
{
	json_t *list, *o;

	if (r->phase == OUT || json_object_get(r->figures, "out"))
		return;
	list = cluster_peer_failovers(r->d, r->peer);
	o = drill_outage_of(list, r->id, r->generation + 1);
	if (o)
		set(r, "out", o);
}

static void over_time(struct drill *r, const struct vm *vm)
{
	const char *why = vm && vm->saved.reason[0] ? vm->saved.reason
			  : vm			    ? vm->now.stats.state
						    : "it has no copy of the VM";

	switch (r->phase) {
	case OUT:
		finish(r, REHEARSAL_FAILED, "the switch to %s has not ended: see 'twinvm status'",
		       r->peer);
		break;
	case AWAY:
		finish(r, REHEARSAL_FAILED,
		       "the VM runs on %s, and %s is not its backup yet (%.80s): when it is, "
		       "'twinvm failover %.60s' on %s brings it back",
		       r->peer, r->d->conf.host, why, r->name, r->peer);
		break;
	case BACK:
		finish(r, REHEARSAL_FAILED,
		       "the VM runs on %s, protected, and was not given back: 'twinvm failover "
		       "%.60s' on %s brings it back",
		       r->peer, r->name, r->peer);
		break;
	case AGAIN:
		finish(r, REHEARSAL_FAILED, "the VM is back, and not protected yet: %.200s", why);
		break;
	}
}

static void look_at(struct drill *r)
{
	const struct vm *vm = vm_by_id(r->d, r->id);

	if (r->end.result) /* its last figures come */
		return;
	if (!r->peer[0] && vm)
		tv_copy(r->peer, sizeof(r->peer), vm->saved.peer.name);
	look_for_outage(r);
	if (since_s(r->began_ns) > LIMIT_S)
		over_time(r, vm);
	else if (r->phase == OUT && r->again)
		look_out(r, vm);
	else if (r->phase == AWAY && vm && vm->role == SESSION_PRIMARY &&
		 vm->saved.generation > r->generation)
		finish(r, REHEARSAL_FAILED,
		       "%s was lost with the VM, which failed over to this host: see 'twinvm "
		       "events'",
		       r->peer);
	else if (r->phase == AWAY)
		look_away(r, vm);
	else if (r->phase == BACK)
		look_back(r, vm);
	else if (r->phase == AGAIN)
		look_again(r, vm);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(LOOK_MS * TV_NS_PER_MS);
	struct drill *r, *next;

	(void)fd;
	(void)what;
	event_add(tick, &tv);
	for (r = LIST_FIRST(&drills); r; r = next) {
		next = LIST_NEXT(r, link);
		look_at(r);
	}
	drill_back_look(arg);
}

/* One of an earlier daemon: continued, if it is not too old. */
static void continue_one(struct daemon *d, const char *vm_id, void *arg)
{
	const struct rehearsal *h = rehearsals_running(d, vm_id, REHEARSAL_DRILL);
	const struct vm *vm = vm_by_id(d, vm_id);
	double age_s;
	struct drill *r;

	(void)arg;
	if (!h)
		return;
	age_s = (double)cluster_now_ms() / 1e3 - h->started;
	if (!h->generation || !(age_s >= 0 && age_s < LIMIT_S)) {
		rehearsals_cut_short(d, vm_id, REHEARSAL_DRILL,
				     "twinvmd ended during the drill: the VM is where 'twinvm "
				     "status' shows it, 'twinvm failover' brings it back");
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		abort(); /* as vm_new */
	*r = (struct drill){.d = d,
			    .history = h->id,
			    .generation = h->generation,
			    .again = true,
			    .began_ns = tv_now_ns() - (int64_t)(age_s * 1e9),
			    .phase_ns = tv_now_ns(),
			    .figures = json_pack("{sb}", "continued", 1)};
	tv_copy(r->id, sizeof(r->id), vm_id);
	tv_copy(r->name, sizeof(r->name), vm ? vm->name : vm_id);
	/* Back with a higher generation: the next look judges by which way. */
	if (vm && vm->role == SESSION_PRIMARY && vm->saved.generation > r->generation)
		r->phase = BACK;
	LIST_INSERT_HEAD(&drills, r, link);
	tv_log(TV_INFO, "%s: its drill, begun by an earlier twinvmd, continues", r->name);
}

void drills_start(struct daemon *d)
{
	rehearsals_each(d, continue_one, NULL);
	drill_back_start(d);
	tick = evtimer_new(d->base, on_tick, d);
	if (tick)
		event_active(tick, EV_TIMEOUT, 0);
}

json_t *drills_json(struct daemon *d)
{
	json_t *to = NULL;
	struct drill *r;

	(void)d;
	LIST_FOREACH(r, &drills, link) {
		if (r->phase != BACK || r->end.result)
			continue;
		to = to ? to : json_array();
		(void)!json_array_append_new(to, json_pack("{ss sI}", "id", r->id, "generation",
							   (json_int_t)(r->generation + 1)));
	}
	return to;
}

/* ---- the start ---- */
static void waiter_closed(struct ctl *c, void *arg)
{
	struct drill *r = arg;

	ctl_free(c);
	r->c = NULL;
}

static int begin(struct vm *vm, struct ctl *c, json_t *msg, struct drill **out, struct tv_err *e)
{
	const char *ping = command_text(msg, "ping", "");
	struct pinger *pinger = NULL;
	char bridge[16];
	struct drill *r;
	unsigned n = 0;
	int rc = 0;

	LIST_FOREACH(r, &drills, link)
		n++;
	if (n >= MAX_DRILLS)
		return tv_fail(e, -EBUSY, "%u other drills run on %s", n, vm->d->conf.host);
	drill_find_bridge(vm, bridge, sizeof(bridge));
	if (ping[0])
		rc = pinger_start(vm->d, bridge, ping, &pinger, e);
	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		abort(); /* as vm_new */
	*r = (struct drill){.d = vm->d,
			    .c = c,
			    .generation = vm->saved.generation,
			    .began_ns = tv_now_ns(),
			    .pinger = pinger,
			    .figures = json_object()};
	tv_copy(r->id, sizeof(r->id), vm->id);
	tv_copy(r->name, sizeof(r->name), vm->name);
	tv_copy(r->peer, sizeof(r->peer), vm->saved.peer.name);
	LIST_INSERT_HEAD(&drills, r, link);
	*out = r;
	return 0;
}

void command_drill(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, waiter_closed};
	struct vm *vm = command_vm(d, c, msg);
	struct rehearsal h = {.kind = REHEARSAL_DRILL};
	struct tv_err e = {0};
	struct drill *r = NULL;
	int rc;

	if (!vm || (vm->role == SESSION_BACKUP && pass_on(vm, c, msg)))
		return;
	tv_copy(h.by, sizeof(h.by), command_text(msg, "by", "operator"));
	tv_copy(h.note, sizeof(h.note), command_text(msg, "note", ""));
	h.generation = vm->saved.generation;
	h.epoch = vm->now.stats.epoch_committed;
	rc = drill_may_begin(vm, &e);
	if (!rc)
		rc = begin(vm, c, msg, &r, &e);
	if (rc == TV_E_REFUSED) {
		tv_copy(h.reason, sizeof(h.reason), e.text);
		rehearsals_refused(d, vm->id, vm->name, &h);
	}
	if (rc) {
		command_end(c, rc, "%s", e.text);
		return;
	}
	if (json_is_false(json_object_get(msg, "wait"))) {
		r->c = NULL;
		command_end(c, 0, "%s", "");
	} else {
		ctl_set_arg(c, &ops, r);
	}
	r->history = rehearsals_begin(d, vm->id, vm->name, &h);
	set(r, "before", drill_numbers(&vm->now.stats));
	if (r->pinger)
		pinger_mark(r->pinger, NULL, NULL);
	enter(r, OUT);
	rc = inner_run(d, json_pack("{ss ss}", "op", "failover", "vm", r->id), on_switched,
		       strdup(r->id));
	if (rc)
		finish(r, REHEARSAL_FAILED, "the switch could not be ordered: %s", tv_strerror(rc));
}
