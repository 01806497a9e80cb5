/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running checksum over an epoch's record bytes. */
#include "checkpoint/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

struct ckpt_sum {
	XXH3_state_t *state; /* its own allocation: the library wants it aligned to 64 bytes */
};

struct ckpt_sum *ckpt_sum_new(void)
{
	struct ckpt_sum *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->state = XXH3_createState();
	if (!s->state) {
		free(s);
		return NULL;
	}
	ckpt_sum_reset(s);
	return s;
}

void ckpt_sum_free(struct ckpt_sum *s)
{
	if (!s)
		return;
	XXH3_freeState(s->state);
	free(s);
}

void ckpt_sum_reset(struct ckpt_sum *s)
{
	XXH_errorcode r = XXH3_64bits_reset(s->state);

	assert(r == XXH_OK); /* fails for a NULL state only */
	(void)r;
}

void ckpt_sum_add(struct ckpt_sum *s, const void *p, size_t n)
{
	XXH_errorcode r = n ? XXH3_64bits_update(s->state, p, n) : XXH_OK;

	assert(r == XXH_OK); /* fails for a NULL input only */
	(void)r;
}

uint64_t ckpt_sum_value(const struct ckpt_sum *s)
{
	return XXH3_64bits_digest(s->state);
}
