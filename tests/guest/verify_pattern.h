/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What verify's blocks hold: number n of writer w always goes to the same place, and a block's
 * content follows from seed, block number and n alone (theory of operation: verify.c).
 */
#ifndef VERIFY_PATTERN_H
#define VERIFY_PATTERN_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 4096u
#define WORDS (BLOCK / sizeof(uint64_t))
#define RUN_MAX 8u
#define WRITERS_MAX 16u
#define ZERO_EVERY 16u
#define ZERO_TAIL 64u /* how many writes of zeroes in a row may hide the last number */
#define MAGIC UINT64_C(0x746d766670617431) /* "twvmpat1", nearly */

struct head {
	uint64_t magic, seed;
	uint32_t writers, zero;
	uint64_t blocks; /* of the whole disk */
	uint64_t block, number;
};
struct disk {
	int fd;
	uint64_t seed, blocks, region;
	uint32_t writers;
	bool zero;
	uint64_t *holds; /* number of the write each block holds; 0: zeroes */
};
struct run {
	uint64_t first;
	unsigned count;
	bool zero;
};

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void fill(const struct disk *d, uint64_t block, uint64_t number, uint64_t *out)
{
	struct head h = {.magic = MAGIC,
			 .seed = d->seed,
			 .writers = d->writers,
			 .zero = d->zero,
			 .blocks = d->blocks,
			 .block = block,
			 .number = number};
	uint64_t x = mix(d->seed ^ mix(block)) ^ mix(number), sum = 0;
	size_t i = sizeof(h) / sizeof(*out);

	if (!number) {
		memset(out, 0, BLOCK);
		return;
	}
	memcpy(out, &h, sizeof(h));
	for (; i < WORDS - 1; i++)
		out[i] = x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	for (i = 0; i < WORDS - 1; i++)
		sum = mix(sum ^ out[i]);
	out[i] = sum;
}

static struct run place(const struct disk *d, uint32_t writer, uint64_t number)
{
	uint64_t x = mix(mix(d->seed + writer) + number);
	uint64_t at = x % d->region, left = d->region - at;
	unsigned count = 1 + (unsigned)((x >> 40) % RUN_MAX);

	return (struct run){.first = writer * d->region + at,
			    .count = left < count ? (unsigned)left : count,
			    .zero = d->zero && (x >> 50) % ZERO_EVERY == 0};
}

/* In words, what a block that is not as it should be holds. */
static const char *describe(const struct disk *d, uint64_t block, const uint64_t *data, char *out,
			    size_t size)
{
	uint64_t good[WORDS];
	struct head h;

	memcpy(&h, data, sizeof(h));
	if (!h.magic && !h.number && !memcmp(data, data + 1, BLOCK - sizeof(*data)))
		snprintf(out, size, "zeroes");
	else if (h.magic != MAGIC || h.seed != d->seed)
		snprintf(out, size, "foreign bytes");
	else if (h.block != block)
		snprintf(out, size, "block %" PRIu64, h.block);
	else if (fill(d, block, h.number, good), memcmp(good, data, BLOCK) != 0)
		snprintf(out, size, "a torn write %" PRIu64, h.number);
	else
		snprintf(out, size, "write %" PRIu64, h.number);
	return out;
}

#endif
