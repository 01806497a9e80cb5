/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink: comparisons that the primary asks for (docs/WIRE.md, "Comparison"). Each belongs to the
 * epoch whose end came before it, and is done by the apply thread right behind that epoch. Few may
 * be open, and each is small, so that no commit and no promotion waits long for them.
 */
#include "replicator/sink/sink_int.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OPEN 4u

static void copy(uint8_t **to, const void *p, size_t n)
{
	if (n)
		memcpy(*to, p, n);
	*to += n;
}

bool sink_on_verify(struct sink *s, const Twinvm__Verify *m)
{
	struct compared_ask ask = {.what = m->what,
				   .number = m->number,
				   .first = m->first,
				   .n = (uint32_t)(m->hashes.len / COMPARED_HASH_BYTES),
				   .nat = m->n_at < UINT32_MAX ? (uint32_t)m->n_at : UINT32_MAX};
	size_t bytes = sizeof(ask) + m->n_at * sizeof(uint64_t) + m->hashes.len;
	uint8_t *work, *to;

	if (m->generation < s->b.generation) /* a former session's */
		return true;
	if (m->generation != s->b.generation || m->key.len != sizeof(ask.key) ||
	    compared_invalid(&ask, m->hashes.len) || s->b.syncing || s->b.in_epoch || !m->epoch ||
	    m->epoch != s->b.epoch_open || s->compares == MOST_OPEN)
		return false;
	memcpy(ask.key, m->key.data, sizeof(ask.key));
	to = work = malloc(bytes);
	if (!work)
		return true; /* the primary waits in vain: its comparison ends when it has waited too long */
	copy(&to, &ask, sizeof(ask));
	copy(&to, m->at, m->n_at * sizeof(uint64_t));
	copy(&to, m->hashes.data, m->hashes.len);
	s->compares++;
	sink_post(s, APPLY_COMPARE, work, bytes, m->epoch, NULL);
	free(work);
	return true;
}

void sink_verified(struct sink *s, const struct apply_answer *a)
{
	Twinvm__Verified v = TWINVM__VERIFIED__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	s->compares--;
	v.generation = s->b.generation;
	v.epoch = a->epoch;
	v.what = a->ask.what;
	v.number = a->ask.number;
	v.first = a->ask.first;
	v.different = (uint32_t *)a->hashes;
	v.n_different = a->hashes_bytes / sizeof(uint32_t);
	v.mended = a->mended.times;
	v.mended_at = a->mended.offset;
	v.why = (char *)a->e.text;
	msg.msg_case = TWINVM__CONTROL__MSG_VERIFIED;
	msg.verified = &v;
	sink_send(s, &msg, false);
}
