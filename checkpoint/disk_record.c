/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk records: made on the primary, checked and decoded on the backup. Format: docs/WIRE.md. */
#include "checkpoint/disk_record.h"
#include "checkpoint/page_record.h"

#include <lz4.h>
#include <string.h>
#include <xxhash.h>

enum { RAW = 0, LZ4 = 1 };
/* Below it, compressing costs more than it saves. */
#define LZ4_MIN_BYTES 1024
#define LZ4_SAMPLED_BYTES (32u << 10)
#define LZ4_SAMPLE_BYTES 4096

static void put_head(uint8_t *p, const struct ckpt_disk_rec *r)
{
	p[0] = r->kind;
	p[1] = r->encoding;
	tv_put_le16(p + 2, r->disk);
	tv_put_le32(p + 4, r->payload_bytes);
	tv_put_le64(p + 8, r->offset);
	tv_put_le64(p + 16, r->bytes);
	tv_put_le64(p + 24, r->hash);
}

void ckpt_disk_get(const uint8_t *p, struct ckpt_disk_rec *r)
{
	*r = (struct ckpt_disk_rec){
		.kind = p[0],
		.encoding = p[1],
		.disk = tv_get_le16(p + 2),
		.payload_bytes = tv_get_le32(p + 4),
		.offset = tv_get_le64(p + 8),
		.bytes = tv_get_le64(p + 16),
		.hash = tv_get_le64(p + 24),
	};
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/*
 * Does a piece from the middle of a large write compress? The guest waits for this, and LZ4 needs
 * as long to find out that nothing can be saved as it needs to save.
 */
static bool promising(const uint8_t *data, uint64_t bytes, uint8_t *scratch)
{
	if (bytes < LZ4_SAMPLED_BYTES)
		return true;
	return LZ4_compress_fast((const char *)data + bytes / 2, (char *)scratch, LZ4_SAMPLE_BYTES,
				 LZ4_SAMPLE_BYTES - LZ4_SAMPLE_BYTES / 8, 4) > 0;
}

/* Puts a WRITE's contents behind the header, smaller if that is worth it. */
static void put_payload(struct ckpt_disk_rec *r, const uint8_t *data, uint8_t *scratch,
			uint8_t *payload)
{
	int n = 0;

	r->hash = XXH3_64bits(data, r->bytes);
	/* An eighth must be gained, or decoding is not worth its time. */
	if (r->bytes >= LZ4_MIN_BYTES && promising(data, r->bytes, scratch))
		n = LZ4_compress_fast((const char *)data, (char *)scratch, (int)r->bytes,
				      (int)(r->bytes - r->bytes / 8), 4);
	r->encoding = n > 0 ? LZ4 : RAW;
	r->payload_bytes = n > 0 ? (uint32_t)n : (uint32_t)r->bytes;
	if (n > 0)
		memcpy(payload, scratch, r->payload_bytes);
	else if (payload != data)
		memcpy(payload, data, r->payload_bytes);
}

size_t ckpt_disk_record(enum ckpt_disk_kind kind, unsigned disk, uint64_t offset, const void *data,
			uint64_t bytes, uint8_t *scratch, uint8_t *out)
{
	struct ckpt_disk_rec r = {
		.kind = (uint8_t)kind, .disk = (uint16_t)disk, .offset = offset, .bytes = bytes};

	if (kind == CKPT_DISK_WRITE && all_zero(data, bytes))
		r.kind = CKPT_DISK_ZERO;
	if (r.kind == CKPT_DISK_WRITE)
		put_payload(&r, data, scratch, out + CKPT_DISK_HEADER_BYTES);
	put_head(out, &r);
	return CKPT_DISK_HEADER_BYTES + r.payload_bytes;
}

static const char *check_write(const struct ckpt_disk_rec *r)
{
	if (r->bytes > CKPT_DISK_PIECE_BYTES)
		return "too long";
	if (r->encoding == RAW)
		return r->payload_bytes == r->bytes ? NULL : "raw payload of a wrong length";
	if (r->encoding != LZ4)
		return "unknown encoding";
	return r->payload_bytes && r->payload_bytes < r->bytes
		       ? NULL
		       : "impossible length of an LZ4 payload";
}

const char *ckpt_disk_check(const struct ckpt_disk_rec *r, unsigned disks, const uint64_t *sizes)
{
	if (r->disk >= disks)
		return "no such disk";
	if (!r->bytes || r->bytes > sizes[r->disk] || r->offset > sizes[r->disk] - r->bytes)
		return "outside of the disk";
	if (r->kind == CKPT_DISK_WRITE)
		return check_write(r);
	if (r->kind != CKPT_DISK_ZERO && r->kind != CKPT_DISK_TRIM)
		return "unknown kind";
	return r->payload_bytes || r->encoding || r->hash ? "unexpected contents" : NULL;
}

int ckpt_disk_decode(const struct ckpt_disk_rec *r, const uint8_t *payload, uint8_t *scratch,
		     const uint8_t **out)
{
	*out = payload;
	if (r->encoding == RAW)
		return 0;
	*out = scratch;
	return LZ4_decompress_safe((const char *)payload, (char *)scratch, (int)r->payload_bytes,
				   (int)r->bytes) == (int)r->bytes
		       ? 0
		       : TV_E_CORRUPT;
}

int ckpt_disk_contents(const struct ckpt_disk_rec *r, const uint8_t *payload, uint8_t *scratch,
		       const uint8_t **out)
{
	int rc = ckpt_disk_decode(r, payload, scratch, out);

	return rc || XXH3_64bits(*out, r->bytes) == r->hash ? rc : TV_E_CORRUPT;
}
