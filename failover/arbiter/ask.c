/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to the arbiter, off the loop: a shared directory may hang for as long as its server
 * does, and heartbeats must go on meanwhile. One thread, one question at a time, answers by an
 * eventfd.
 */
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_QUESTIONS 8

struct item {
	enum fo_question q;
	struct fo_claim claim;
	struct fo_record rec;
	struct tv_err e;
	int rc;
};

struct fo_ask {
	struct fo_arbiter *a;
	fo_answer_cb cb;
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct item items[MAX_QUESTIONS]; /* ring: [delivered, answered) answers, [answered, asked)
					     open */
	unsigned asked, answered, delivered;
	bool stop;
	int efd;
	struct event *ev;
};

static void *ask_thread(void *arg)
{
	struct fo_ask *k = arg;
	uint64_t one = 1;

	pthread_mutex_lock(&k->lock);
	for (;;) {
		struct item *it;

		while (!k->stop && k->answered == k->asked)
			pthread_cond_wait(&k->wake, &k->lock);
		if (k->stop)
			break;
		it = &k->items[k->answered % MAX_QUESTIONS];
		pthread_mutex_unlock(&k->lock);
		it->rc = fo_claim(k->a, it->q, &it->claim, &it->rec, &it->e);
		pthread_mutex_lock(&k->lock);
		k->answered++;
		if (write(k->efd, &one, sizeof(one)) < 0)
			abort(); /* an eventfd with room cannot fail */
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct fo_ask *k = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	for (;;) {
		struct item it;

		pthread_mutex_lock(&k->lock);
		if (k->delivered == k->answered) {
			pthread_mutex_unlock(&k->lock);
			return;
		}
		it = k->items[k->delivered++ % MAX_QUESTIONS];
		pthread_mutex_unlock(&k->lock);
		k->cb(it.q, it.rc, &it.rec, it.e.text, k->arg);
	}
}

int fo_ask_new(struct event_base *base, struct fo_arbiter *a, fo_answer_cb cb, void *arg,
	       struct fo_ask **out)
{
	struct fo_ask *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	*k = (struct fo_ask){.a = a, .cb = cb, .arg = arg};
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	k->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->ev = k->efd < 0 ? NULL : event_new(base, k->efd, EV_READ | EV_PERSIST, deliver, k);
	if (!k->ev || event_add(k->ev, NULL) || pthread_create(&k->thread, NULL, ask_thread, k)) {
		if (k->ev)
			event_free(k->ev);
		tv_close_fd(&k->efd);
		free(k);
		return -ENOMEM;
	}
	*out = k;
	return 0;
}

void fo_ask_start(struct fo_ask *k, enum fo_question q, const struct fo_claim *c)
{
	pthread_mutex_lock(&k->lock);
	/* The core has one question open at a time and at most one that overtook it. */
	if (k->asked - k->delivered >= MAX_QUESTIONS)
		abort();
	k->items[k->asked++ % MAX_QUESTIONS] = (struct item){.q = q, .claim = *c};
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
}

void fo_ask_free(struct fo_ask *k)
{
	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	event_free(k->ev);
	close(k->efd);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	free(k);
}
