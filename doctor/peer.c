/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other hosts: is there a twinvmd that admits this one, and that this one admits? */
#include "doctor/doctor_int.h"
#include "replicator/link/link.h"

#include <stdio.h>
#include <string.h>

#define HANDSHAKE_MS 3000
#define SETTLE_NS (200 * TV_NS_PER_MS) /* a peer rejects this side's certificate later (TLS 1.3) */

struct call {
	struct event_base *base;
	struct event *settled;
	bool opened;
	int64_t begun_ns, opened_ns;
	struct tv_err why; /* of the end; "": it stands */
};

static void on_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct timeval tv = tv_timeval(SETTLE_NS);
	struct call *call = arg;

	(void)c;
	(void)peer;
	call->opened = true;
	call->opened_ns = tv_now_ns();
	event_add(call->settled, &tv);
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct call *call = arg;

	(void)c;
	tv_fail(&call->why, rc, "%s", why);
	event_base_loopbreak(call->base);
}

static void on_control(struct repl_conn *c, const Twinvm__Control *msg, int64_t now_ns, void *arg)
{
	(void)c;
	(void)msg;
	(void)now_ns;
	(void)arg;
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	(void)c;
	(void)p;
	(void)n;
	(void)now_ns;
	(void)arg;
}

static void on_settled(evutil_socket_t fd, short what, void *arg)
{
	struct call *call = arg;

	(void)fd;
	(void)what;
	event_base_loopbreak(call->base);
}

static void reach(const struct config *c, struct repl_tls *tls, const struct config_peer *p,
		  json_t *checks)
{
	static const struct repl_ops ops = {.opened = on_opened,
					    .control = on_control,
					    .records = on_records,
					    .closed = on_closed};
	struct repl_opts opts = {.handshake_timeout_ms = HANDSHAKE_MS,
				 .expect_peer = p->name[0] ? p->name : NULL};
	struct call call = {.base = event_base_new(), .begun_ns = tv_now_ns()};
	const char *who = p->name[0] ? p->name : p->host;
	struct repl_conn *conn = NULL;
	char at[REPL_ENDPOINT_ROOM];

	call.settled = evtimer_new(call.base, on_settled, &call);
	if (!repl_connect(call.base, tls, p->host, p->port, &opts, &ops, &call, &conn, &call.why))
		event_base_dispatch(call.base);
	repl_free(conn);
	event_free(call.settled);
	event_base_free(call.base);
	if (call.why.text[0])
		doctor_add(checks, "peer", DOCTOR_PROBLEM, "%s cannot protect VMs of %s: %s", who,
			   c->host, call.why.text);
	else
		doctor_add(checks, "peer", DOCTOR_OK, "%s at %s admits %s (%lld ms)", who,
			   repl_endpoint(at, p->host, p->port), c->host,
			   (long long)((call.opened_ns - call.begun_ns) / TV_NS_PER_MS));
}

void doctor_check_peers(const struct config *c, const char *only, json_t *checks)
{
	struct repl_tls_conf conf = config_tls(c);
	struct config_peer named;
	struct repl_tls *tls;
	struct tv_err e = {0};

	if (only && config_peer(c, only, &named, &e)) {
		doctor_add(checks, "peer", DOCTOR_PROBLEM, "%s", e.text);
		return;
	}
	if (repl_tls_new(&conf, &tls, &e)) /* reported by the check of the certificates */
		return;
	if (only)
		reach(c, tls, &named, checks);
	for (unsigned i = 0; !only && i < c->peer_count; i++)
		if (c->peers[i].port && strcmp(c->peers[i].name, c->host) != 0)
			reach(c, tls, &c->peers[i], checks);
	if (!only && !c->peer_count)
		doctor_add(checks, "peer", DOCTOR_WARNING,
			   "no peer.NAME line in %s: no host can protect the VMs of %s", c->path,
			   c->host);
	repl_tls_free(tls);
}
