/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: asking other hosts what they know
 *
 * A connection to each host, TLS as for a VM's session, on which a Look goes out every look_ns (once a
 * second, failover/timeouts.c) and a View comes back (docs/WIRE.md). What other hosts send is parsed
 * here and not in the daemon: this process has the rights of a sink (monitor_drop), and the key, which
 * it has read before.
 *
 * The daemon, over the pair of sockets fd:
 *   {"op":"hosts","hosts":[{"name","address","port"}]}   which hosts to ask, whenever it may have changed
 *   {"op":"seen","host","rtt_ms","view":{}}              to it: an answer, checked (check.c)
 *   {"op":"lost","host","why"}                           to it: no answer, again and again while that lasts
 *
 * Limits: MAX_HOSTS hosts, one question under way for each, WATCH_MAX_BYTES for an answer. A host that
 * does not answer within ANSWER_LOOKS times look_ns is lost, and tried again after RETRY_LOOKS times.
 */
#include "replicator/watch/watch.h"
#include "replicator/link/link.h"
#include "replicator/monitor/monitor.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS FO_MAX_HOSTS
#define ANSWER_LOOKS 3
#define RETRY_LOOKS 2

struct watch;
struct host {
	struct watch *w;
	struct fo_candidate at;
	struct repl_conn *conn; /* NULL: not connected, and not connecting */
	bool open;
	uint64_t seq;	  /* of the last Look */
	int64_t asked_ns; /* when it was sent; 0: it is answered */
	int64_t retry_ns; /* not before */
};
struct watch {
	struct config conf;
	struct fo_times times;
	struct event_base *base;
	struct repl_tls *tls;
	struct ctl *daemon;
	struct event *tick;
	struct host hosts[MAX_HOSTS];
	unsigned n;
};

/* ---- to the daemon ---- */
static void tell_lost(struct host *h, const char *why)
{
	ctl_send(h->w->daemon, json_pack("{ss so so}", "op", "lost", "host",
					 fields_text(h->at.name), "why", fields_text(why)));
}

static void lose(struct host *h, const char *why)
{
	repl_free(h->conn);
	h->conn = NULL;
	h->open = false;
	h->asked_ns = 0;
	h->retry_ns = tv_now_ns() + RETRY_LOOKS * h->w->times.look_ns;
	tell_lost(h, why);
}

/* ---- a host ---- */
static void ask(struct host *h)
{
	Twinvm__Look look = TWINVM__LOOK__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;

	look.seq = ++h->seq;
	m.msg_case = TWINVM__CONTROL__MSG_LOOK;
	m.look = &look;
	h->asked_ns = tv_now_ns();
	if (repl_send(h->conn, &m, false))
		lose(h, "no memory for a question");
}

static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct host *h = arg;

	(void)c;
	(void)peer;
	h->open = true;
	ask(h);
}

static void on_view(struct host *h, const Twinvm__View *m, int64_t now_ns)
{
	int64_t rtt_us = (now_ns - h->asked_ns) / 1000;
	struct tv_err e = {0};
	json_t *view;

	if (!h->asked_ns || m->seq != h->seq)
		return;
	h->asked_ns = 0;
	if (watch_check(h->at.name, m->json.data, m->json.len, &view, &e)) {
		lose(h, e.text);
		return;
	}
	ctl_send(h->w->daemon,
		 json_pack("{ss so sf so}", "op", "seen", "host", fields_text(h->at.name), "rtt_ms",
			   (double)rtt_us / 1e3, "view", view));
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct host *h = arg;

	(void)c;
	if (m->msg_case == TWINVM__CONTROL__MSG_VIEW)
		on_view(h, m->view, now_ns);
	else if (m->msg_case == TWINVM__CONTROL__MSG_REFUSE)
		lose(h, m->refuse->text);
	else
		lose(h, "it sends what was not asked for");
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	(void)c;
	(void)p;
	(void)n;
	(void)now_ns;
	lose(arg, "it sends what was not asked for");
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct host *h = arg;

	(void)c;
	(void)rc;
	lose(h, why);
}

static const struct repl_ops link_ops = {
	.opened = on_opened, .control = on_control, .records = on_records, .closed = on_closed};

static void dial(struct host *h)
{
	struct repl_opts opts = {.expect_peer = h->at.name,
				 .handshake_timeout_ms =
					 (int)(h->w->times.handshake_ns / TV_NS_PER_MS)};
	struct tv_err e = {0};

	if (repl_connect(h->w->base, h->w->tls, h->at.address, h->at.port, &opts, &link_ops, h,
			 &h->conn, &e)) {
		h->conn = NULL;
		lose(h, e.text);
	}
}

static void turn(struct host *h, int64_t now_ns)
{
	if (!h->conn) {
		if (now_ns >= h->retry_ns)
			dial(h);
	} else if (h->open && !h->asked_ns) {
		ask(h);
	} else if (h->open && now_ns - h->asked_ns > ANSWER_LOOKS * h->w->times.look_ns) {
		lose(h, "it does not answer: its twinvmd hangs or is not there");
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	struct timeval tv = tv_timeval(w->times.look_ns);

	(void)fd;
	(void)what;
	event_add(w->tick, &tv);
	for (unsigned i = 0; i < w->n; i++)
		turn(&w->hosts[i], tv_now_ns());
}

/* ---- from the daemon ---- */
static struct host *host_of(struct watch *w, const char *name)
{
	for (unsigned i = 0; i < w->n; i++)
		if (!strcmp(w->hosts[i].at.name, name))
			return &w->hosts[i];
	return NULL;
}

static void take_host(struct watch *w, const json_t *entry)
{
	struct fo_candidate at = {
		.port = (uint16_t)json_integer_value(json_object_get(entry, "port"))};
	const char *name = json_string_value(json_object_get(entry, "name"));
	const char *address = json_string_value(json_object_get(entry, "address"));
	struct host *h = name ? host_of(w, name) : NULL;

	if (!name || !address || !at.port || !tv_copy(at.name, sizeof(at.name), name) ||
	    !tv_copy(at.address, sizeof(at.address), address) || (!h && w->n == MAX_HOSTS))
		return;
	if (!h) {
		h = &w->hosts[w->n++];
		*h = (struct host){.w = w, .at = at};
	} else if (strcmp(h->at.address, at.address) != 0 || h->at.port != at.port) {
		h->at = at;
		lose(h, "its address has changed");
		h->retry_ns = 0;
	}
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	json_t *entry;
	size_t i;

	ctl_deaf_message(c, msg, fds, n, NULL);
	json_array_foreach(json_object_get(msg, "hosts"), i, entry)
		take_host(arg, entry);
}

static void on_daemon_end(struct ctl *c, void *arg)
{
	struct watch *w = arg;

	(void)c;
	event_base_loopbreak(w->base);
}

/* All that needs rights, and then there are none: before anything is read from another host. */
static int start(struct watch *w, int fd, struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_daemon_end};
	struct repl_tls_conf tls = config_tls(&w->conf);
	int rc = repl_tls_new(&tls, &w->tls, e);

	if (!rc)
		rc = monitor_drop(&w->conf, e);
	if (rc)
		return rc;
	w->base = event_base_new();
	w->tick = w->base ? evtimer_new(w->base, on_tick, w) : NULL;
	if (!w->tick || ctl_new(w->base, fd, &ops, w, &w->daemon))
		return tv_fail(e, -ENOMEM, "no memory");
	event_active(w->tick, EV_TIMEOUT, 0);
	return 0;
}

int watch_main(const char *job_text, int fd)
{
	static struct watch w; /* outlives every callback */
	struct tv_err e = {0};
	struct job j;
	char tag[80];
	int rc = job_from_text(job_text, &j, &e);

	signal(SIGPIPE, SIG_IGN);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	w.conf = j.conf;
	fo_times_init(&w.times, j.conf.heartbeat_ms * TV_NS_PER_MS);
	snprintf(tag, sizeof(tag), "%s watch", w.conf.host);
	tv_log_init(tag);
	if (!rc)
		rc = start(&w, fd, &e);
	if (rc) {
		tv_log(TV_WARN, "other hosts are not asked what they know: %s",
		       e.text[0] ? e.text : tv_strerror(rc));
		return 1;
	}
	event_base_dispatch(w.base);
	return 0;
}
