/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper (keeper/keeper.h): started before all else, as this daemon gives up the right that only the
 * keeper has, for itself and for all that it starts. Nothing waits for it: what is asked is answered later,
 * in the loop. One that has ended is not started again.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

enum { ACTS, LOOKS, CHANNELS };
#define MAX_ASKED 8 /* at once, of each: so many requests find room in a socket */

static struct {
	struct daemon *d;
	pid_t pid;
	bool born;
	int fd[CHANNELS]; /* -1: closed */
	struct event *readable[CHANNELS];
	uint32_t last_id;
	struct asked_of_keeper {
		keeper_cb *cb; /* NULL: free */
		void *arg;
		uint32_t id, verb;
		int channel;
	} asked[MAX_ASKED * CHANNELS];
	struct kp_reply can[CHANNELS]; /* their answers to KP_HELLO */
	char why[160];		       /* "": it lives */
} keeper = {.fd = {-1, -1}, .why = "it was not started"};

static int begin(struct tv_err *e)
{
	int mine[CHANNELS] = {-1, -1}, its[CHANNELS] = {-1, -1}, rc = 0;

	for (int i = 0; i < CHANNELS && !rc; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
			rc = tv_fail(e, -errno, "no sockets for the keeper: %s", strerror(errno));
			break;
		}
		mine[i] = pair[0];
		its[i] = pair[1];
	}
	if (!rc)
		rc = spawn_keeper(its, &keeper.pid, e);
	for (int i = 0; i < CHANNELS; i++) {
		tv_close_fd(&its[i]);
		if (rc)
			tv_close_fd(&mine[i]);
		keeper.fd[i] = mine[i];
	}
	return rc;
}

void keeper_start(void)
{
	struct tv_err e = {0};
	int rc = begin(&e);

	if (rc)
		tv_copy(keeper.why, sizeof(keeper.why), e.text);
	keeper.born = !rc;
	if (!rc)
		keeper.why[0] = '\0';
	rc = sandbox_give_up(CAP_SYS_ADMIN);
	if (rc)
		tv_log(TV_WARN, "twinvmd cannot give up CAP_SYS_ADMIN: %s", tv_strerror(rc));
}

/* ---- answers ---- */
static void answer(struct asked_of_keeper *a, const struct kp_reply *r)
{
	keeper_cb *cb = a->cb;

	a->cb = NULL;
	cb(keeper.d, r, a->arg);
}

/* All that was asked of it is answered: it has ended. */
static void fail_all(int channel)
{
	struct kp_reply r = {.rc = -ENOTCONN, .who = -1};

	tv_copy(r.text, sizeof(r.text), keeper.why);
	for (size_t i = 0; i < MAX_ASKED * CHANNELS; i++) {
		struct asked_of_keeper *a = &keeper.asked[i];

		if (a->cb && a->channel == channel) {
			r.verb = a->verb;
			r.id = a->id;
			answer(a, &r);
		}
	}
}

static void ended(int channel, const char *why)
{
	bool first = !keeper.why[0];

	if (first)
		snprintf(keeper.why, sizeof(keeper.why), "%s; restart twinvmd, which touches no VM",
			 why);
	if (keeper.readable[channel])
		event_free(keeper.readable[channel]);
	keeper.readable[channel] = NULL;
	tv_close_fd(&keeper.fd[channel]);
	fail_all(channel);
	if (first && keeper.d)
		events_add(keeper.d, EVENTS_KEEPER_ENDED, NULL, NULL,
			   "whose a page of memory is cannot be seen any more, and nothing taken "
			   "out of service: %s",
			   keeper.why);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	int channel = (int)(intptr_t)arg;
	struct kp_reply r;
	ssize_t n;

	(void)what;
	n = recv((int)fd, &r, sizeof(r), MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(r)) {
		ended(channel, "the process with CAP_SYS_ADMIN has ended");
		return;
	}
	r.text[sizeof(r.text) - 1] = r.command[sizeof(r.command) - 1] = '\0';
	for (size_t i = 0; i < MAX_ASKED * CHANNELS; i++)
		if (keeper.asked[i].cb && keeper.asked[i].id == r.id &&
		    keeper.asked[i].channel == channel) {
			answer(&keeper.asked[i], &r);
			return;
		}
}

/* ---- requests ---- */
static int ask(int channel, struct kp_request *q, keeper_cb *cb, void *arg)
{
	struct asked_of_keeper *a = keeper.asked;
	unsigned of_channel = 0;

	if (keeper.fd[channel] < 0)
		return -ENOTCONN;
	for (size_t i = 0; i < MAX_ASKED * CHANNELS; i++)
		of_channel += keeper.asked[i].cb && keeper.asked[i].channel == channel;
	if (of_channel >= MAX_ASKED)
		return -EBUSY;
	while (a->cb)
		a++;
	q->id = ++keeper.last_id;
	if (send(keeper.fd[channel], q, sizeof(*q), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(*q))
		return errno == EAGAIN ? -EBUSY : -ENOTCONN;
	*a = (struct asked_of_keeper){cb, arg, q->id, q->verb, channel};
	return 0;
}

int keeper_ask(struct kp_request *q, keeper_cb *cb, void *arg)
{
	return ask(q->verb == KP_OWNER ? LOOKS : ACTS, q, cb, arg);
}

void keeper_who(struct kp_request *q, pid_t pid, uint64_t start_ticks, const char *mapping)
{
	struct kp_process *w;

	if (pid <= 0 || q->n >= KP_MAX_WHO)
		return;
	w = &q->who[q->n++];
	*w = (struct kp_process){.pid = (int32_t)pid, .start_ticks = start_ticks};
	tv_copy(w->mapping, sizeof(w->mapping), mapping);
}

static void on_hello(struct daemon *d, const struct kp_reply *r, void *arg)
{
	(void)d;
	if (!r->rc)
		keeper.can[(intptr_t)arg] = *r;
}

void keeper_attach(struct daemon *d)
{
	static struct kp_request q; /* kilobytes */

	keeper.d = d;
	if (!keeper.born)
		tv_log(TV_WARN, "whose a page of memory is will not be seen: %s", keeper.why);
	for (int i = 0; i < CHANNELS; i++) {
		if (keeper.fd[i] < 0)
			continue;
		keeper.readable[i] = event_new(d->base, keeper.fd[i], EV_READ | EV_PERSIST,
					       on_readable, (void *)(intptr_t)i);
		event_add(keeper.readable[i], NULL);
		q.verb = KP_HELLO;
		if (ask(i, &q, on_hello, (void *)(intptr_t)i))
			ended(i, "the process with CAP_SYS_ADMIN has ended");
	}
}

bool keeper_exit(pid_t pid)
{
	if (!pid || pid != keeper.pid)
		return false;
	keeper.pid = 0; /* its sockets tell the rest */
	return true;
}

/* ---- what is known of it ---- */
bool keeper_lives(void)
{
	return !keeper.why[0];
}

bool keeper_sees_pages(void)
{
	return keeper_lives() && keeper.can[LOOKS].sees;
}

bool keeper_takes_pages(void)
{
	return keeper_lives() && keeper.can[ACTS].takes_pages;
}

bool keeper_stops_cpus(void)
{
	return keeper_lives() && keeper.can[ACTS].stops_cpus;
}

bool keeper_copy_recovers(void)
{
	return keeper.can[ACTS].copy_recovers;
}

json_t *keeper_json(void)
{
	const struct kp_reply *can = &keeper.can[ACTS];

	return json_pack("{sb ss sb sb sb}", "lives", keeper_lives(), "reason", keeper.why,
			 "takes_pages", can->takes_pages, "stops_cpus", can->stops_cpus,
			 "moves_failing_pages", can->copy_recovers);
}
