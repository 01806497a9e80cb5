/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter-redirector stream: the same bytes as one piece and in small pieces must give the same
 * frames, each within the cap, each a copy of what was on the wire.
 */
#include "netbuffer/deframe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
	const uint8_t *all;
	size_t all_bytes;
	uint8_t *frame;
	size_t frame_bytes;
	uint64_t frames, sum, last_end;
	bool skip;
};

static uint8_t *begin(void *arg, size_t wire_bytes)
{
	struct sink *s = arg;

	if (s->frame || wire_bytes > DEFRAME_MAX_FRAME_BYTES + DEFRAME_MAX_HEAD_BYTES)
		abort();
	s->frame_bytes = wire_bytes;
	if (s->skip && s->frames % 3 == 1)
		return NULL;
	s->frame = malloc(wire_bytes);
	return s->frame;
}

static bool end(void *arg, uint64_t end_pos)
{
	struct sink *s = arg;

	if (end_pos > s->all_bytes || end_pos - s->frame_bytes != s->last_end)
		abort();
	if (s->frame && memcmp(s->frame, s->all + s->last_end, s->frame_bytes))
		abort();
	free(s->frame);
	s->frame = NULL;
	s->last_end = end_pos;
	s->frames++;
	s->sum = s->sum * 31 + end_pos;
	return true;
}

static int run(struct sink *s, bool vnet_hdr, size_t piece)
{
	const struct deframe_ops ops = {begin, end, s};
	struct deframe st = {.vnet_hdr = vnet_hdr};
	size_t at = 0;
	int rc = 0;

	while (at < s->all_bytes && !rc) {
		size_t n = s->all_bytes - at < piece ? s->all_bytes - at : piece;

		rc = deframe_feed(&st, &ops, s->all + at, n);
		at += n;
	}
	free(s->frame);
	s->frame = NULL;
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sink whole, pieces;
	int rc1, rc2;

	if (size < 2)
		return 0;
	whole = (struct sink){.all = data + 2, .all_bytes = size - 2, .skip = data[0] & 2};
	pieces = whole;
	rc1 = run(&whole, data[0] & 1, SIZE_MAX);
	rc2 = run(&pieces, data[0] & 1, data[1] ? data[1] : 1);
	if (rc1 != rc2 || whole.frames != pieces.frames || whole.sum != pieces.sum)
		abort();
	return 0;
}
