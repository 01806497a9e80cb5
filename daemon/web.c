/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that serves the dashboard and metrics (web/): started, started again, and sent what
 * this daemon knows. The daemon never waits for it. A snapshot goes out only when that process has
 * reported that it has the one before, so that it never reads old ones: with each tick while it says
 * that somebody looks, else with each IDLE_TICKS. An event for which there is no room is left out, and
 * can be had later by its id. One that says nothing for HUNG_TICKS is killed. That process has no rights
 * and reads what strangers send, so what it asks for is one of a few commands.
 */
#include "daemon/commands.h"
#include "daemon/cluster.h"
#include "daemon/health.h"
#include "daemon/tally.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS 500
#define IDLE_TICKS 4 /* while nobody looks: what charts and scrapers need */
#define LOOKS_NS (5 * TV_NS_PER_S)
#define HUNG_TICKS 20 /* turns of this loop, not time: this daemon may have stood still itself */
#define FIRST_PAUSE_NS TV_NS_PER_S
#define LONGEST_PAUSE_NS (60 * TV_NS_PER_S)
#define LIVES_NS (30 * TV_NS_PER_S) /* one that has lived so long may die at once again */
#define CERTIFICATES_NS (60 * TV_NS_PER_S)
#define EVENTS_ROOM_BYTES (1u << 20)
#define MAX_COMMANDS 32

static struct web_child { /* one a daemon */
	struct daemon *d;
	pid_t pid; /* 0: none */
	struct ctl *c;
	struct event *tick;
	unsigned unseen;  /* ticks since it was sent a snapshot that it has not taken; 0: it has */
	unsigned idle;	  /* ticks since the last snapshot */
	int64_t looks_ns; /* the last report of its that somebody looks; 0: never */
	int64_t started_ns, next_ns, pause_ns;
	bool restart; /* the configuration has changed */
} child;

/* ---- what it asks for ---- */
static void command_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	web_command(arg, c, msg);
}

static void command_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

/* ---- what it gets ---- */
static json_t *members_json(void)
{
	struct fo_host seen[FO_MAX_HOSTS];
	unsigned n = members_seen(seen);
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{ss ss sI sI ss}", "name", seen[i].name,
						      "address", seen[i].address, "free_mib",
						      (json_int_t)seen[i].free_mib, "cpus",
						      (json_int_t)seen[i].cpus, "health",
						      fo_health_name(seen[i].health)));
	return list;
}

static json_t *peers_json(const struct config *c)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->peer_count; i++)
		json_array_append_new(list,
				      json_pack("{ss ss si}", "name", c->peers[i].name, "address",
						c->peers[i].host, "port", (int)c->peers[i].port));
	return list;
}

/* Read anew once a minute: somebody renews them in time. */
static json_t *certificates(const struct config *c)
{
	const struct {
		const char *what, *path;
	} files[] = {{"host", c->cert}, {"ca", c->ca}, {"dashboard", c->dashboard_cert}};
	static json_t *list;
	static int64_t read_ns;
	double ends_s;

	if (list && tv_now_ns() - read_ns < CERTIFICATES_NS)
		return json_incref(list);
	read_ns = tv_now_ns();
	json_decref(list);
	list = json_object();
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!config_expiry(files[i].path, &ends_s))
			json_object_set_new(list, files[i].what, json_real(ends_s));
	return json_incref(list);
}

/* As metrics have it. */
static json_t *maintenance(struct daemon *d)
{
	bool on = maintenance_is(d);
	unsigned left = 0;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		left += on && vm->role == SESSION_PRIMARY;
	return json_pack("{si si}", "on", (int)on, "left", (int)left);
}

static json_t *head(struct daemon *d)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return json_pack("{ss ss ss si sf sf ss so so so so so so}", "op", "snapshot", "host",
			 d->conf.host, "version", TV_VERSION, "protocol", (int)REPL_PROTOCOL,
			 "wall_s", (double)wall.tv_sec + (double)wall.tv_nsec / 1e9, "uptime_s",
			 (double)tv_now_ns() / 1e9, "arbiter", d->conf.arbiter, "members",
			 members_json(), "peers", peers_json(&d->conf), "process", tally_process(d),
			 "certificates", certificates(&d->conf), "health", health_metrics(d),
			 "maintenance", maintenance(d));
}

static void send_snapshot(struct daemon *d)
{
	json_t *others = cluster_json(d), *other;
	struct vm *vm;
	size_t i;

	ctl_send(child.c, head(d));
	TAILQ_FOREACH(vm, &d->vms, link)
		ctl_send(child.c, json_pack("{ss so* so*}", "op", "vm", "vm", vm_status(vm),
					    "tally", tally_json(vm)));
	ctl_send(child.c, json_pack("{ss so}", "op", "self", "view", view_json(d)));
	json_array_foreach(others, i, other)
		ctl_send(child.c, json_pack("{ss sO}", "op", "other", "other", other));
	ctl_send(child.c, json_pack("{ss}", "op", "end"));
	json_decref(others);
}

static void feed_now(struct daemon *d)
{
	child.unseen = 1;
	child.idle = 0;
	send_snapshot(d);
}

static bool is_looked_at(void)
{
	return child.looks_ns && tv_now_ns() - child.looks_ns < LOOKS_NS;
}

/* However often it reports that, there are no more snapshots than ticks, and one when that begins. */
static void somebody_looks(void)
{
	bool before = is_looked_at();

	child.looks_ns = tv_now_ns();
	if (!before && !child.unseen)
		feed_now(child.d);
}

static void on_event(const json_t *event, void *arg)
{
	(void)arg;
	if (child.c && ctl_queued_bytes(child.c) < EVENTS_ROOM_BYTES)
		ctl_send(child.c, json_pack("{ss sO}", "op", "event", "event", (json_t *)event));
}

/* ---- what it says ---- */
static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	static const struct ctl_ops ops = {command_message, command_closed};
	const char *op = command_text(msg, "op", "");
	struct ctl *asks;

	(void)c;
	if (!strcmp(op, "seen"))
		child.unseen = 0;
	else if (!strcmp(op, "looks"))
		somebody_looks();
	for (unsigned i = 0; i < n; i++) {
		if (i || strcmp(op, "command") != 0) {
			close(fds[i]);
			continue;
		}
		if (ctl_new(child.d->base, fds[i], &ops, arg, &asks))
			tv_log(TV_ERROR, "no memory for a command of the dashboard");
	}
}

static void on_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
	child.c = NULL;
	if (child.pid > 0)
		kill(child.pid, SIGKILL);
}

/* ---- its life ---- */
static void start(struct daemon *d)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct tv_err e = {0};
	int fds[2], rc;

	child.unseen = 0;
	child.looks_ns = 0;
	child.started_ns = tv_now_ns();
	child.next_ns = child.started_ns + child.pause_ns;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)) {
		tv_log(TV_ERROR, "no sockets for the dashboard: %s", strerror(errno));
		return;
	}
	rc = spawn_web(d, fds[1], &child.pid, &e);
	close(fds[1]);
	if (!rc && ctl_new(d->base, fds[0], &ops, d, &child.c))
		rc = tv_fail(&e, -ENOMEM, "no memory for the dashboard");
	else if (rc)
		close(fds[0]);
	if (rc)
		tv_log(TV_ERROR, "%s", e.text);
}

/* A process that does not turn its loop shows people old data, or nothing. */
static void feed_child(struct daemon *d)
{
	if (!child.unseen && (is_looked_at() || ++child.idle >= IDLE_TICKS)) {
		feed_now(d);
	} else if (!child.unseen) {
		return;
	} else if (child.unseen++ == HUNG_TICKS && child.pid > 0) {
		tv_log(TV_WARN,
		       "the dashboard's process has taken no snapshot for %d s: it is killed",
		       HUNG_TICKS * EVERY_MS / 1000);
		kill(child.pid, SIGKILL);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct config_dashboard at;
	struct daemon *d = arg;
	struct tv_err e;

	(void)fd;
	(void)what;
	if (child.c)
		feed_child(d);
	if (!child.pid && !child.c && tv_now_ns() >= child.next_ns &&
	    !config_dashboard(&d->conf, &at, &e) && at.on)
		start(d);
}

bool web_exit(pid_t pid, int status)
{
	if (!pid || pid != child.pid)
		return false;
	child.pid = 0;
	if (child.restart || tv_now_ns() - child.started_ns > LIVES_NS)
		child.pause_ns = FIRST_PAUSE_NS;
	else if (child.pause_ns < LONGEST_PAUSE_NS)
		child.pause_ns *= 2;
	child.next_ns = tv_now_ns() + (child.restart ? 0 : child.pause_ns);
	if (!child.restart)
		tv_log(TV_WARN, "the dashboard's process ended (%s %d); the next one in %d s",
		       WIFSIGNALED(status) ? "signal" : "exit status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		       (int)(child.pause_ns / TV_NS_PER_S));
	child.restart = false;
	return true;
}

void web_conf(void)
{
	if (child.pid <= 0)
		return;
	child.restart = true;
	kill(child.pid, SIGTERM);
}

void web_start(struct daemon *d)
{
	const struct timeval every = tv_timeval(EVERY_MS * TV_NS_PER_MS);

	child = (struct web_child){.d = d, .pause_ns = FIRST_PAUSE_NS};
	events_on_new(d, on_event, NULL);
	child.tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	event_add(child.tick, &every);
	on_tick(-1, 0, d);
}
