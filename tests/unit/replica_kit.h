/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests of the disks on the backup: a replica, what its images must hold, and random records. */
#ifndef REPLICA_KIT_H
#define REPLICA_KIT_H

#include "checkpoint/disk_record.h"
#include "tests/unit/room_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISKS 2u
#define BYTES (1u << 20)

static char dir[] = "/tmp/tv-test-replica-XXXXXX";
static uint8_t model[DISKS][BYTES]; /* what the images must hold */

static inline int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static inline int remove_dir(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static inline struct ckpt_rep *open_rep(size_t memory, uint64_t spool)
{
	struct ckpt_rep_conf conf = {.dir = dir,
				     .vm_id = "vm",
				     .session = "5e55",
				     .disks = DISKS,
				     .bytes = {BYTES, BYTES},
				     .memory_bytes = memory,
				     .room = room_kit(dir, spool)};
	struct tv_err e = {0};
	struct ckpt_rep *r = NULL;

	memset(model, 0, sizeof(model));
	assert_int_equal(ckpt_rep_open(&conf, &r, &e), 0);
	return r;
}

static inline void images_are_model(struct ckpt_rep *r)
{
	static uint8_t have[BYTES];

	for (unsigned i = 0; i < DISKS; i++) {
		TV_CLOSE int fd = open(ckpt_rep_path(r, i), O_RDONLY);

		assert_int_equal(pread(fd, have, BYTES, 0), BYTES);
		assert_int_equal(lseek(fd, 0, SEEK_END), BYTES);
		assert_memory_equal(have, model[i], BYTES);
	}
}

static inline enum ckpt_rep_phase phase(uint64_t *epoch)
{
	struct ckpt_rep_state s;

	ckpt_rep_state(dir, "vm", &s);
	if (epoch)
		*epoch = s.epoch;
	return s.phase;
}

struct stream { /* what a primary would send */
	uint8_t data[4u << 20];
	size_t n;
	uint64_t records;
};
static struct stream out;

/* Over the records' headers, as far as they can be found. */
static inline uint64_t sum(void)
{
	struct ckpt_sum *s = ckpt_sum_new();
	uint64_t v;

	for (size_t at = 0; at + CKPT_DISK_HEADER_BYTES <= out.n;
	     at += CKPT_DISK_HEADER_BYTES + tv_get_le32(out.data + at + 4))
		ckpt_sum_add(s, out.data + at, CKPT_DISK_HEADER_BYTES);
	v = ckpt_sum_value(s);
	ckpt_sum_free(s);
	return v;
}

static inline uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

static inline void add(enum ckpt_disk_kind kind, unsigned disk, uint64_t offset, const uint8_t *p,
		       uint64_t n)
{
	static uint8_t scratch[CKPT_DISK_PIECE_BYTES];

	assert_true(out.n + CKPT_DISK_RECORD_BYTES <= sizeof(out.data));
	out.n += ckpt_disk_record(kind, disk, offset, p, n, scratch, out.data + out.n);
	out.records++;
	if (kind == CKPT_DISK_WRITE)
		memcpy(model[disk] + offset, p, n);
	else
		memset(model[disk] + offset, 0, n);
}

/* Some writes of every sort: noise, text, zeroes, odd places and lengths. */
static inline void some_writes(unsigned count)
{
	static uint8_t p[BYTES];

	out.n = out.records = 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t n = 1 + rnd() % (i % 8 ? 9000 : CKPT_DISK_PIECE_BYTES);
		uint64_t offset = rnd() % (BYTES - n + 1);
		unsigned sort = rnd() % 5;

		for (uint64_t k = 0; k < n; k++)
			p[k] = sort == 0 ? 0 : sort == 1 ? (uint8_t)(k / 64) : (uint8_t)rnd();
		add(sort == 4 ? (rnd() & 1 ? CKPT_DISK_ZERO : CKPT_DISK_TRIM) : CKPT_DISK_WRITE,
		    rnd() % DISKS, offset, p, n);
	}
}

/* A record that is wrong by itself is refused as soon as it is complete, and from then on. */
static inline int feed(struct ckpt_rep *r, uint64_t epoch)
{
	struct tv_err e = {0};
	int rc = 0;

	for (size_t at = 0, n; at < out.n && !rc; at += n) {
		n = 1 + rnd() % 40000;
		n = n < out.n - at ? n : out.n - at;
		rc = ckpt_rep_add(r, epoch, out.data + at, n, &e);
	}
	return rc;
}

static inline void feed_epoch(struct ckpt_rep *r, uint64_t epoch)
{
	assert_int_equal(feed(r, epoch), 0);
}

static inline void first_copy(struct ckpt_rep *r)
{
	struct tv_err e = {0};

	for (size_t at = 0, n; at < out.n; at += n) {
		n = 1 + rnd() % 40000;
		n = n < out.n - at ? n : out.n - at;
		assert_int_equal(ckpt_rep_stream(r, out.data + at, n, &e), 0);
	}
	assert_int_equal(ckpt_rep_stream_end(r, out.records, sum(), &e), 0);
}

static inline void empty_first_copy(struct ckpt_rep *r)
{
	out.n = out.records = 0;
	first_copy(r);
}

#endif
