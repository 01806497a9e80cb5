/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long the page records of each kind take, both ways: ckpt_speed [rounds]. Prints, asserts
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "checkpoint/checkpoint.h"

#define PAGES 4096u

static uint8_t *guest, *replica;

static uint64_t block_bytes(void *arg, uint32_t block)
{
	(void)arg;
	(void)block;
	return (uint64_t)PAGES * TV_PAGE_BYTES;
}

static uint8_t *map(void *arg, uint32_t block)
{
	(void)arg;
	(void)block;
	return replica;
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void fill_zero(uint8_t *p)
{
	memset(p, 0, TV_PAGE_BYTES);
}

static void fill_noise(uint8_t *p)
{
	for (unsigned i = 0; i < TV_PAGE_BYTES; i += 8)
		tv_put_le64(p + i, next_random());
}

/* What heaps look like: pointers into one region, small counts, holes. */
static void fill_heap(uint8_t *p)
{
	for (unsigned i = 0; i < TV_PAGE_BYTES; i += 8) {
		uint64_t r = next_random();

		tv_put_le64(p + i, r % 4 == 0	? 0x7f5500000000u + (r >> 8) % 65536 * 16
				   : r % 4 == 1 ? (r >> 8) % 100
						: 0);
	}
}

/* A few words written, the rest as it was: the usual dirty page. */
static void change_words(uint8_t *p)
{
	for (unsigned i = 0; i < 8; i++)
		tv_put_le64(p + next_random() % (TV_PAGE_BYTES / 8) * 8, next_random());
}

static void change_nothing(uint8_t *p)
{
	(void)p;
}

struct times {
	int64_t encode, add, verify, apply;
};

static int epoch(struct ckpt_enc *enc, struct ckpt_dec *dec, struct tv_buf *out, struct times *t)
{
	static const uint8_t state[64] = {1};
	struct ckpt_stats before, after;
	struct ckpt_sum *sum = ckpt_sum_new();
	struct tv_err e = {0};
	int64_t at[5];
	int rc = 0;

	if (!sum)
		return -1;
	ckpt_enc_stats(enc, &before);
	out->bytes = 0;
	at[0] = tv_now_ns();
	for (uint64_t i = 0; i < PAGES && !rc; i++)
		rc = ckpt_enc_page(enc, 0, i * TV_PAGE_BYTES, guest + i * TV_PAGE_BYTES, out);
	at[1] = tv_now_ns();
	rc = rc ? rc : ckpt_enc_state(enc, state, sizeof(state), out);
	ckpt_sum_add(sum, out->data, out->bytes);
	ckpt_enc_stats(enc, &after);
	ckpt_dec_begin(dec);
	at[2] = tv_now_ns();
	rc = rc ? rc : ckpt_dec_add(dec, out->data, out->bytes);
	at[3] = tv_now_ns();
	rc = rc ? rc : ckpt_dec_verify(dec, PAGES + 1, ckpt_sum_value(sum), &e);
	at[4] = tv_now_ns();
	rc = rc ? rc : ckpt_dec_apply(dec);
	*t = (struct times){at[1] - at[0], at[3] - at[2], at[4] - at[3], tv_now_ns() - at[4]};
	ckpt_sum_free(sum);
	if (rc)
		fprintf(stderr, "%s: %s\n", tv_strerror(rc), e.text);
	return rc;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int measure(const char *name, size_t cache_bytes, void (*first)(uint8_t *),
		   void (*change)(uint8_t *), unsigned rounds)
{
	struct ckpt_mem mem = {NULL, 1, block_bytes, map, NULL, NULL, NULL};
	struct times best = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, t;
	struct ckpt_stats st;
	struct ckpt_enc *enc;
	struct ckpt_dec *dec;
	struct tv_buf out;
	int rc;

	tv_buf_init(&out, 64u << 20);
	if (tv_buf_reserve(&out, 32u << 20) || ckpt_enc_new(cache_bytes, &enc) ||
	    ckpt_dec_new(&mem, 64u << 20, NULL, &dec))
		return 1;
	for (size_t i = 0; i < PAGES; i++)
		first(guest + i * TV_PAGE_BYTES);
	memset(replica, 0, (size_t)PAGES * TV_PAGE_BYTES);
	rc = epoch(enc, dec, &out, &t); /* takes page faults and fills the cache */
	for (unsigned n = 0; n < rounds && !rc; n++) {
		for (size_t i = 0; i < PAGES; i++)
			change(guest + i * TV_PAGE_BYTES);
		rc = epoch(enc, dec, &out, &t);
		best.encode = least(best.encode, t.encode);
		best.add = least(best.add, t.add);
		best.verify = least(best.verify, t.verify);
		best.apply = least(best.apply, t.apply);
	}
	ckpt_enc_stats(enc, &st);
	printf("%-22s %7ld %7ld %7ld %7ld %8.0f   %s\n", name, (long)(best.encode / PAGES),
	       (long)(best.add / PAGES), (long)(best.verify / PAGES), (long)(best.apply / PAGES),
	       (double)out.bytes / PAGES,
	       memcmp(guest, replica, (size_t)PAGES * TV_PAGE_BYTES) ? "REPLICA DIFFERS" : "same");
	tv_buf_dispose(&out);
	ckpt_enc_free(enc);
	ckpt_dec_free(dec);
	return rc != 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
	size_t all = (size_t)PAGES * TV_PAGE_BYTES;
	int bad = 0;

	guest = calloc(PAGES, TV_PAGE_BYTES);
	replica = calloc(PAGES, TV_PAGE_BYTES);
	if (!guest || !replica)
		return 1;
	printf("ns per page, best of %u epochs of %u pages\n", rounds, PAGES);
	printf("%-22s %7s %7s %7s %7s %8s\n", "", "encode", "add", "verify", "apply", "bytes");
	bad |= measure("zero", all, fill_zero, change_nothing, rounds);
	bad |= measure("raw (noise)", 0, fill_noise, change_nothing, rounds);
	bad |= measure("lz4 (heap)", 0, fill_heap, change_nothing, rounds);
	bad |= measure("xor (8 words of heap)", all, fill_heap, change_words, rounds);
	bad |= measure("xor (8 words of noise)", all, fill_noise, change_words, rounds);
	bad |= measure("xor (unchanged)", all, fill_noise, change_nothing, rounds);
	bad |= measure("rewritten heap", all, fill_heap, fill_heap, rounds);
	bad |= measure("rewritten noise", all, fill_noise, fill_noise, rounds);
	free(guest);
	free(replica);
	return bad;
}
