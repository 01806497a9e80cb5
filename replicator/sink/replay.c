/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recent frames, in the order in which they came: see replay.h. */
#include "replicator/sink/replay.h"

#include "netbuffer/netbuffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define MAX_FRAMES 256
#define ETHER_BYTES 14

struct recent {
	TAILQ_ENTRY(recent) link;
	uint64_t epoch;
	bool output;
	size_t bytes;
	uint8_t data[];
};

struct replay {
	TAILQ_HEAD(, recent) frames;
	unsigned n;
};

struct replay *replay_new(void)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (r)
		TAILQ_INIT(&r->frames);
	return r;
}

static void drop(struct replay *r, struct recent *f)
{
	TAILQ_REMOVE(&r->frames, f, link);
	r->n--;
	free(f);
}

int replay_add(struct replay *r, uint64_t epoch, bool output, const uint8_t *data, size_t n)
{
	struct recent *f;

	if (n < NB_VNET_HDR_BYTES + ETHER_BYTES || n > REPLAY_MAX_FRAME_BYTES)
		return -EBADMSG;
	f = malloc(sizeof(*f) + n);
	if (!f)
		return 0; /* a frame may get lost */
	f->epoch = epoch;
	f->output = output;
	f->bytes = n;
	memcpy(f->data, data, n);
	TAILQ_INSERT_TAIL(&r->frames, f, link);
	if (++r->n > MAX_FRAMES)
		drop(r, TAILQ_FIRST(&r->frames));
	return 0;
}

void replay_committed(struct replay *r, uint64_t epoch)
{
	struct recent *f = TAILQ_FIRST(&r->frames);

	while (f) {
		struct recent *next = TAILQ_NEXT(f, link);

		/* A frame that came in just before a barrier may bear the number of the epoch after
		 * it, or, just after it, of the one before: one more epoch stays, to be sure. */
		if (f->epoch + 1 < epoch)
			drop(r, f);
		f = next;
	}
}

struct way {
	int (*send)(void *arg, const void *frame, size_t bytes);
	void *arg;
};

static unsigned send_again(struct replay *r, const struct way *w, uint64_t epoch, bool output)
{
	unsigned sent = 0;
	struct recent *f;

	TAILQ_FOREACH(f, &r->frames, link) {
		if (f->output != output || f->epoch + 1 < epoch || (output && f->epoch > epoch))
			continue;
		if (!w->send(w->arg, f->data, f->bytes))
			sent++;
	}
	return sent;
}

unsigned replay_run(struct replay *r, uint64_t epoch,
		    int (*send)(void *arg, const void *frame, size_t bytes), void *arg)
{
	const struct way w = {send, arg};
	unsigned sent = send_again(r, &w, epoch, true);

	return sent + send_again(r, &w, epoch, false);
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	while (!TAILQ_EMPTY(&r->frames))
		drop(r, TAILQ_FIRST(&r->frames));
	free(r);
}
