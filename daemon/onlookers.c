/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Peers that ask what this host knows (replicator/sink/look.c). Each has a process here, which sends a
 * "look" for each question and gets the view. One for each peer: a newer one ends the older. They cost
 * a view each MIN_NS at most, whatever they send.
 */
#include "daemon/cluster.h"
#include "daemon/roster.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIN_NS (150 * TV_NS_PER_MS)

struct onlooker {
	LIST_ENTRY(onlooker) link;
	struct daemon *d;
	struct ctl *c;
	char host[64];
	pid_t pid;
	int64_t answered_ns;
};

static void drop(struct onlooker *o)
{
	LIST_REMOVE(o, link);
	ctl_free(o->c);
	free(o);
}

static void answer(struct onlooker *o)
{
	int64_t now = tv_now_ns();
	json_t *view, *roster;

	if (o->answered_ns && now - o->answered_ns < MIN_NS)
		return;
	roster = roster_view(o->d);
	o->answered_ns = now;
	view = view_json(o->d);
	if (view && roster)
		(void)!json_object_set(view, "cluster", roster);
	json_decref(roster);
	ctl_send(o->c,
		 json_pack("{ss so}", "op", session_op_info(SESSION_OP_VIEW)->word, "view", view));
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	ctl_deaf_message(c, msg, fds, n, NULL);
	if (session_op_of(msg) == SESSION_OP_LOOK)
		answer(arg);
}

static void on_closed(struct ctl *c, void *arg)
{
	(void)c;
	drop(arg);
}

static void replace_older(struct daemon *d, const char *host)
{
	struct onlooker *o, *next;

	for (o = LIST_FIRST(&d->onlookers); o; o = next) {
		next = LIST_NEXT(o, link);
		if (!strcmp(o->host, host))
			drop(o);
	}
}

void onlookers_admit(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct onlooker *o = NULL;
	struct session_look as;
	char address[64] = "";
	struct tv_err e = {0};
	pid_t pid;
	uid_t uid;

	if (!session_body(SESSION_OP_LOOK, msg, &as, sizeof(as), &e) && !ctl_peer(c, &pid, &uid) &&
	    pid == as.pid && !config_admit(as.host, &d->conf, &e))
		o = calloc(1, sizeof(*o));
	if (!o) {
		ctl_close_when_sent(c);
		return;
	}
	door_registered(d, as.pid, address, sizeof(address));
	replace_older(d, as.host);
	*o = (struct onlooker){.d = d, .c = c, .pid = as.pid};
	tv_copy(o->host, sizeof(o->host), as.host);
	LIST_INSERT_HEAD(&d->onlookers, o, link);
	ctl_set_arg(c, &ops, o);
	answer(o);
}

void onlookers_conf(struct daemon *d)
{
	struct onlooker *o, *next;
	struct tv_err why;

	for (o = LIST_FIRST(&d->onlookers); o; o = next) {
		next = LIST_NEXT(o, link);
		if (!config_admit(o->host, &d->conf, &why))
			continue;
		kill(o->pid, SIGKILL); /* with it ends the connection */
		drop(o);
	}
}
