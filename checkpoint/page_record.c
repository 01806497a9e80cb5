/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One record: header, checks on it, contents. */
#include "checkpoint/page_record.h"

#include <lz4.h>
#include <string.h>
#include <xxhash.h>

/* Sixteen bytes at any address: every supported machine has such a register. */
typedef uint64_t wide __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t lanes __attribute__((vector_size(16)));
#define LINE_BYTES 64u

void ckpt_rec_put(uint8_t *p, const struct ckpt_rec *r)
{
	p[0] = r->encoding;
	p[1] = r->flags;
	tv_put_le16(p + 2, r->block);
	tv_put_le32(p + 4, r->payload_bytes);
	tv_put_le64(p + 8, r->offset);
	tv_put_le64(p + 16, r->hash);
	tv_put_le64(p + 24, r->aux);
}

void ckpt_rec_get(const uint8_t *p, struct ckpt_rec *r)
{
	*r = (struct ckpt_rec){
		.encoding = p[0],
		.flags = p[1],
		.block = tv_get_le16(p + 2),
		.payload_bytes = tv_get_le32(p + 4),
		.offset = tv_get_le64(p + 8),
		.hash = tv_get_le64(p + 16),
		.aux = tv_get_le64(p + 24),
	};
}

static const char *check_payload(const struct ckpt_rec *r, uint32_t decoded)
{
	switch (r->encoding) {
	case CKPT_ZERO:
		if (r->block == CKPT_BLOCK_STATE)
			return "device state cannot be a zero page";
		return r->payload_bytes ? "a zero page has no payload" : NULL;
	case CKPT_RAW:
		return r->payload_bytes != decoded ? "raw payload of a wrong length" : NULL;
	case CKPT_LZ4:
	case CKPT_XOR_LZ4:
		/* A block that saves nothing is sent raw, so this bounds every payload. */
		if (!r->payload_bytes || r->payload_bytes >= decoded)
			return "compressed payload of an impossible length";
		return NULL;
	default:
		return "unknown encoding";
	}
}

static const char *check_state(const struct ckpt_rec *r)
{
	uint32_t total = ckpt_rec_state_total(r), piece = ckpt_rec_decoded_bytes(r);

	if (!total || total > CKPT_MAX_STATE_BYTES)
		return "device state of an impossible size";
	if (!piece || piece > CKPT_PIECE_BYTES)
		return "piece of device state of an impossible size";
	if (r->offset > total || piece > total - r->offset)
		return "piece beyond the end of the device state";
	return NULL;
}

const char *ckpt_rec_check(const struct ckpt_rec *r)
{
	const char *why;

	if (r->flags)
		return "unknown flags";
	if (r->block == CKPT_BLOCK_STATE) {
		why = check_state(r);
		if (why)
			return why;
	} else {
		if (r->block >= CKPT_MAX_BLOCKS)
			return "no such block";
		if (r->offset % TV_PAGE_BYTES)
			return "offset is not page aligned";
		if (r->aux)
			return "reserved field is not zero";
	}
	return check_payload(r, ckpt_rec_decoded_bytes(r));
}

static int inflate(const uint8_t *payload, uint32_t bytes, uint8_t *dst, uint32_t decoded)
{
	int n = LZ4_decompress_safe((const char *)payload, (char *)dst, (int)bytes, (int)decoded);

	return n == (int)decoded ? 0 : TV_E_CORRUPT;
}

int ckpt_rec_decode(const struct ckpt_rec *r, const uint8_t *payload, const uint8_t *base,
		    uint8_t *dst, uint8_t *scratch)
{
	uint32_t n = ckpt_rec_decoded_bytes(r);
	int rc;

	switch (r->encoding) {
	case CKPT_ZERO:
		memset(dst, 0, n);
		return 0;
	case CKPT_RAW:
		memcpy(dst, payload, n);
		return 0;
	case CKPT_LZ4:
		return inflate(payload, r->payload_bytes, dst, n);
	case CKPT_XOR_LZ4:
		rc = inflate(payload, r->payload_bytes, scratch, n);
		if (rc)
			return rc;
		ckpt_xor(dst, base, scratch, n);
		return 0;
	default:
		return TV_E_PROTOCOL;
	}
}

uint64_t ckpt_hash(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}

bool ckpt_is_zero(const void *page)
{
	const uint8_t *p = page;

	for (unsigned i = 0; i < TV_PAGE_BYTES; i += LINE_BYTES) {
		const wide *w = (const wide *)(p + i);
		wide any = (w[0] | w[1]) | (w[2] | w[3]);

		/* Most pages that are not zero say so in their first line. */
		if (any[0] | any[1])
			return false;
	}
	return true;
}

void ckpt_xor(uint8_t *dst, const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t i;

	for (i = 0; i + sizeof(wide) <= n; i += sizeof(wide))
		*(wide *)(dst + i) = *(const wide *)(a + i) ^ *(const wide *)(b + i);
	for (; i < n; i++)
		dst[i] = a[i] ^ b[i];
}

/* Adds one to each lane of count whose byte of v is zero (a comparison's true is -1). */
static inline void count_zeroes(lanes *count, wide v)
{
	*count -= (lanes)((lanes)v == 0);
}

static unsigned sum_lanes(lanes count)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < sizeof(count); i++)
		sum += count[i];
	return sum;
}

void ckpt_xor_page(uint8_t *dst, const uint8_t *page, const uint8_t *base, unsigned *zeroes_diff,
		   unsigned *zeroes_page)
{
	*zeroes_diff = *zeroes_page = 0;
	/* Half a page at a time: a lane is a byte and must not count to 256. */
	for (unsigned half = 0; half < TV_PAGE_BYTES; half += TV_PAGE_BYTES / 2) {
		lanes in_diff = {0}, in_page = {0};

		for (unsigned i = half; i < half + TV_PAGE_BYTES / 2; i += sizeof(wide)) {
			wide x = *(const wide *)(page + i), d = x ^ *(const wide *)(base + i);

			*(wide *)(dst + i) = d;
			count_zeroes(&in_diff, d);
			count_zeroes(&in_page, x);
		}
		*zeroes_diff += sum_lanes(in_diff);
		*zeroes_page += sum_lanes(in_page);
	}
}

void ckpt_stats_count(struct ckpt_stats *s, const struct ckpt_rec *r)
{
	s->raw_bytes += CKPT_RECORD_HEADER_BYTES + ckpt_rec_decoded_bytes(r);
	s->wire_bytes += CKPT_RECORD_HEADER_BYTES + r->payload_bytes;
	if (r->block == CKPT_BLOCK_STATE) {
		s->state_records++;
		return;
	}
	s->pages++;
	s->zero_pages += r->encoding == CKPT_ZERO;
	s->raw_pages += r->encoding == CKPT_RAW;
	s->lz4_pages += r->encoding == CKPT_LZ4;
	s->xor_pages += r->encoding == CKPT_XOR_LZ4;
}
