/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as page records. Input: one byte of flags, two bytes (little endian) with the length of
 * the first epoch, then record bytes for two epochs, or for a stream. No fuzzer guesses a hash, so
 * with FIX_HASH the headers' hashes are made right first, and the rest of the checks gets its turn.
 *
 * What is asserted, against a reference that decodes with LZ4 alone: what is refused changes
 * nothing; what is taken makes replica and device state exactly what the reference says.
 */
#include <assert.h>
#include <errno.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "checkpoint/checkpoint.h"

#define FIX_HASH 1u
#define STREAM 2u
#define SPILL 4u
#define BLOCKS 2u /* block 0 is mapped, block 1 is not */
#define BLOCK_BYTES (4u * TV_PAGE_BYTES)
#define STATE_MOST (1u << 20)

struct world {
	uint8_t block[BLOCKS][BLOCK_BYTES];
	uint8_t state[STATE_MOST];
	size_t state_bytes;
};
static struct world replica, ref, before;
static int ascending; /* what ref_apply last saw was, strictly */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t block_bytes(void *arg, uint32_t block)
{
	(void)arg;
	assert(block < BLOCKS);
	return BLOCK_BYTES;
}

static uint8_t *map(void *arg, uint32_t block)
{
	(void)arg;
	return block ? NULL : replica.block[0];
}

static int read_block(void *arg, uint32_t block, uint64_t offset, void *p, size_t n)
{
	(void)arg;
	assert(block == 1 && offset <= BLOCK_BYTES && n <= BLOCK_BYTES - offset);
	memcpy(p, replica.block[1] + offset, n);
	return 0;
}

static int write_block(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n)
{
	(void)arg;
	assert(block == 1 && offset <= BLOCK_BYTES && n <= BLOCK_BYTES - offset);
	memcpy(replica.block[1] + offset, p, n);
	return 0;
}

/* Decodes payload onto what is at dst; 0 when it is no such thing. */
static int ref_decode(uint8_t encoding, const uint8_t *payload, uint32_t bytes, uint8_t *dst,
		      uint32_t n)
{
	static uint8_t plain[256u << 10];

	if (n > sizeof(plain))
		return 0;
	if (encoding == CKPT_ZERO) {
		memset(dst, 0, n);
		return bytes == 0;
	}
	if (encoding == CKPT_RAW) {
		if (bytes == n)
			memcpy(dst, payload, n);
		return bytes == n;
	}
	if (encoding > CKPT_XOR_LZ4 || bytes > INT32_MAX ||
	    LZ4_decompress_safe((const char *)payload, (char *)plain, (int)bytes, (int)n) != (int)n)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		dst[i] = encoding == CKPT_LZ4 ? plain[i] : dst[i] ^ plain[i];
	return 1;
}

/*
 * Applies records to the reference as far as they make sense; with fix, writes their hashes.
 * Returns how many there are; a part of one at the end counts, as whoever counts would have to.
 */
static uint64_t ref_apply(uint8_t *p, size_t n, int fix)
{
	static uint8_t next[STATE_MOST];
	uint64_t records = 0;
	uint64_t last_offset = 0;
	uint16_t last_block = 0;
	size_t state_bytes = 0;
	int good = 1;

	ascending = 1;
	memset(next, 0, sizeof(next));
	memcpy(next, ref.state, ref.state_bytes);
	while (n >= CKPT_RECORD_HEADER_BYTES) {
		uint32_t payload = tv_get_le32(p + 4), bytes = TV_PAGE_BYTES;
		uint16_t block = tv_get_le16(p + 2);
		uint64_t offset = tv_get_le64(p + 8), aux = tv_get_le64(p + 24), end = BLOCK_BYTES;
		uint8_t *dst = NULL;

		if (payload > n - CKPT_RECORD_HEADER_BYTES)
			break;
		if (records++ &&
		    (block < last_block || (block == last_block && offset <= last_offset)))
			ascending = 0;
		last_block = block;
		last_offset = offset;
		if (block == CKPT_BLOCK_STATE) {
			bytes = (uint32_t)(aux >> 32);
			end = (uint32_t)aux < STATE_MOST ? (uint32_t)aux : STATE_MOST;
			state_bytes = (size_t)end;
			dst = next;
		} else if (block < BLOCKS) {
			dst = ref.block[block];
		}
		good = good && dst && offset <= end && bytes <= end - offset &&
		       ref_decode(p[0], p + CKPT_RECORD_HEADER_BYTES, payload, dst + offset, bytes);
		if (good && fix)
			tv_put_le64(p + 16, XXH3_64bits(dst + offset, bytes));
		p += CKPT_RECORD_HEADER_BYTES + payload;
		n -= CKPT_RECORD_HEADER_BYTES + payload;
	}
	memcpy(ref.state, next, state_bytes);
	if (state_bytes)
		ref.state_bytes = state_bytes;
	return records + (n > 0);
}

static void same_memory(const struct world *a, const struct world *b)
{
	assert(!memcmp(a->block, b->block, sizeof(a->block)));
}

static int run_epoch(struct ckpt_dec *dec, uint8_t *p, size_t n, int fix)
{
	struct ckpt_sum *sum = ckpt_sum_new();
	struct tv_err e = {0};
	const uint8_t *state;
	size_t bytes, half = n / 2;
	uint64_t records;
	int rc;

	before = replica;
	records = ref_apply(p, n, fix);
	ckpt_sum_add(sum, p, n);
	ckpt_dec_begin(dec);
	rc = ckpt_dec_add(dec, p, half);
	if (!rc)
		rc = ckpt_dec_add(dec, p + half, n - half);
	if (!rc)
		rc = ckpt_dec_verify(dec, records, ckpt_sum_value(sum), &e);
	ckpt_sum_free(sum);
	same_memory(&replica, &before);
	if (rc) {
		assert(ckpt_dec_apply(dec) == -EINVAL);
		return rc;
	}
	rc = ckpt_dec_apply(dec);
	assert(!rc && ascending);
	same_memory(&replica, &ref);
	state = ckpt_dec_state(dec, &bytes);
	assert(state);
	/* The reference holds no more than this. */
	if (bytes <= STATE_MOST)
		assert(bytes == ref.state_bytes && !memcmp(state, ref.state, bytes));
	return 0;
}

static void run_stream(struct ckpt_dec *dec, uint8_t *p, size_t n, int fix)
{
	struct tv_err e = {0};
	size_t pos = 0, step = 1;
	int rc = 0;

	(void)ref_apply(p, n, fix);
	for (; pos < n && !rc; pos += step, step = step * 3 % 5003) {
		if (step > n - pos)
			step = n - pos;
		rc = ckpt_dec_stream(dec, p + pos, step, &e);
	}
	if (!rc && !ckpt_dec_stream_pending(dec))
		same_memory(&replica, &ref);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ckpt_mem mem = {NULL, BLOCKS, block_bytes, map, read_block, write_block, NULL};
	struct ckpt_dec *dec;
	size_t first;
	uint8_t *p;
	int fix;
	static struct ckpt_room *room;

	if (!room && ckpt_room_new("/tmp", UINT64_C(1) << 40, 0, &room))
		return 0;
	if (size < 3 || size > (768u << 10))
		return 0;
	memset(replica.block, 0, sizeof(replica.block));
	for (unsigned i = 0; i < BLOCK_BYTES; i += 5)
		replica.block[0][i] = replica.block[1][i] = (uint8_t)(i >> 4);
	memcpy(ref.block, replica.block, sizeof(ref.block));
	ref.state_bytes = 0;
	fix = data[0] & FIX_HASH;
	if (ckpt_dec_new(&mem, data[0] & SPILL ? 50 : 1u << 20, room, &dec))
		return 0;
	p = malloc(size);
	memcpy(p, data, size);
	first = tv_get_le16(p + 1);
	size -= 3;
	if (first > size)
		first = size;
	if (data[0] & STREAM)
		run_stream(dec, p + 3, size, fix);
	else if (!run_epoch(dec, p + 3, first, fix))
		(void)run_epoch(dec, p + 3 + first, size - first, fix);
	ckpt_dec_free(dec);
	free(p);
	return 0;
}
