/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One command of an operator is passed on to another host: a connection of its own, on which Command goes out and
 * a Reply comes for each line of the answer (docs/WIRE.md). What comes is parsed and checked here, without
 * rights, as in watch.c. Every look_ns a Command without contents says that somebody still waits; a host
 * that does not acknowledge it for hello_ns is lost.
 *
 * The daemon, over the pair of sockets fd:
 *   {"op":"command","request":{}}   what is passed on; once
 *   {"op":"reply","reply":{}}       to it: a line of the answer, checked
 *   {"op":"lost","why","sent"}      to it, the last: there will be no more; sent: the command may have got there
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

#define FLUSH_MS 1000

struct passing {
	struct job job;
	struct fo_times times;
	struct event_base *base;
	struct repl_tls *tls;
	struct repl_conn *conn;
	struct ctl *daemon;
	struct event *tick;
	char *request; /* NULL: none has come yet */
	bool open, sent, over;
};

static void stop(struct passing *p, const char *why)
{
	if (p->over)
		return;
	p->over = true;
	ctl_send(p->daemon, json_pack("{ss so sb}", "op", "lost", "why", fields_text(why), "sent",
				      (int)p->sent));
	ctl_flush(p->daemon, FLUSH_MS);
	event_base_loopbreak(p->base);
}

static int send_text(struct passing *p, const char *text)
{
	Twinvm__Command command = TWINVM__COMMAND__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;

	command.json.data = (uint8_t *)text;
	command.json.len = strlen(text);
	m.msg_case = TWINVM__CONTROL__MSG_COMMAND;
	m.command = &command;
	return repl_send(p->conn, &m, false);
}

static void send_command(struct passing *p)
{
	if (!p->open || p->sent || !p->request)
		return;
	p->sent = true;
	if (send_text(p, p->request))
		stop(p, "no memory for the command");
}

/* ---- the other host ---- */
static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct passing *p = arg;

	(void)c;
	(void)peer;
	repl_tls_forget_key(p->tls);
	p->open = true;
	send_command(p);
}

static void on_reply(struct passing *p, const Twinvm__Reply *m)
{
	struct tv_err e = {0};
	json_t *reply;

	if (watch_check_reply(p->job.peer.name, m->json.data, m->json.len, &reply, &e))
		stop(p, e.text);
	else
		ctl_send(p->daemon, json_pack("{ss so}", "op", "reply", "reply", reply));
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	struct passing *p = arg;

	(void)c;
	(void)now_ns;
	if (p->over)
		return;
	if (m->msg_case == TWINVM__CONTROL__MSG_REPLY && p->sent)
		on_reply(p, m->reply);
	else if (m->msg_case == TWINVM__CONTROL__MSG_REFUSE)
		stop(p, m->refuse->text);
	else
		stop(p, "it sends what was not asked for");
}

static void on_records(struct repl_conn *c, const uint8_t *b, size_t n, int64_t now_ns, void *arg)
{
	(void)c;
	(void)b;
	(void)n;
	(void)now_ns;
	stop(arg, "it sends what was not asked for");
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct passing *p = arg;

	(void)rc;
	repl_free(c);
	p->conn = NULL;
	p->open = false;
	stop(p, why);
}

static void dial(struct passing *p)
{
	static const struct repl_ops ops = {.opened = on_opened,
					    .control = on_control,
					    .records = on_records,
					    .closed = on_closed};
	struct repl_opts opts = {.expect_peer = p->job.peer.name,
				 .handshake_timeout_ms =
					 (int)(p->times.handshake_ns / TV_NS_PER_MS),
				 .stuck_timeout_ms = (int)(p->times.hello_ns / TV_NS_PER_MS)};
	struct tv_err e = {0};

	if (repl_connect(p->base, p->tls, p->job.peer.address, p->job.peer.port, &opts, &ops, p,
			 &p->conn, &e)) {
		p->conn = NULL;
		stop(p, e.text);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct passing *p = arg;
	struct timeval tv = tv_timeval(p->times.look_ns);

	(void)fd;
	(void)what;
	event_add(p->tick, &tv);
	if (p->open && p->sent && send_text(p, ""))
		stop(p, "it does not read what it is sent");
}

/* ---- the daemon ---- */
static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	json_t *request = json_object_get(msg, "request");
	struct passing *p = arg;

	ctl_deaf_message(c, msg, fds, n, NULL);
	if (p->request || !json_is_object(request))
		return;
	p->request = json_dumps(request, JSON_COMPACT);
	send_command(p);
}

static void on_daemon_end(struct ctl *c, void *arg)
{
	struct passing *p = arg;

	(void)c;
	event_base_loopbreak(p->base);
}

/* All that needs rights, and then there are none: before anything is read from another host. */
static int start(struct passing *p, int fd, struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_daemon_end};
	struct repl_tls_conf tls = config_tls(&p->job.conf);
	int rc = repl_tls_new(&tls, &p->tls, e);

	if (!rc)
		rc = monitor_drop(&p->job.conf, e);
	if (rc)
		return rc;
	p->base = event_base_new();
	p->tick = p->base ? evtimer_new(p->base, on_tick, p) : NULL;
	if (!p->tick || ctl_new(p->base, fd, &ops, p, &p->daemon))
		return tv_fail(e, -ENOMEM, "no memory");
	event_active(p->tick, EV_TIMEOUT, 0);
	dial(p);
	return 0;
}

int watch_command_main(const char *job_text, int fd)
{
	static struct passing p; /* outlives every callback */
	struct tv_err e = {0};
	char tag[80];
	int rc = job_from_text(job_text, &p.job, &e);

	signal(SIGPIPE, SIG_IGN);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fo_times_init(&p.times, p.job.conf.heartbeat_ms * TV_NS_PER_MS);
	snprintf(tag, sizeof(tag), "%s command", p.job.conf.host);
	tv_log_init(tag);
	if (!rc)
		rc = start(&p, fd, &e);
	if (rc) {
		tv_log(TV_WARN, "no command can be passed on to another host: %s",
		       e.text[0] ? e.text : tv_strerror(rc));
		return 1;
	}
	if (!p.over)
		event_base_dispatch(p.base);
	return 0;
}
