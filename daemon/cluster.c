/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the other hosts know, by their last answer. A process asks them (replicator/watch) and reports
 * here. It is shown; what a host says of its own hardware keeps it from being chosen as a backup, and
 * nothing else is decided by it. A host that has been known since this daemon began, or
 * since the configuration was read, stays listed; when it does not answer, since when and why.
 */
#include "daemon/cluster.h"
#include "daemon/roster.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVERY_NS (2 * TV_NS_PER_S) /* the list of hosts is sent, or the process started again */

struct other {
	LIST_ENTRY(other) link;
	char name[64], address[128], why[512];
	uint16_t port;
	json_t *view; /* NULL: it has never answered */
	double rtt_ms;
	bool answers, noted; /* noted: what the last event says */
	int64_t since_ms;    /* it answers, or does not */
	int64_t seen_ns;     /* when the view came */
};
struct cluster {
	struct daemon *d;
	struct ctl *c; /* NULL: the process does not run */
	pid_t pid;
	struct event *tick;
	bool arbiter_away; /* the last event says */
	LIST_HEAD(, other) others;
};

int64_t cluster_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct other *other_of(struct cluster *k, const char *name)
{
	struct other *o;

	LIST_FOREACH(o, &k->others, link)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

static void set_answers(struct other *o, bool answers, const char *why)
{
	if (o->answers != answers)
		o->since_ms = cluster_now_ms();
	o->answers = answers;
	tv_copy(o->why, sizeof(o->why), why);
}

static void note_answer(struct cluster *k, struct other *o)
{
	const struct events_about about = {.peer = o->name};

	if (o->noted == o->answers)
		return;
	o->noted = o->answers;
	events_add(k->d, o->answers ? EVENTS_PEER_SEEN : EVENTS_PEER_LOST, &about, NULL,
		   "%s %s%s%s", o->name,
		   o->answers ? "shows what it knows" : "does not show what it knows",
		   o->why[0] ? ": " : "", o->why);
}

/* Whether members.c reaches it. */
static void note_arbiter(struct cluster *k)
{
	struct members_state m;
	bool away;

	members_state(&m);
	away = m.asked && !m.answers;
	if (away == k->arbiter_away)
		return;
	k->arbiter_away = away;
	events_add(k->d, away ? EVENTS_ARBITER_UNREACHABLE : EVENTS_ARBITER_BACK, NULL, NULL,
		   "the arbiter %s %s%s", k->d->conf.arbiter,
		   away ? "cannot be asked: " : "answers again", away ? m.why : "");
}

/* That says nothing of them: no event. */
static void none_answers(struct cluster *k, const char *why)
{
	struct other *o;

	LIST_FOREACH(o, &k->others, link)
		set_answers(o, false, why);
}

/* ---- which hosts ---- */
static void know(struct cluster *k, const char *name, const char *address, uint16_t port)
{
	struct other *o = other_of(k, name);
	struct tv_err why;

	if (!port || !address[0] || config_admit(name, &k->d->conf, &why))
		return;
	if (!o) {
		o = calloc(1, sizeof(*o));
		if (!o)
			return;
		tv_copy(o->name, sizeof(o->name), name);
		tv_copy(o->why, sizeof(o->why), "it was not asked yet");
		o->since_ms = cluster_now_ms();
		LIST_INSERT_HEAD(&k->others, o, link);
	}
	tv_copy(o->address, sizeof(o->address), address);
	o->port = port;
}

/* What is configured counts more than what the arbiter has. */
static void know_all(struct cluster *k)
{
	const struct config *c = &k->d->conf;
	struct fo_host seen[FO_MAX_HOSTS];
	unsigned n = members_seen(seen);
	char host[128];
	uint16_t port;

	for (unsigned i = 0; i < n; i++)
		if (!config_address(seen[i].address, host, sizeof(host), &port))
			know(k, seen[i].name, host, port);
	for (unsigned i = 0; i < c->peer_count; i++)
		know(k, c->peers[i].name, c->peers[i].host, c->peers[i].port);
}

static void send_hosts(struct cluster *k)
{
	json_t *list = json_array();
	struct other *o;

	LIST_FOREACH(o, &k->others, link)
		(void)!json_array_append_new(
			list, json_pack("{so so si}", "name", fields_text(o->name), "address",
					fields_text(o->address), "port", (int)o->port));
	ctl_send(k->c, json_pack("{ss so}", "op", "hosts", "hosts", list));
}

/* ---- the process ---- */
static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	const char *name = json_string_value(json_object_get(msg, "host"));
	const char *why = json_string_value(json_object_get(msg, "why"));
	json_t *view = json_object_get(msg, "view");
	struct cluster *k = arg;
	struct other *o = name ? other_of(k, name) : NULL;

	ctl_deaf_message(c, msg, fds, n, NULL);
	if (!o)
		return;
	if (!json_is_object(view)) {
		set_answers(o, false, why ? why : "");
		note_answer(k, o);
		return;
	}
	roster_heard(k->d, o->name, json_object_get(view, "cluster"));
	json_object_del(view, "cluster");
	json_decref(o->view);
	o->view = json_incref(view);
	o->seen_ns = tv_now_ns();
	o->rtt_ms = json_number_value(json_object_get(msg, "rtt_ms"));
	set_answers(o, true, "");
	note_answer(k, o);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct cluster *k = arg;

	ctl_free(c);
	k->c = NULL;
	none_answers(k, "the process that asks other hosts has ended; it is started again");
}

static void start(struct cluster *k)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct tv_err e = {0};
	int fds[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return;
	rc = spawn_watch(k->d, fds[1], &k->pid, &e);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		tv_log(TV_WARN, "other hosts are not asked what they know: %s", e.text);
		return;
	}
	evutil_make_socket_nonblocking(fds[0]);
	if (ctl_new(k->d->base, fds[0], &ops, k, &k->c))
		k->c = NULL;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(EVERY_NS);
	struct cluster *k = arg;

	(void)fd;
	(void)what;
	event_add(k->tick, &tv);
	note_arbiter(k);
	know_all(k);
	if (!k->c && !LIST_EMPTY(&k->others))
		start(k);
	if (k->c)
		send_hosts(k);
}

void cluster_start(struct daemon *d)
{
	struct cluster *k = calloc(1, sizeof(*k));

	if (!k)
		return;
	k->d = d;
	k->tick = evtimer_new(d->base, on_tick, k);
	d->cluster = k;
	event_active(k->tick, EV_TIMEOUT, 0);
}

void cluster_conf(struct daemon *d)
{
	struct cluster *k = d->cluster;
	struct other *o;

	if (!k)
		return;
	while ((o = LIST_FIRST(&k->others))) {
		LIST_REMOVE(o, link);
		json_decref(o->view);
		free(o);
	}
	if (k->c) {
		ctl_free(k->c); /* it ends, as nobody listens any more */
		k->c = NULL;
	}
	event_active(k->tick, EV_TIMEOUT, 0);
}

/* ---- the hardware of other hosts ---- */
static bool is_host(const struct other *o, const struct fo_candidate *host)
{
	return host->name[0] ? !strcmp(o->name, host->name)
			     : o->port == host->port && !strcmp(o->address, host->address);
}

enum fo_health cluster_health(const struct daemon *d, const struct fo_candidate *host,
			      const char **why)
{
	static char text[200];
	struct fo_host seen[FO_MAX_HOSTS];
	enum fo_health health = FO_UNKNOWN, other;
	unsigned n = members_seen(seen);
	const char *name = host->name, *reason;
	struct other *o;

	text[0] = '\0';
	if (d->cluster)
		LIST_FOREACH(o, &d->cluster->others, link) {
			json_t *h = json_object_get(o->view, "hardware");

			if (!is_host(o, host))
				continue;
			name = o->name;
			if (!fo_health_of(json_string_value(json_object_get(h, "state")), &health))
				continue;
			reason = json_string_value(json_object_get(h, "reason"));
			tv_copy(text, sizeof(text), reason ? reason : "");
			tv_mend_utf8(text);
		}
	for (unsigned i = 0; i < n; i++) {
		other = seen[i].health;
		if (*name && !strcmp(seen[i].name, name) && fo_is_better(health, other)) {
			health = other;
			tv_copy(text, sizeof(text), "so it has announced at the arbiter");
		}
	}
	if (why)
		*why = text;
	return health;
}

bool cluster_maintenance(const struct daemon *d, const struct fo_candidate *host)
{
	const struct other *o;

	if (d->cluster)
		LIST_FOREACH(o, &d->cluster->others, link)
			if (is_host(o, host))
				return o->answers &&
				       json_is_object(json_object_get(o->view, "maintenance"));
	return false;
}

int64_t cluster_moved_s(const struct daemon *d, const char *host, const char *vm_id)
{
	const struct other *o = d->cluster ? other_of(d->cluster, host) : NULL;
	json_t *moves, *one;
	int64_t latest = 0;
	size_t i;

	moves = json_object_get(json_object_get(o ? o->view : NULL, "hardware"), "moves");
	json_array_foreach(moves, i, one) {
		const char *id = json_string_value(json_object_get(one, "id"));
		json_int_t at = json_integer_value(json_object_get(one, "time"));

		if (id && !strcmp(id, vm_id) && at > latest)
			latest = at;
	}
	return latest;
}

json_t *cluster_peer_vm(const struct daemon *d, const char *host, const char *vm_id, bool *answers,
			int64_t *age_ms)
{
	struct other *o = d->cluster ? other_of(d->cluster, host) : NULL;
	const char *id;
	json_t *vm;
	size_t i;

	if (answers)
		*answers = o && o->answers;
	if (!o || !o->view)
		return NULL;
	if (age_ms)
		*age_ms = (tv_now_ns() - o->seen_ns) / TV_NS_PER_MS;
	json_array_foreach(json_object_get(o->view, "vms"), i, vm) {
		id = json_string_value(json_object_get(vm, "id"));
		if (id && !strcmp(id, vm_id))
			return vm;
	}
	return NULL;
}

json_t *cluster_peer_shows(const struct daemon *d, const char *host, const char *name)
{
	struct other *o = d->cluster ? other_of(d->cluster, host) : NULL;

	return o && o->answers ? json_object_get(o->view, name) : NULL;
}

json_t *cluster_peer_drills(const struct daemon *d, const char *host)
{
	return cluster_peer_shows(d, host, "drills");
}

json_t *cluster_peer_failovers(const struct daemon *d, const char *host)
{
	return cluster_peer_shows(d, host, "failovers");
}

/* ---- what is shown ---- */
static json_t *shown(const struct other *o)
{
	json_t *to =
		json_pack("{so sb sI so}", "host", fields_text(o->name), "answers", (int)o->answers,
			  "since_ms", (json_int_t)o->since_ms, "why", fields_text(o->why));

	if (to && o->view) {
		(void)!json_object_set_new(to, "age_ms",
					   json_integer((tv_now_ns() - o->seen_ns) / TV_NS_PER_MS));
		(void)!json_object_set_new(to, "rtt_ms", json_real(o->rtt_ms));
	}
	return to;
}

static json_t *list(const struct daemon *d, bool views)
{
	json_t *to = json_array(), *one;
	struct other *o;

	if (d->cluster)
		LIST_FOREACH(o, &d->cluster->others, link) {
			one = shown(o);
			if (one && views && o->view)
				(void)!json_object_set(one, "view", o->view);
			(void)!json_array_append_new(to, one);
		}
	return to;
}

json_t *cluster_sees(const struct daemon *d)
{
	return list(d, false);
}

json_t *cluster_json(const struct daemon *d)
{
	return list(d, true);
}
