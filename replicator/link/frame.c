/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame header and the frame parser (docs/WIRE.md). All input is taken as hostile. */
#include "replicator/link/frame.h"
#include "replicator/link/link.h"

#include <string.h>
#include <errno.h>
#include <xxhash.h>

static uint32_t type_cap(unsigned type)
{
	switch (type) {
	case FRAME_CONTROL:
		return REPL_MAX_CONTROL_BYTES;
	case FRAME_RECORDS:
	case FRAME_DISK:
		return REPL_MAX_RECORDS_BYTES;
	default:
		return 0;
	}
}

static size_t hashed_bytes(enum frame_type type, size_t n)
{
	return type == FRAME_DISK ? FRAME_DISK_HEAD_BYTES : n;
}

void frame_put_head(uint8_t out[FRAME_HEAD_BYTES], enum frame_type type, const void *payload,
		    size_t n)
{
	out[0] = (uint8_t)type;
	out[1] = 0;
	tv_put_le16(out + 2, FRAME_MAGIC);
	tv_put_le32(out + 4, (uint32_t)n);
	tv_put_le64(out + 8, XXH3_64bits(payload, hashed_bytes(type, n)));
}

int frame_get_head(const uint8_t in[FRAME_HEAD_BYTES], struct frame_head *out, struct tv_err *e)
{
	uint16_t magic = tv_get_le16(in + 2);
	uint32_t bytes = tv_get_le32(in + 4);
	uint32_t cap = type_cap(in[0]);

	if (magic != FRAME_MAGIC)
		return tv_fail(e, TV_E_PROTOCOL, "malformed frame: magic 0x%04x instead of 0x%04x",
			       magic, FRAME_MAGIC);
	if (!cap)
		return tv_fail(e, TV_E_PROTOCOL, "malformed frame: unknown type %u", in[0]);
	if (in[1])
		return tv_fail(e, TV_E_PROTOCOL, "malformed frame: unknown flags 0x%02x", in[1]);
	if (bytes > cap)
		return tv_fail(e, TV_E_PROTOCOL,
			       "malformed frame: type %u with %u bytes, at most %u are allowed",
			       in[0], bytes, cap);
	if (!bytes)
		return tv_fail(e, TV_E_PROTOCOL, "malformed frame: type %u without payload", in[0]);
	if (in[0] == FRAME_DISK && bytes <= FRAME_DISK_HEAD_BYTES)
		return tv_fail(e, TV_E_PROTOCOL,
			       "malformed frame: a disk frame of %u bytes is too short", bytes);
	out->type = (enum frame_type)in[0];
	out->bytes = bytes;
	out->hash = tv_get_le64(in + 8);
	return 0;
}

void frame_rx_init(struct frame_rx *rx)
{
	memset(rx, 0, sizeof(*rx));
	tv_buf_init(&rx->payload, REPL_MAX_RECORDS_BYTES);
}

void frame_rx_dispose(struct frame_rx *rx)
{
	tv_buf_dispose(&rx->payload);
	rx->head_have = 0;
}

/* What is gathered of the payload: all of it, or a disk frame's epoch. */
static size_t gathered_bytes(const struct frame_rx *rx)
{
	return hashed_bytes(rx->head.type, rx->head.bytes);
}

bool frame_rx_between(const struct frame_rx *rx)
{
	return !rx->head_have || (rx->head_have == FRAME_HEAD_BYTES &&
				  rx->payload.bytes + rx->passed_bytes == rx->head.bytes);
}

static int take_head(struct frame_rx *rx, const uint8_t *p, size_t n, size_t *used,
		     struct tv_err *e)
{
	size_t take = FRAME_HEAD_BYTES - rx->head_have;

	if (take > n)
		take = n;
	memcpy(rx->head_bytes + rx->head_have, p, take);
	rx->head_have += (unsigned)take;
	*used += take;
	if (rx->head_have < FRAME_HEAD_BYTES)
		return 0;
	return frame_get_head(rx->head_bytes, &rx->head, e);
}

static int check_hash(const struct frame_rx *rx, struct tv_err *e)
{
	if (XXH3_64bits(rx->payload.data, rx->payload.bytes) == rx->head.hash)
		return 1;
	return tv_fail(e, TV_E_CORRUPT,
		       "the checksum of a frame of type %d and %u bytes does not match its data",
		       rx->head.type, rx->head.bytes);
}

/* Of a disk frame whose epoch is known. 1: there is a piece. */
static int pass_piece(struct frame_rx *rx, const uint8_t *p, size_t n, size_t *used)
{
	size_t take = rx->head.bytes - rx->payload.bytes - rx->passed_bytes;

	if (take > n)
		take = n;
	rx->piece = p;
	rx->piece_bytes = take;
	rx->passed_bytes += (uint32_t)take;
	*used += take;
	return take > 0;
}

int frame_rx_feed(struct frame_rx *rx, const uint8_t *p, size_t n, size_t *used, struct tv_err *e)
{
	size_t take;
	int rc;

	*used = 0;
	if (frame_rx_between(rx)) {
		rx->head_have = 0;
		rx->payload.bytes = 0;
		rx->passed_bytes = 0;
	}
	if (rx->head_have < FRAME_HEAD_BYTES) {
		rc = take_head(rx, p, n, used, e);
		if (rc || rx->head_have < FRAME_HEAD_BYTES)
			return rc;
	}
	take = gathered_bytes(rx) - rx->payload.bytes;
	if (take) {
		if (take > n - *used)
			take = n - *used;
		rc = tv_buf_add(&rx->payload, p + *used, take);
		if (rc)
			return tv_fail(e, rc, "no memory for a frame of %u bytes", rx->head.bytes);
		*used += take;
		if (rx->payload.bytes < gathered_bytes(rx))
			return 0;
		rc = check_hash(rx, e);
		if (rc < 0 || rx->head.type != FRAME_DISK)
			return rc;
	}
	return pass_piece(rx, p + *used, n - *used, used);
}
