/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A comparison's two ends: what the primary hashes of memory and disks that change meanwhile, and what the
 * backup makes of a primary's hashes, hostile ones among them.
 */
#include "replicator/sink/compared.h"
#include "replicator/source/compare.h"
#include "replicator/source/compare_disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* after these */
#include <cmocka.h>

#define PAGES 200u

static const uint8_t key[CKPT_HASH_KEY_BYTES] = "0123456789abcdef";
static uint8_t memory[PAGES * TV_PAGE_BYTES], standby[PAGES * TV_PAGE_BYTES];

/* ---- a VM of one block (in place of hv/) ---- */
static unsigned reported;

int hv_peek(struct hv_vm *vm, const struct hv_run *run, void *dst)
{
	(void)vm;
	assert_int_equal(run->block, 0);
	assert_true(run->pages && run->pages <= HV_PEEK_PAGES);
	memcpy(dst, memory + run->offset, (size_t)run->pages << TV_PAGE_SHIFT);
	return 0;
}

int hv_report(struct hv_vm *vm, uint32_t block, uint64_t offset)
{
	(void)vm;
	assert_int_equal(block, 0);
	assert_true(offset < sizeof(memory));
	reported++;
	return 0;
}

unsigned hv_state_parts(const void *state, size_t bytes, struct hv_state_part *out, unsigned max)
{
	(void)state;
	assert_true(max > 1);
	out[0] = (struct hv_state_part){"cpu#0", 0, 10};
	out[1] = (struct hv_state_part){"", 10, bytes - 10};
	return 2;
}

void hv_export_name(unsigned disk, char out[HV_EXPORT_BYTES])
{
	snprintf(out, HV_EXPORT_BYTES, "disk%u", disk);
}

static void forget(void *arg, uint32_t block, uint64_t offset)
{
	(void)block;
	(void)offset;
	++*(unsigned *)arg;
}

/* ---- the backup's end ---- */
static uint64_t block_bytes(void *arg, uint32_t block)
{
	(void)arg;
	return block ? 0 : sizeof(standby);
}

static uint8_t *map(void *arg, uint32_t block)
{
	(void)arg;
	(void)block;
	return standby;
}

static const struct ckpt_mem mem = {.block_bytes = block_bytes, .map = map, .blocks = 1};

/* What compared_run takes. */
static uint8_t *work(const struct compared_ask *a, const uint64_t *at, const void *hashes,
		     size_t *bytes)
{
	uint8_t *w;

	*bytes = sizeof(*a) + a->nat * sizeof(*at) + a->n * COMPARED_HASH_BYTES;
	w = malloc(*bytes);
	assert_non_null(w);
	memcpy(w, a, sizeof(*a));
	if (a->nat)
		memcpy(w + sizeof(*a), at, a->nat * sizeof(*at));
	memcpy(w + sizeof(*a) + a->nat * sizeof(*at), hashes, a->n * COMPARED_HASH_BYTES);
	return w;
}

static int run(struct compared_ask a, const uint64_t *at, const void *hashes, const uint8_t *state,
	       size_t state_bytes, uint32_t *different)
{
	struct compared_with with = {.mem = &mem, .state = state, .state_bytes = state_bytes};
	struct tv_err e = {0};
	size_t bytes;
	uint8_t *w;
	int rc;

	memcpy(a.key, key, sizeof(a.key));
	w = work(&a, at, hashes, &bytes);
	rc = compared_run(w, bytes, &with, different, &e);
	assert_int_equal(rc < 0, e.text[0] != 0);
	free(w);
	return rc;
}

/* ---- memory ---- */
/* A page that changes after it was read, and is reported for it, has the hash of what was captured. */
static void test_pages(void **state)
{
	static struct compare_want w = {
		.pages = PAGES, .repair = {3, 9}, .nrepair = 2, .state = true};
	uint32_t different[PAGES];
	unsigned forgotten = 0, slices = 0;
	struct compare_out o;
	struct compare *c;

	(void)state;
	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = (uint8_t)(i * 31 + i / 4096);
	assert_int_equal(compare_new(&c), 0);
	assert_int_equal(compare_begin(c, key), 0);
	assert_false(compare_is_due(c) || compare_attach(c, 5));
	compare_want(c, &w);
	assert_false(compare_attach(c, 5)); /* nothing is read */
	for (; compare_is_due(c); slices++)
		compare_read(c, NULL, forget, &forgotten);
	assert_int_equal(slices, (PAGES + HV_PEEK_PAGES - 1) / HV_PEEK_PAGES);
	assert_int_equal(forgotten, 2);
	assert_int_equal(reported, 2);
	assert_true(compare_attach(c, 6));
	compare_undo(c);
	assert_false(compare_is_idle(c) || compare_is_due(c));
	assert_true(compare_attach(c, 7));
	assert_false(compare_attach(
		c, 8)); /* the next epoch, before the loop has seen the end of this one */
	memory[50 * TV_PAGE_BYTES] ^= 1; /* while it ran: harvested and copied */
	compare_page(c, 0, 50 * TV_PAGE_BYTES, memory + 50 * TV_PAGE_BYTES);
	compare_page(c, 1, 50 * TV_PAGE_BYTES, memory); /* of another block: not wanted */
	compare_page(c, 0, PAGES * TV_PAGE_BYTES, memory);
	compare_state(c, memory, 5000);
	compare_take(c, &o);
	assert_true(compare_is_idle(c));
	assert_int_equal(o.rc, 0);
	assert_int_equal(o.epoch, 7);
	assert_int_equal(o.pages, PAGES);
	assert_int_equal(o.nparts, 2);
	memcpy(standby, memory, sizeof(standby));
	assert_int_equal(run((struct compared_ask){.n = PAGES}, NULL, o.hashes, NULL, 0, different),
			 0);
	standby[77 * TV_PAGE_BYTES + 123] ^= 0x40;
	standby[199 * TV_PAGE_BYTES + 4095] ^= 1;
	assert_int_equal(run((struct compared_ask){.n = PAGES}, NULL, o.hashes, NULL, 0, different),
			 2);
	assert_int_equal(different[0], 77);
	assert_int_equal(different[1], 199);
	{
		uint64_t at[] = {0, 10, 10, 4990};
		struct compared_ask a = {.what = COMPARED_STATE, .n = 2, .nat = 4};

		assert_int_equal(run(a, at, o.part_hashes, memory, 5000, different), 0);
		memcpy(standby, memory, sizeof(standby));
		standby[4999] ^= 2;
		assert_int_equal(run(a, at, o.part_hashes, standby, 5000, different), 1);
		assert_int_equal(different[0], 1);
	}
	compare_free(c);
}

/* An epoch that comes early takes what is read. */
static void test_part_of_it(void **state)
{
	static struct compare_want w = {.pages = PAGES, .first = 0};
	unsigned forgotten = 0;
	struct compare_out o;
	struct compare *c;

	(void)state;
	assert_int_equal(compare_new(&c), 0);
	assert_int_equal(compare_begin(c, key), 0);
	compare_want(c, &w);
	compare_read(c, NULL, forget, &forgotten);
	assert_true(compare_attach(c, 1));
	compare_page(c, 0, HV_PEEK_PAGES * TV_PAGE_BYTES, memory); /* the first that was not read */
	compare_take(c, &o);
	assert_int_equal(o.pages, HV_PEEK_PAGES);
	assert_int_equal(forgotten, 0);
	compare_free(c);
}

/* ---- what a primary may send ---- */
static void test_hostile(void **state)
{
	static const struct {
		struct compared_ask a;
		size_t hashes;
	} bad[] = {
		{{.what = 3, .n = 1}, 8},
		{{.what = UINT32_MAX, .n = 1}, 8},
		{{.n = 0}, 0},
		{{.n = 1}, 7},
		{{.n = 1}, 9},
		{{.n = 1}, 16},
		{{.n = COMPARED_MAX_PAGES + 1}, (COMPARED_MAX_PAGES + 1) * 8},
		{{.n = 1, .nat = 1}, 8},
		{{.what = COMPARED_DISK, .n = 2, .nat = 1}, 16},
		{{.what = COMPARED_DISK, .n = 65, .nat = 65}, 65 * 8},
		{{.what = COMPARED_STATE, .n = 2, .nat = 2}, 16},
		{{.what = COMPARED_STATE, .n = 1025, .nat = 2050}, 1025 * 8},
		{{.what = COMPARED_STATE, .n = 1, .nat = UINT32_MAX}, 8},
	};
	static const struct {
		struct compared_ask a;
		uint64_t at[4];
	} nowhere[] = {
		{{.number = 1, .n = 1}, {0}},
		{{.number = UINT32_MAX, .n = 1}, {0}},
		{{.first = PAGES, .n = 1}, {0}},
		{{.first = PAGES - 1, .n = 2}, {0}},
		{{.first = UINT64_MAX, .n = 2}, {0}},
		{{.first = UINT64_MAX / 4096, .n = 2}, {0}},
		{{.what = COMPARED_DISK, .n = 1, .nat = 1}, {0}}, /* it has no disk */
		{{.what = COMPARED_DISK, .n = 1, .nat = 1}, {UINT64_MAX}},
		{{.what = COMPARED_STATE, .n = 1, .nat = 2}, {0, 0}},
		{{.what = COMPARED_STATE, .n = 1, .nat = 2}, {0, 101}},
		{{.what = COMPARED_STATE, .n = 1, .nat = 2}, {100, 1}},
		{{.what = COMPARED_STATE, .n = 1, .nat = 2}, {UINT64_MAX, 2}},
		{{.what = COMPARED_STATE, .n = 1, .nat = 2}, {1, UINT64_MAX}},
	};
	const uint8_t hashes[16] = {0};
	uint32_t different[4];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_non_null(compared_invalid(&bad[i].a, bad[i].hashes));
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++) {
		assert_null(compared_invalid(&nowhere[i].a, nowhere[i].a.n * 8));
		assert_int_equal(run(nowhere[i].a, nowhere[i].at, hashes, memory, 100, different),
				 -ERANGE);
	}
}

/* ---- disks ---- */
#define DISK_BYTES (10 * CKPT_BLOCK_BYTES + 512)
static uint8_t disk[DISK_BYTES];
static struct cdisk *cd;
static unsigned write_while; /* the block that is written to while it is read; 0: none */

static int on_read(void *arg, unsigned n, uint64_t offset, void *data, uint32_t bytes)
{
	(void)arg;
	(void)n;
	memcpy(data, disk + offset, bytes);
	if (write_while && offset / CKPT_BLOCK_BYTES == write_while) {
		disk[offset] ^= 1;
		cdisk_written(cd, 0, offset, 1);
	}
	return 0;
}

static void on_closed(void *arg, unsigned n, const char *why)
{
	(void)arg;
	(void)n;
	(void)why;
}

static unsigned sends;
static int on_send(void *arg, unsigned n, uint64_t offset, const void *data, uint32_t bytes)
{
	(void)arg;
	assert_int_equal(n, 0);
	assert_memory_equal(data, disk + offset, bytes);
	sends++;
	return 0;
}

/* Epochs end until one has an answer to all of it; what was read across an epoch's end is to be asked for again. */
static void take(uint64_t *epoch, struct cdisk_out *o, unsigned all)
{
	for (;;) {
		cdisk_pausing(cd, true);
		cdisk_barrier(cd, ++*epoch);
		cdisk_pausing(cd, false);
		if (!cdisk_take(cd, *epoch, o))
			continue;
		assert_int_equal(o->rc, 0);
		assert_int_equal(o->n + o->nsent + o->nagain, all);
		return;
	}
}

static void test_disk(void **state)
{
	static const struct nbd_ops ops = {.read = on_read, .closed = on_closed};
	struct cdisk_want w = {.n = 3, .blocks = {1, 4, 10}};
	uint8_t hash[CKPT_HASH_BYTES];
	struct ckpt_hasher *h;
	struct cdisk_out o;
	struct tv_err e;
	struct nbd *server;
	uint64_t epoch = 0;
	unsigned n, seen = 0;
	int listen_fd, fd;

	(void)state;
	memset(disk, 0x5a, sizeof(disk));
	assert_int_equal(ckpt_hasher_new(key, &h), 0);
	assert_int_equal(cdisk_new(&cd), 0);
	assert_int_equal(cdisk_connect(cd, "/tmp", 1, &listen_fd, &e), 0);
	fd = accept(listen_fd, NULL, NULL);
	close(listen_fd);
	assert_int_equal(nbd_new(&ops, NULL, &server), 0);
	assert_int_equal(nbd_add(server, DISK_BYTES, fd, &n), 0);
	assert_int_equal(cdisk_begin(cd, key, on_send, NULL), 0);
	write_while = 4;
	while (w.n) {
		unsigned left = 0;

		cdisk_want(cd, &w);
		take(&epoch, &o, w.n);
		for (unsigned i = 0; i < o.n; i++, seen++) {
			uint64_t at = o.blocks[i] * CKPT_BLOCK_BYTES;
			size_t bytes = o.blocks[i] == 10 ? 512 : CKPT_BLOCK_BYTES;

			assert_int_not_equal(o.blocks[i], write_while);
			assert_int_equal(ckpt_hash_block(h, disk + at, bytes, hash), 0);
			assert_memory_equal(hash, o.hashes + i * CDISK_HASH_BYTES,
					    CDISK_HASH_BYTES);
		}
		for (unsigned i = 0; i < o.nagain; i++) {
			w.blocks[left++] = o.again[i];
			if (o.again[i] == 4 && o.written[i] && seen == 2)
				write_while = 0; /* the guest leaves it alone */
		}
		w.n = left;
	}
	assert_int_equal(seen, 3);
	w = (struct cdisk_want){.n = 1, .repair = true, .blocks = {10}};
	do {
		cdisk_want(cd, &w);
		take(&epoch, &o, 1);
	} while (o.nagain);
	assert_int_equal(o.nsent, 1);
	assert_int_equal(sends, 1);
	cdisk_free(cd);
	nbd_free(server);
	ckpt_hasher_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_part_of_it),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
