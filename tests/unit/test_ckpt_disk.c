/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk records by themselves: their format (tests/golden/disk-v2.bin holds an epoch as it was
 * written when version 2 was fixed), and the journal that keeps them.
 *
 * Golden file: a 24-byte little-endian head {u64 record bytes, u64 records, u64 checksum}, then the
 * records. It is written once, with TWINVM_GOLDEN_WRITE=1, and never again for a version.
 */
#include "tests/unit/room_kit.h"
#include "checkpoint/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN "tests/golden/disk-v2.bin"
#define GOLDEN_HEAD_BYTES 24u
#define LZ4_RECORD 1u /* its number in the golden epoch */

static struct { /* what a primary would send */
	uint8_t data[2u << 20];
	size_t n;
	uint64_t records;
} out;

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

static void noise(uint8_t *p, size_t n, uint64_t x)
{
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p[i] = (uint8_t)(x >> 24);
	}
}

static void add(enum ckpt_disk_kind kind, unsigned disk, uint64_t offset, const uint8_t *p,
		uint64_t n)
{
	static uint8_t scratch[CKPT_DISK_PIECE_BYTES];

	assert_true(out.n + CKPT_DISK_RECORD_BYTES <= sizeof(out.data));
	out.n += ckpt_disk_record(kind, disk, offset, p, n, scratch, out.data + out.n);
	out.records++;
}

static uint64_t header_sum(const uint8_t *p, size_t n)
{
	struct ckpt_sum *s = ckpt_sum_new();
	uint64_t v;

	for (size_t at = 0; at < n; at += CKPT_DISK_HEADER_BYTES + tv_get_le32(p + at + 4))
		ckpt_sum_add(s, p + at, CKPT_DISK_HEADER_BYTES);
	v = ckpt_sum_value(s);
	ckpt_sum_free(s);
	return v;
}

/* ---- the format ---- */
static uint8_t raw[700], text[8192];

static void golden_epoch(void)
{
	static const uint8_t zeroes[4096];

	noise(raw, sizeof(raw), 1234567);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)('a' + i / 300 % 20);
	out.n = out.records = 0;
	add(CKPT_DISK_WRITE, 0, 513, raw, sizeof(raw));
	add(CKPT_DISK_WRITE, 1, 65536, text, sizeof(text));
	add(CKPT_DISK_WRITE, 0, 8192, zeroes, sizeof(zeroes));
	add(CKPT_DISK_ZERO, 1, 0, NULL, UINT64_C(5) << 30);
	add(CKPT_DISK_TRIM, 0, 1u << 20, NULL, 1u << 20);
}

static void write_golden(void)
{
	static uint8_t file[GOLDEN_HEAD_BYTES + sizeof(out.data)];

	tv_put_le64(file, out.n);
	tv_put_le64(file + 8, out.records);
	tv_put_le64(file + 16, header_sum(out.data, out.n));
	memcpy(file + GOLDEN_HEAD_BYTES, out.data, out.n);
	assert_int_equal(tv_write_file(GOLDEN, file, GOLDEN_HEAD_BYTES + out.n), 0);
}

static const char *any_header(void *arg, const struct ckpt_disk_rec *rec)
{
	static const uint64_t sizes[] = {1u << 30, UINT64_C(5) << 30};

	(void)arg;
	return ckpt_disk_check(rec, 2, sizes);
}

/* A record of the golden file against what today's code makes of the same write. */
static int like_ours(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		     struct tv_err *e)
{
	static uint8_t scratch[CKPT_DISK_PIECE_BYTES];
	size_t *at = arg;
	const uint8_t *ours = out.data + *at, *contents;
	struct ckpt_disk_rec now;

	(void)e;
	ckpt_disk_get(ours, &now);
	*at += CKPT_DISK_HEADER_BYTES + now.payload_bytes;
	if (now.encoding) /* LZ4's output may differ between versions of the library */
		now.payload_bytes = rec->payload_bytes;
	assert_memory_equal(&now, rec, sizeof(now));
	if (rec->kind == CKPT_DISK_WRITE) {
		assert_int_equal(ckpt_disk_contents(rec, payload, scratch, &contents), 0);
		assert_memory_equal(contents, rec->disk ? text : raw, rec->bytes);
	}
	return 0;
}

static void test_golden(void **state)
{
	struct ckpt_slabs slabs;
	struct ckpt_journal *j = NULL;
	struct tv_err e = {0};
	size_t at = 0, bytes;
	const struct ckpt_journal_ops ops = {any_header, like_ours, &at};
	const uint8_t *head;
	char *file;

	(void)state;
	golden_epoch();
	if (getenv("TWINVM_GOLDEN_WRITE"))
		write_golden();
	if (tv_read_file(GOLDEN, 1u << 20, &file, &bytes))
		fail_msg("cannot read %s: run tests from the top of the repository", GOLDEN);
	head = (const uint8_t *)file;
	assert_true(bytes > GOLDEN_HEAD_BYTES);
	assert_int_equal(tv_get_le64(head), bytes - GOLDEN_HEAD_BYTES);
	ckpt_slabs_init(&slabs, 0);
	assert_int_equal(ckpt_journal_new(&slabs, NULL, &j), 0);
	assert_int_equal(
		ckpt_journal_add(j, head + GOLDEN_HEAD_BYTES, bytes - GOLDEN_HEAD_BYTES, &ops, &e),
		0);
	assert_int_equal(ckpt_journal_whole(j, &e), 0);
	assert_int_equal(at, out.n);
	assert_int_equal(ckpt_journal_records(j), tv_get_le64(head + 8));
	assert_int_equal(ckpt_journal_records(j), out.records);
	assert_int_equal(ckpt_journal_sum(j), tv_get_le64(head + 16));
	ckpt_journal_free(j);
	ckpt_slabs_dispose(&slabs);
	free(file);
}

/* Made where it is sent from, a record is the same as made from a copy. */
static void test_in_place(void **state)
{
	static uint8_t copy[CKPT_DISK_RECORD_BYTES], scratch[CKPT_DISK_PIECE_BYTES];

	(void)state;
	golden_epoch();
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *from = i == LZ4_RECORD ? text : raw;
		size_t n = i == LZ4_RECORD ? sizeof(text) : sizeof(raw), m;

		out.n = 0;
		add(CKPT_DISK_WRITE, i, 4096, from, n);
		memcpy(copy + CKPT_DISK_HEADER_BYTES, from, n);
		m = ckpt_disk_record(CKPT_DISK_WRITE, i, 4096, copy + CKPT_DISK_HEADER_BYTES, n,
				     scratch, copy);
		assert_int_equal(m, out.n);
		assert_memory_equal(copy, out.data, m);
		assert_int_equal(copy[1], i == LZ4_RECORD);
	}
}

/* ---- the journal ---- */
static size_t seen_bytes, seen_checks;

static int in_order(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		    struct tv_err *e)
{
	(void)arg, (void)e;
	assert_memory_equal(payload, out.data + seen_bytes + CKPT_DISK_HEADER_BYTES,
			    rec->payload_bytes);
	seen_bytes += CKPT_DISK_HEADER_BYTES + rec->payload_bytes;
	return 0;
}

static int count_check(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		       struct tv_err *e)
{
	(void)arg, (void)rec, (void)payload, (void)e;
	seen_checks++;
	return 0;
}

static const struct ckpt_journal_ops ordered = {any_header, in_order, NULL};
static const struct ckpt_journal_ops recheck = {any_header, count_check, NULL};

static void fill(struct ckpt_journal *j)
{
	struct tv_err e = {0};

	seen_bytes = seen_checks = 0;
	for (size_t at = 0, n; at < out.n; at += n) {
		n = 1 + rnd() % 70000;
		n = n < out.n - at ? n : out.n - at;
		assert_int_equal(ckpt_journal_add(j, out.data + at, n, &ordered, &e), 0);
		/* Each is handed on as soon as it is complete. */
		assert_int_equal(ckpt_journal_whole(j, &e),
				 at + n == seen_bytes ? 0 : TV_E_PROTOCOL);
	}
	assert_int_equal(seen_bytes, out.n);
}

/* Memory, file and last slab: every record once, in order, and what was in a file is checked again.
 * The same memory serves the next epoch, and goes when epochs are small. */
static void test_journal(void **state)
{
	const size_t memory = 2 * CKPT_DISK_RECORD_BYTES;
	struct ckpt_journal *j = NULL;
	struct ckpt_slabs slabs;
	struct tv_err e = {0};
	static uint8_t p[100000];

	(void)state;
	ckpt_slabs_init(&slabs, memory);
	assert_int_equal(ckpt_journal_new(&slabs, room_kit("/tmp", 4u << 20), &j), 0);
	for (unsigned round = 0; round < 3; round++) {
		out.n = out.records = 0;
		for (unsigned i = 0; i < 15; i++) {
			noise(p, sizeof(p), 1 + rnd());
			add(CKPT_DISK_WRITE, 0, i, p, sizeof(p));
		}
		fill(j);
		assert_int_equal(ckpt_journal_records(j), 15);
		assert_int_equal(ckpt_journal_sum(j), header_sum(out.data, out.n));
		seen_bytes = 0;
		assert_int_equal(ckpt_journal_each(j, &ordered, &recheck, &e), 0);
		assert_int_equal(seen_bytes, out.n);
		/* Two slabs of two records each, and the last one; the rest was in the file. */
		assert_in_range(seen_checks, 9, 10);
		ckpt_journal_clear(j);
		assert_int_equal(ckpt_journal_records(j), 0);
		assert_in_range(slabs.nfree, 3, 4);
	}
	for (unsigned i = 0; i < 40; i++)
		ckpt_journal_clear(j); /* epochs without disk writes */
	assert_int_equal(slabs.nfree, 0);
	ckpt_journal_free(j);
	ckpt_slabs_dispose(&slabs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_journal),
	};

	return cmocka_run_group_tests_name("ckpt_disk", tests, NULL, NULL);
}
