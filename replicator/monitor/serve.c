/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's process: three threads, each of which takes a request, does it and answers. A
 * request of another form ends the process, and with it the session: a sink that sends such a thing
 * is not itself any more.
 */
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mon_handler *const handlers[MON_VERBS] = {
	[MON_V_VM] = mon_on_vm,
	[MON_V_SLOT] = mon_on_slot,
	[MON_V_PROMOTED] = mon_on_promoted,
	[MON_V_FRAME] = mon_on_frame,
	[MON_V_QEMU] = mon_on_qemu,
	[MON_V_CHECK] = mon_on_check,
	[MON_V_START] = mon_on_start,
	[MON_V_QMP] = mon_on_qmp,
	[MON_V_SIGNAL] = mon_on_signal,
	[MON_V_TAPS] = mon_on_taps,
	[MON_V_CLEAN] = mon_on_clean,
	[MON_V_ARBITER] = mon_on_arbiter,
	[MON_V_CLAIM] = mon_on_claim,
};

struct channel {
	struct mon_state *state;
	enum mon_channel which;
	int fd;
};

/*
 * Does a request and answers it. A start is one piece with its answer: a QEMU of which the sink does
 * not learn is ended, since a sink that has died meanwhile, and a daemon that looked for its standby
 * before the note was there, leave it to nobody.
 */
static int handle(struct channel *c, struct mon_request *q)
{
	bool starts = q->head.verb == MON_V_START;
	struct mon_reply r = {0};
	int fds[MON_MAX_FDS], rc;

	if (starts)
		pthread_mutex_lock(&c->state->starting);
	handlers[q->head.verb](c->state, q, &r, fds);
	rc = mon_answer(c->fd, &r, fds);
	for (unsigned i = 0; i < r.fds; i++)
		close(fds[i]);
	if (starts && rc && !r.rc)
		mon_end_qemu(c->state);
	if (starts)
		pthread_mutex_unlock(&c->state->starting);
	return rc;
}

static void *serve(void *arg)
{
	struct channel *c = arg;
	struct mon_request *q = malloc(sizeof(*q));
	int rc;

	while (q && (rc = mon_receive(c->fd, c->which, q)) > 0)
		if ((rc = handle(c, q)))
			break;
	if (!q || rc == -EBADMSG)
		tv_log(TV_ERROR, "the monitor ends: %s",
		       q ? "the sink sent it what is no request" : "no memory");
	/* Of all threads: one without a sink is of no use, whatever the others wait for. But a start
	 * that is under way is not left half done. */
	pthread_mutex_lock(&c->state->starting);
	_exit(rc ? 1 : 0);
}

void mon_serve(const struct config *c, const int fds[MON_CHANNELS])
{
	struct mon_state *s = calloc(1, sizeof(*s));
	struct channel channels[MON_CHANNELS];
	pthread_t thread;

	if (!s)
		_exit(1);
	s->conf = *c;
	s->sink = getppid();
	s->slot = -1;
	s->frame_fd = s->pidfd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->starting, NULL);
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		channels[i] = (struct channel){s, i, fds[i]};
	for (unsigned i = 1; i < MON_CHANNELS; i++)
		if (pthread_create(&thread, NULL, serve, &channels[i]))
			_exit(1);
	serve(&channels[0]);
	_exit(0);
}
