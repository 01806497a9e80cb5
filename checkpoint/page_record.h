/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page records as both halves of the room see them: header and contents (docs/WIRE.md, "Page
 * records"). Private to checkpoint/.
 */
#ifndef CHECKPOINT_PAGE_RECORD_H
#define CHECKPOINT_PAGE_RECORD_H

#include "checkpoint/checkpoint.h"

#define CKPT_PIECE_BYTES (256u << 10) /* decoded device state in one record, at most */
#define CKPT_MAX_RECORD_BYTES (CKPT_RECORD_HEADER_BYTES + CKPT_PIECE_BYTES)

struct ckpt_rec {
	uint8_t encoding, flags;
	uint16_t block;
	uint32_t payload_bytes;
	uint64_t offset; /* in the block; in the device state for CKPT_BLOCK_STATE */
	uint64_t hash;	 /* of the decoded contents */
	uint64_t aux;	 /* pages: 0; state: total bytes, and bytes of this piece << 32 */
};

static inline uint32_t ckpt_rec_state_total(const struct ckpt_rec *r)
{
	return (uint32_t)r->aux;
}

/* Bytes of decoded contents. */
static inline uint32_t ckpt_rec_decoded_bytes(const struct ckpt_rec *r)
{
	return r->block == CKPT_BLOCK_STATE ? (uint32_t)(r->aux >> 32) : TV_PAGE_BYTES;
}

void ckpt_rec_put(uint8_t *p, const struct ckpt_rec *r);
void ckpt_rec_get(const uint8_t *p, struct ckpt_rec *r);
/*
 * Everything a header can be checked for on its own; trusts nothing. After 0 the payload is at most
 * CKPT_PIECE_BYTES and the decoded contents are 1..CKPT_PIECE_BYTES bytes. NULL or what is wrong.
 */
const char *ckpt_rec_check(const struct ckpt_rec *r) TV_MUST_CHECK;
/*
 * Decodes a checked record into dst (ckpt_rec_decoded_bytes). base: the receiver's contents there,
 * as long as dst, used by CKPT_XOR_LZ4 only; base may be dst, dst never overlaps payload. scratch
 * takes as much again. TV_E_CORRUPT when the payload is no LZ4 block of that length.
 */
int ckpt_rec_decode(const struct ckpt_rec *r, const uint8_t *payload, const uint8_t *base,
		    uint8_t *dst, uint8_t *scratch) TV_MUST_CHECK;
uint64_t ckpt_hash(const void *p, size_t n);
bool ckpt_is_zero(const void *page);
/* dst = a ^ b; dst may be a or b. */
void ckpt_xor(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t n);
/* dst = page ^ base; how many bytes of dst and of page are zero. */
void ckpt_xor_page(uint8_t *dst, const uint8_t *page, const uint8_t *base, unsigned *zeroes_diff,
		   unsigned *zeroes_page);
void ckpt_stats_count(struct ckpt_stats *s, const struct ckpt_rec *r);

#endif
