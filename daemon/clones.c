/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a test failover, seen from outside of it. The order of its steps:
 *
 *   ASKED   the sink was asked for a still
 *   RUNS    the maker has the socket of a clone, which has its order and the still
 *   ENDS    its socket is closed, or its time is over: it is killed, its files are removed, and that is
 *           looked up until nothing is left; then the command is answered, and the history has the result
 *
 * Each step forward is made here, by the clone's messages or by a timer; nothing waits for the command.
 */
#include "daemon/clones.h"
#include "daemon/clones_int.h"
#include "daemon/cluster.h"
#include "daemon/freeze.h"
#include "daemon/health.h"
#include "daemon/rehearsals.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS (100 * TV_NS_PER_MS)
#define GRACE_NS (3 * TV_NS_PER_S)    /* beyond its own time */
#define AFTER_NS (700 * TV_NS_PER_MS) /* another look at the lag, when it is over */
#define GIVE_UP_NS (20 * TV_NS_PER_S) /* then what is left is reported, and looked at no more */
#define BESIDE_BYTES (UINT64_C(256) << 20) /* QEMU itself, beside the guest's memory */

static TAILQ_HEAD(, clone_test) tests = TAILQ_HEAD_INITIALIZER(tests);
static struct {
	int fd; /* -1: there is none */
	pid_t pid;
} maker = {.fd = -1};

static void waiter_is(struct clone_test *t, struct ctl *c);

/* ---- the list ---- */
static struct clone_test *test_of(const char *vm_id)
{
	struct clone_test *t;

	TAILQ_FOREACH(t, &tests, link)
		if (!strcmp(t->order.vm_id, vm_id))
			return t;
	return NULL;
}

bool clones_has(pid_t pid)
{
	struct clone_test *t;

	TAILQ_FOREACH(t, &tests, link)
		if (clone_has(&t->world, pid))
			return true;
	return false;
}

static void forget(struct clone_test *t)
{
	TAILQ_REMOVE(&tests, t, link);
	if (t->phase == CLONE_ASKED)
		freeze_forget(t->d, t);
	ctl_free(t->c);
	if (t->tick)
		event_free(t->tick);
	json_decref(t->report);
	json_decref(t->left);
	free(t);
}

/* ---- the command that waits ---- */
static void deaf(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)arg;
	ctl_deaf_message(c, msg, fds, n, NULL);
}

static void waiter_closed(struct ctl *c, void *arg)
{
	struct clone_test *t = arg;

	if (t->waiter == c)
		t->waiter = NULL;
	ctl_free(c);
}

static void waiter_is(struct clone_test *t, struct ctl *c)
{
	static const struct ctl_ops ops = {deaf, waiter_closed};

	t->waiter = c;
	if (c)
		ctl_set_arg(c, &ops, t);
}

static void answer(struct clone_test *t, int rc, const char *error, json_t *report)
{
	struct ctl *c = t->waiter;

	t->waiter = NULL;
	if (!c) {
		json_decref(report);
		return;
	}
	ctl_set_arg(c, &ctl_deaf, NULL);
	ctl_send(c, json_pack("{sb si so so*}", "done", 1, "rc", rc, "error", fields_text(error),
			      "report", report));
	ctl_close_when_sent(c);
}

/* ---- the end ---- */
/* All that can be done is done, and looked up. */
static void finish(struct clone_test *t)
{
	json_t *report = clones_whole_report(t);

	if (json_array_size(t->left)) {
		const struct events_about about = {.vm = t->order.vm, .vm_id = t->order.vm_id};

		events_add(t->d, EVENTS_TEST_LEFT, &about, json_pack("{sO}", "left", t->left),
			   "%s: %zu things of its test failover are left on %s, the first: %s",
			   t->order.vm, json_array_size(t->left), t->d->conf.host,
			   json_string_value(json_array_get(t->left, 0)));
	} else {
		clones_note_remove(t);
	}
	clones_tell_history(t, report);
	answer(t, t->stopped ? 0 : t->asked_rc, t->stopped ? "" : t->why, report);
	forget(t);
}

static void clean(struct clone_test *t)
{
	int64_t now_ns = tv_now_ns();

	clone_remove(&t->d->conf, t->order.vm_id, &t->world);
	json_decref(t->left);
	t->left = clone_leftovers(&t->d->conf, t->order.vm_id, &t->world);
	if (now_ns < t->ended_ns + (t->had_world ? AFTER_NS : 0))
		return;
	if (json_array_size(t->left) && now_ns < t->ended_ns + GIVE_UP_NS)
		return;
	t->lag.after_ms = clones_lag(t);
	finish(t);
}

/* The first reason counts. */
static void end(struct clone_test *t, enum rehearsal_result how, const char *why)
{
	if (t->phase == CLONE_ENDS)
		return;
	if (t->phase == CLONE_ASKED)
		freeze_forget(t->d, t);
	t->phase = CLONE_ENDS;
	t->ended_ns = tv_now_ns();
	if (t->result == REHEARSAL_RUNNING)
		t->result = how;
	if (!t->why[0] && !t->report)
		tv_copy(t->why, sizeof(t->why), why);
	clone_remove(&t->d->conf, t->order.vm_id, &t->world); /* killed at once; looked up later */
	ctl_free(t->c); /* whatever of it has not shown its process yet ends with that */
	t->c = NULL;
}

/* ---- what it says ---- */
/* It is not over yet when it lives on. */
static void on_report(struct clone_test *t, json_t *msg)
{
	const char *why = json_string_value(json_object_get(msg, "reason"));

	if (t->report)
		return;
	t->report = json_incref(msg);
	t->result = json_is_true(json_object_get(msg, "passed"))    ? REHEARSAL_PASSED
		    : json_is_true(json_object_get(msg, "refused")) ? REHEARSAL_REFUSED
								    : REHEARSAL_FAILED;
	tv_copy(t->why, sizeof(t->why), why);
	if (t->order.keep && t->waiter)
		answer(t, 0, "", clones_whole_report(t));
}

static void on_ended(struct clone_test *t, json_t *msg)
{
	const char *why = json_string_value(json_object_get(msg, "why"));

	/* One that lives on after its report has shown what it was to show. */
	if (!t->report)
		tv_copy(t->why, sizeof(t->why), why && *why ? why : "the epoch's copy has ended");
	tv_log(TV_INFO, "%s: its clone ends: %s", t->order.vm, why ? why : "");
}

static void on_exit_status(struct clone_test *t, int status)
{
	if (!t->report && (status == CLONE_STILL_ENDED || status == CLONE_DAEMON_GONE))
		t->result = REHEARSAL_CUT_SHORT;
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct clone_test *t = arg;
	const char *op = json_string_value(json_object_get(msg, "op"));

	ctl_deaf_message(c, msg, fds, n, NULL);
	op = op ? op : "";
	if (!strcmp(op, "outer")) {
		t->world.pid = (pid_t)json_integer_value(json_object_get(msg, "pid"));
		t->world.start_ticks = tv_pid_start_ticks(t->world.pid);
	} else if (!strcmp(op, "world")) {
		t->world.net = (uint64_t)json_integer_value(json_object_get(msg, "net"));
		t->world.pids = (uint64_t)json_integer_value(json_object_get(msg, "pids"));
		t->had_world = true;
	} else if (!strcmp(op, "progress") && t->waiter) {
		json_object_del(msg, "op");
		ctl_send(t->waiter, json_incref(msg));
	} else if (!strcmp(op, "report")) {
		on_report(t, msg);
	} else if (!strcmp(op, "ended")) {
		on_ended(t, msg);
	} else if (!strcmp(op, "exit")) {
		on_exit_status(t, (int)json_integer_value(json_object_get(msg, "status")));
	}
	if (!strcmp(op, "outer") || !strcmp(op, "world"))
		clones_note(t);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct clone_test *t = arg;

	ctl_free(c);
	t->c = NULL;
	end(t, REHEARSAL_FAILED, "the clone has ended without a report");
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct clone_test *t = arg;
	double lag_ms = t->phase == CLONE_RUNS ? clones_lag(t) : NAN;

	(void)fd;
	(void)what;
	if (!isnan(lag_ms) && !(t->lag.while_ms >= lag_ms))
		t->lag.while_ms = lag_ms;
	if (tv_now_ns() > t->order.ordered_ns + t->order.for_s * TV_NS_PER_S + GRACE_NS)
		end(t, REHEARSAL_FAILED, "it had to be killed: its time was over");
	if (t->phase == CLONE_ENDS)
		clean(t);
}

/* ---- the beginning ---- */
static int make(struct clone_test *t, int still_fd, struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	int fds[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "no sockets for a clone: %s", strerror(errno));
	rc = maker.fd < 0 ? -ENOTCONN : clone_make(maker.fd, fds[1]);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return tv_fail(e, rc,
			       "the process that makes clones has ended (%s): restart twinvmd, "
			       "which touches no VM",
			       tv_strerror(rc));
	}
	if (ctl_new(t->d->base, fds[0], &ops, t, &t->c))
		return tv_fail(e, -ENOMEM, "no memory for a clone");
	ctl_send_fds(t->c, clone_order_write(&t->order), &still_fd, 1);
	return 0;
}

static void on_still(void *arg, int rc, const char *why, int fd)
{
	struct clone_test *t = arg;
	struct tv_err e = {0};

	t->phase = CLONE_RUNS;
	if (rc) {
		t->asked_rc = rc;
		end(t,
		    rc == TV_E_REFUSED || rc == -EBUSY || rc == -ENOMEM ? REHEARSAL_REFUSED
									: REHEARSAL_FAILED,
		    why);
		return;
	}
	rc = make(t, fd, &e);
	close(fd);
	if (rc) {
		t->asked_rc = rc;
		end(t, REHEARSAL_FAILED, e.text);
	}
}

static int in_the_way(const struct vm *vm, struct tv_err *e)
{
	const char *why;

	if (vm->role == SESSION_PRIMARY)
		return tv_fail(e, -EINVAL, "%s runs here on %s: give the command on its backup%s%s",
			       vm->name, vm->d->conf.host, vm->saved.peer.name[0] ? ", " : "",
			       vm->saved.peer.name);
	if (test_of(vm->id))
		return tv_fail(e, -EBUSY, "a test failover of %s runs already", vm->name);
	if (health_of_host() == FO_RED) {
		(void)health_state(&why);
		return tv_fail(e, TV_E_REFUSED,
			       "no test failover on %s: its hardware is red (%s); see 'twinvm "
			       "health'",
			       vm->d->conf.host, why);
	}
	if (!vm->now.rep || strcmp(vm->now.stats.state, "protected") != 0)
		return tv_fail(e, TV_E_REFUSED,
			       "no test failover of %s: it is not protected now (%s%s%s)", vm->name,
			       vm->now.stats.state[0] ? vm->now.stats.state : "no session",
			       vm->now.stats.reason[0] ? ": " : "", vm->now.stats.reason);
	return 0;
}

/* One that ends, or is to be ended. */
static struct clone_test *add(struct daemon *d, const struct clone_order *o)
{
	const struct timeval every = tv_timeval(TICK_NS);
	struct clone_test *t = calloc(1, sizeof(*t));

	if (!t)
		abort(); /* no memory */
	*t = (struct clone_test){.d = d,
				 .order = *o,
				 .result = REHEARSAL_RUNNING,
				 .lag = {NAN, NAN, NAN},
				 .began_s = (double)cluster_now_ms() / 1e3,
				 .left = json_array()};
	t->tick = event_new(d->base, -1, EV_PERSIST, on_tick, t);
	if (!t->tick || event_add(t->tick, &every))
		abort();
	TAILQ_INSERT_TAIL(&tests, t, link);
	return t;
}

int clones_test(struct vm *vm, struct clone_order *o, const char *by, const char *note,
		struct ctl *waiter, struct tv_err *e)
{
	struct freeze_want want = {.extra_bytes = BESIDE_BYTES, .for_s = o->for_s};
	struct clone_test *t;
	int rc = in_the_way(vm, e);

	if (rc == TV_E_REFUSED)
		clones_note_refused(vm, by, note, e->text);
	if (rc)
		return rc;
	tv_copy(o->config, sizeof(o->config), vm->d->conf.path);
	tv_copy(o->vm_id, sizeof(o->vm_id), vm->id);
	tv_copy(o->vm, sizeof(o->vm), vm->name);
	tv_copy(o->peer, sizeof(o->peer), vm->saved.peer.name);
	o->ordered_ns = tv_now_ns();
	t = add(vm->d, o);
	tv_copy(t->note, sizeof(t->note), note);
	rc = freeze_ask(vm, &want, on_still, t, e);
	if (rc) {
		t->phase = CLONE_ENDS; /* nothing was asked */
		forget(t);
		clones_note_refused(vm, by, note, e->text);
		return rc;
	}
	t->lag.before_ms = clones_lag(t);
	clones_begin_history(t, by, vm);
	waiter_is(t, waiter);
	return 0;
}

int clones_stop(struct vm *vm, struct ctl *waiter, struct tv_err *e)
{
	struct clone_test *t = test_of(vm->id);

	if (!t)
		return tv_fail(e, -ENOENT, "no test failover of %s runs on %s%s%s", vm->name,
			       vm->d->conf.host,
			       vm->role == SESSION_PRIMARY ? ": its backup is " : "",
			       vm->role == SESSION_PRIMARY ? vm->saved.peer.name : "");
	/* The one who began it is answered, too. */
	if (t->waiter)
		answer(t, -EINTR, "stopped by an operator", NULL);
	t->stopped = true;
	end(t, REHEARSAL_CUT_SHORT, "stopped by an operator");
	waiter_is(t, waiter);
	return 0;
}

/* ---- the maker, and what an earlier daemon has left ---- */
void clones_begin(void)
{
	struct tv_err e = {0};
	int fds[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return;
	rc = spawn_clones(fds[1], &maker.pid, &e);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		tv_log(TV_WARN, "no test failover is possible: %s", e.text);
		return;
	}
	maker.fd = fds[0];
}

bool clones_exit(pid_t pid)
{
	if (!pid || pid != maker.pid)
		return false;
	maker.pid = 0;
	tv_close_fd(&maker.fd);
	tv_log(TV_WARN, "the process that makes clones has ended: no test failover until twinvmd "
			"is restarted");
	return true;
}

static void found(struct daemon *d, const char *vm_id, const char *name,
		  const struct clone_world *w)
{
	struct clone_order o = {.for_s = CLONE_FOR_S, .ordered_ns = tv_now_ns()};
	struct clone_test *t;

	if (test_of(vm_id))
		return;
	tv_copy(o.vm_id, sizeof(o.vm_id), vm_id);
	tv_copy(o.vm, sizeof(o.vm), name);
	tv_log(TV_WARN, "%s: a test failover of an earlier twinvmd is removed", name);
	t = add(d, &o);
	t->world = *w;
	t->phase = CLONE_RUNS;
	end(t, REHEARSAL_CUT_SHORT, "twinvmd has ended meanwhile");
}

void clones_load(struct daemon *d)
{
	struct clone_names n;

	clone_names(&d->conf, "", &n);
	if (tv_mkdirs(n.images))
		tv_log(TV_WARN, "%s cannot be made: no test failover until it can", n.images);
	clones_each_noted(d, found);
	rehearsals_cut_short(d, NULL, REHEARSAL_TEST_FAILOVER, "twinvmd has ended meanwhile");
}
