/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream of a QEMU filter-redirector: be32 length, be32 virtio header length if the port has
 * vnet_hdr, then length bytes (net/filter-mirror.c, filter_send). A pure function of bytes.
 */
#ifndef NETBUFFER_DEFRAME_H
#define NETBUFFER_DEFRAME_H

#include "common/common.h"

/* A GSO frame is at most 64 KiB and some headers. */
#define DEFRAME_MAX_FRAME_BYTES (128u << 10)
#define DEFRAME_MAX_HEAD_BYTES 8u

struct deframe_ops {
	/* A frame begins: room for its wire bytes, header included, or NULL to skip it. */
	uint8_t *(*begin)(void *arg, size_t wire_bytes);
	/* The frame that ended at this position of the stream; false stops the parser. */
	bool (*end)(void *arg, uint64_t end_pos);
	void *arg;
};

struct deframe {
	bool vnet_hdr;
	uint8_t head[DEFRAME_MAX_HEAD_BYTES];
	unsigned head_have;
	uint32_t body_bytes, body_have;
	uint8_t *out; /* where the frame goes; NULL: skipped */
	uint64_t pos; /* bytes taken since the start */
};

/* Takes all n bytes; 0, or TV_E_PROTOCOL, after which the stream must not be parsed further. */
int deframe_feed(struct deframe *s, const struct deframe_ops *ops, const uint8_t *p,
		 size_t n) TV_MUST_CHECK;
/* No byte of an unfinished frame has been taken. */
static inline bool deframe_between(const struct deframe *s)
{
	return !s->head_have;
}

#endif
