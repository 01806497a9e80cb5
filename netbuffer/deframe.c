/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter-redirector stream's parser. */
#include "netbuffer/deframe.h"

#include <string.h>

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned head_bytes(const struct deframe *s)
{
	return s->vnet_hdr ? 8 : 4;
}

static int check_head(struct deframe *s)
{
	s->body_bytes = get_be32(s->head);
	s->body_have = 0;
	/* QEMU sends no empty frames; a length of 0 means that the parser is out of step. */
	if (!s->body_bytes || s->body_bytes > DEFRAME_MAX_FRAME_BYTES)
		return TV_E_PROTOCOL;
	if (s->vnet_hdr && get_be32(s->head + 4) > s->body_bytes)
		return TV_E_PROTOCOL;
	return 0;
}

static size_t take_head(struct deframe *s, const uint8_t *p, size_t n)
{
	size_t take = head_bytes(s) - s->head_have;

	if (take > n)
		take = n;
	memcpy(s->head + s->head_have, p, take);
	s->head_have += (unsigned)take;
	return take;
}

static size_t take_body(struct deframe *s, const uint8_t *p, size_t n)
{
	size_t take = s->body_bytes - s->body_have;

	if (take > n)
		take = n;
	if (s->out)
		memcpy(s->out + head_bytes(s) + s->body_have, p, take);
	s->body_have += (uint32_t)take;
	return take;
}

static int begin(struct deframe *s, const struct deframe_ops *ops)
{
	int rc = check_head(s);

	if (rc)
		return rc;
	s->out = ops->begin(ops->arg, head_bytes(s) + s->body_bytes);
	if (s->out)
		memcpy(s->out, s->head, head_bytes(s));
	return 0;
}

int deframe_feed(struct deframe *s, const struct deframe_ops *ops, const uint8_t *p, size_t n)
{
	size_t at = 0, took;
	int rc;

	while (at < n) {
		if (s->head_have < head_bytes(s)) {
			took = take_head(s, p + at, n - at);
			at += took;
			s->pos += took;
			rc = s->head_have == head_bytes(s) ? begin(s, ops) : 0;
			if (rc)
				return rc;
			continue;
		}
		took = take_body(s, p + at, n - at);
		at += took;
		s->pos += took;
		if (s->body_have < s->body_bytes)
			return 0;
		s->head_have = 0;
		s->out = NULL;
		if (!ops->end(ops->arg, s->pos))
			return 0;
	}
	return 0;
}
