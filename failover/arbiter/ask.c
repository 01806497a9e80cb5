/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: questions to the arbiter, off the loop
 *
 * A claim blocks for as long as a network or a shared directory does, and heartbeats must be sent
 * meanwhile: so it is made in a thread, one at a time. Questions and answers each have a mailbox
 * (common/mailbox.h). The loop never waits: a question that finds its mailbox full is refused, and
 * the refusal is delivered like an answer, in a later turn of the loop (the engine must not be
 * entered from inside its own action). The thread waits until there is room for its answer.
 *
 * An engine has two questions open at most (failover/primary.c), so a full mailbox means that its
 * owner asks for more than one engine.
 */
#include "common/mailbox.h"
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_QUESTIONS 8

struct question {
	enum fo_question q;
	struct fo_claim claim;
};
struct answer {
	enum fo_question q;
	struct fo_record rec;
	struct tv_err e;
	int rc;
};
struct fo_ask {
	fo_claim_fn claim;
	void *claim_arg;
	fo_answer_cb cb;
	void *arg;
	pthread_t thread;
	struct tv_box questions, answers;
	unsigned refused[FO_QUESTIONS]; /* the loop's */
	struct event *ev;
};

static void *ask_thread(void *arg)
{
	struct fo_ask *k = arg;
	struct question q;

	for (;;) {
		struct answer a = {0};

		if (tv_box_take_wait(&k->questions, &q) != 1 || tv_box_is_closed(&k->questions))
			return NULL;
		a.q = q.q;
		a.rc = k->claim(k->claim_arg, q.q, &q.claim, &a.rec, &a.e);
		if (tv_box_put_wait(&k->answers, &a))
			return NULL;
	}
}

static void deliver_refusals(struct fo_ask *k)
{
	static const struct fo_record none;

	for (enum fo_question q = 0; q < FO_QUESTIONS; q++)
		for (; k->refused[q]; k->refused[q]--)
			k->cb(q, -EAGAIN, &none, "too many questions are open", k->arg);
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct fo_ask *k = arg;
	struct answer a;

	(void)fd;
	(void)what;
	while (tv_box_take(&k->answers, &a))
		k->cb(a.q, a.rc, &a.rec, a.e.text, k->arg);
	deliver_refusals(k);
}

static void dispose(struct fo_ask *k)
{
	if (k->ev)
		event_free(k->ev);
	tv_box_dispose(&k->questions);
	tv_box_dispose(&k->answers);
	free(k);
}

int fo_claim_here(void *arbiter, enum fo_question q, const struct fo_claim *c,
		  struct fo_record *out, struct tv_err *e)
{
	return fo_claim(arbiter, q, c, out, e);
}

int fo_ask_new(struct event_base *base, fo_claim_fn claim, void *claim_arg, fo_answer_cb cb,
	       void *arg, struct fo_ask **out)
{
	struct fo_ask *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return -ENOMEM;
	*k = (struct fo_ask){.claim = claim, .claim_arg = claim_arg, .cb = cb, .arg = arg};
	rc = tv_box_init(&k->questions, sizeof(struct question), MAX_QUESTIONS);
	if (!rc)
		rc = tv_box_init(&k->answers, sizeof(struct answer), MAX_QUESTIONS);
	if (!rc) {
		k->ev = event_new(base, tv_box_fd(&k->answers), EV_READ | EV_PERSIST, deliver, k);
		rc = !k->ev || event_add(k->ev, NULL) ? -ENOMEM : 0;
	}
	if (!rc)
		rc = -pthread_create(&k->thread, NULL, ask_thread, k);
	if (rc) {
		dispose(k);
		return rc;
	}
	*out = k;
	return 0;
}

void fo_ask_start(struct fo_ask *k, enum fo_question q, const struct fo_claim *c)
{
	struct question item = {q, *c};

	tv_assert(q < FO_QUESTIONS);
	if (tv_box_put(&k->questions, &item)) { /* full */
		k->refused[q]++;
		tv_box_wake(&k->answers);
	}
}

void fo_ask_free(struct fo_ask *k)
{
	if (!k)
		return;
	tv_box_close(&k->questions);
	tv_box_close(&k->answers);
	pthread_join(k->thread, NULL);
	dispose(k);
}
