/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames: the 16-byte header and the parser, as pure functions of bytes (no socket, no TLS, no
 * clock), so that a fuzzer can drive them. The format is docs/WIRE.md.
 */
#ifndef REPLICATOR_LINK_FRAME_H
#define REPLICATOR_LINK_FRAME_H

#include "common/common.h"

#define FRAME_HEAD_BYTES 16u
#define FRAME_MAGIC 0x7456u

enum frame_type { FRAME_CONTROL = 1, FRAME_RECORDS = 2, FRAME_DISK = 3 };
/* A disk frame begins with the epoch; at least one byte follows. */
#define FRAME_DISK_HEAD_BYTES 8u

struct frame_head {
	enum frame_type type;
	uint32_t bytes; /* of the payload; at least 1, at most the type's cap */
	uint64_t hash;	/* XXH3, 64 bits, seed 0, of the payload (disk: of its first 8 bytes) */
};

/*
 * Writes the header of a frame that carries n bytes of payload. Of a disk frame's payload only the
 * epoch (FRAME_DISK_HEAD_BYTES) is hashed: disk records have hashes of their own, made where the
 * bytes came from the VM, and every pass over a disk's bytes is time that the VM waits for.
 */
void frame_put_head(uint8_t out[FRAME_HEAD_BYTES], enum frame_type type, const void *payload,
		    size_t n);
/* TV_E_PROTOCOL with a sentence for anything the format does not allow. */
int frame_get_head(const uint8_t in[FRAME_HEAD_BYTES], struct frame_head *out,
		   struct tv_err *e) TV_MUST_CHECK;

/*
 * One frame being received. The payload's memory is kept for the next frame. Disk data are not
 * gathered: payload is the epoch then, and what follows is handed on in pieces as it comes.
 */
struct frame_rx {
	uint8_t head_bytes[FRAME_HEAD_BYTES];
	unsigned head_have;
	struct frame_head head; /* valid once head_have is complete */
	struct tv_buf payload;
	uint32_t passed_bytes; /* of a disk frame's data, so far */
	const uint8_t *piece;  /* in the bytes given to frame_rx_feed last */
	size_t piece_bytes;
};
void frame_rx_init(struct frame_rx *rx);
void frame_rx_dispose(struct frame_rx *rx);
/*
 * Takes bytes up to the end of one frame; *used is how many. 1: rx->head and rx->payload
 * are a whole, checked frame, or piece is a piece of a disk frame, valid until the next call; 0:
 * more bytes are needed; negative (TV_E_PROTOCOL, TV_E_CORRUPT, -ENOMEM): the stream must not be
 * parsed further.
 */
int frame_rx_feed(struct frame_rx *rx, const uint8_t *p, size_t n, size_t *used,
		  struct tv_err *e) TV_MUST_CHECK;
/* True between two frames: no byte of an unfinished frame has been taken. */
bool frame_rx_between(const struct frame_rx *rx);

#endif
