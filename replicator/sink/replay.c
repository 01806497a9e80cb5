/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/sink/replay.h"

#include "netbuffer/netbuffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define MAX_FRAMES 256
#define ETHER_BYTES 14

struct kept {
	TAILQ_ENTRY(kept) link;
	uint64_t epoch;
	bool output;
	size_t bytes;
	uint8_t data[];
};

struct replay {
	TAILQ_HEAD(, kept) frames;
	unsigned n;
};

struct replay *replay_new(void)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (r)
		TAILQ_INIT(&r->frames);
	return r;
}

static void drop(struct replay *r, struct kept *k)
{
	TAILQ_REMOVE(&r->frames, k, link);
	r->n--;
	free(k);
}

int replay_add(struct replay *r, uint64_t epoch, bool output, const uint8_t *data, size_t n)
{
	struct kept *k;

	if (n < NB_VNET_HDR_BYTES + ETHER_BYTES || n > REPLAY_MAX_FRAME_BYTES)
		return -EBADMSG;
	k = malloc(sizeof(*k) + n);
	if (!k)
		return 0; /* one frame less */
	k->epoch = epoch;
	k->output = output;
	k->bytes = n;
	memcpy(k->data, data, n);
	TAILQ_INSERT_TAIL(&r->frames, k, link);
	if (++r->n > MAX_FRAMES)
		drop(r, TAILQ_FIRST(&r->frames));
	return 0;
}

void replay_committed(struct replay *r, uint64_t epoch)
{
	struct kept *k = TAILQ_FIRST(&r->frames);

	while (k) {
		struct kept *next = TAILQ_NEXT(k, link);

		/* A frame that came in just before a barrier may bear the number of the epoch after
		 * it, or, just after it, of the one before: one epoch is kept to be sure. */
		if (k->epoch + 1 < epoch)
			drop(r, k);
		k = next;
	}
}

static unsigned say(struct replay *r, int fd, uint64_t epoch, bool output)
{
	unsigned said = 0;
	struct kept *k;

	TAILQ_FOREACH(k, &r->frames, link) {
		if (k->output != output || k->epoch + 1 < epoch || (output && k->epoch > epoch))
			continue;
		if (!nb_replay_send(fd, k->data, k->data + NB_VNET_HDR_BYTES,
				    k->bytes - NB_VNET_HDR_BYTES))
			said++;
	}
	return said;
}

unsigned replay_run(struct replay *r, uint64_t epoch, const char *bridge)
{
	int fd = *bridge ? nb_replay_open(bridge) : -ENODEV;
	unsigned said;

	if (fd < 0)
		return 0;
	said = say(r, fd, epoch, true);
	said += say(r, fd, epoch, false);
	close(fd);
	return said;
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	while (!TAILQ_EMPTY(&r->frames))
		drop(r, TAILQ_FIRST(&r->frames));
	free(r);
}
