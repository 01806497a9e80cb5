/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on the backup: records there and back, epochs kept and applied, hostile records, full
 * disks, and what the state file says after a death at any moment. */
#include "checkpoint/disk_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISKS 2u
#define BYTES (1u << 20)

static char dir[] = "/tmp/tv-test-replica-XXXXXX";
static uint8_t model[DISKS][BYTES]; /* what the images must hold */

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static struct ckpt_rep *open_rep(size_t memory, uint64_t spool)
{
	struct ckpt_rep_conf conf = {.dir = dir,
				     .vm_id = "vm",
				     .session = "5e55",
				     .disks = DISKS,
				     .bytes = {BYTES, BYTES},
				     .memory_bytes = memory,
				     .spool_dir = dir,
				     .spool_bytes = spool};
	struct tv_err e = {0};
	struct ckpt_rep *r = NULL;

	memset(model, 0, sizeof(model));
	assert_int_equal(ckpt_rep_open(&conf, &r, &e), 0);
	return r;
}

static void images_are_model(struct ckpt_rep *r)
{
	static uint8_t have[BYTES];

	for (unsigned i = 0; i < DISKS; i++) {
		TV_CLOSE int fd = open(ckpt_rep_path(r, i), O_RDONLY);

		assert_int_equal(pread(fd, have, BYTES, 0), BYTES);
		assert_int_equal(lseek(fd, 0, SEEK_END), BYTES);
		assert_memory_equal(have, model[i], BYTES);
	}
}

static enum ckpt_rep_phase phase(uint64_t *epoch)
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
static uint64_t sum(void)
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

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

static void add(enum ckpt_disk_kind kind, unsigned disk, uint64_t offset, const uint8_t *p,
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
static void some_writes(unsigned count)
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
static int feed(struct ckpt_rep *r, uint64_t epoch)
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

static void feed_epoch(struct ckpt_rep *r, uint64_t epoch)
{
	assert_int_equal(feed(r, epoch), 0);
}

static void first_copy(struct ckpt_rep *r)
{
	struct tv_err e = {0};

	for (size_t at = 0, n; at < out.n; at += n) {
		n = 1 + rnd() % 40000;
		n = n < out.n - at ? n : out.n - at;
		assert_int_equal(ckpt_rep_stream(r, out.data + at, n, &e), 0);
	}
	assert_int_equal(ckpt_rep_stream_end(r, out.records, sum(), &e), 0);
}

static void empty_first_copy(struct ckpt_rep *r)
{
	out.n = out.records = 0;
	first_copy(r);
}

static void test_round_trip(void **state)
{
	static const size_t memories[] = {16u << 20, 600000, 0};
	uint64_t epoch;

	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		struct ckpt_rep *r = open_rep(memories[m], 16u << 20);
		struct tv_err e = {0};

		assert_int_equal(phase(NULL), CKPT_REP_MIXED);
		some_writes(40);
		first_copy(r);
		images_are_model(r);
		assert_int_equal(phase(NULL), CKPT_REP_MIXED); /* nobody's state yet */
		for (uint64_t n = 1; n <= 6; n++) {
			static uint8_t before[DISKS][BYTES], after[DISKS][BYTES];

			memcpy(before, model, sizeof(model));
			some_writes(n == 3 ? 0 : 90); /* an epoch without disk writes, too */
			feed_epoch(r, n);
			assert_int_equal(ckpt_rep_verify(r, n, out.records, sum(), &e), 0);
			/* Nothing is touched before the epoch is applied. */
			memcpy(after, model, sizeof(model));
			memcpy(model, before, sizeof(model));
			images_are_model(r);
			memcpy(model, after, sizeof(model));
			assert_int_equal(ckpt_rep_apply(r, n, &e), 0);
			images_are_model(r);
			assert_int_equal(phase(&epoch), CKPT_REP_WHOLE);
			assert_int_equal(epoch, n);
		}
		assert_int_equal(ckpt_rep_settle(r, &e), 0);
		ckpt_rep_free(r);
		assert_int_equal(phase(&epoch), CKPT_REP_WHOLE);
		assert_int_equal(epoch, 6);
	}
}

/* Records of later epochs come while the ones before are still open. */
static void test_epochs_overlap(void **state)
{
	struct ckpt_rep *r = open_rep(1u << 20, 16u << 20);
	uint64_t records[5], sums[5];
	struct tv_err e = {0};

	(void)state;
	empty_first_copy(r);
	for (uint64_t n = 1; n <= 4; n++) {
		some_writes(10);
		feed_epoch(r, n);
		records[n] = out.records;
		sums[n] = sum();
	}
	for (uint64_t n = 1; n <= 4; n++) {
		assert_int_equal(ckpt_rep_verify(r, n, records[n], sums[n], &e), 0);
		assert_int_equal(ckpt_rep_apply(r, n, &e), 0);
	}
	images_are_model(r);
	/* Neither what is applied nor what is far ahead has a place. */
	assert_int_equal(ckpt_rep_add(r, 9, "x", 1, &e), TV_E_PROTOCOL);
	ckpt_rep_free(r);
	r = open_rep(1u << 20, 16u << 20);
	empty_first_copy(r);
	assert_int_equal(ckpt_rep_verify(r, 1, 0, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(r, 1, &e), 0);
	assert_int_equal(ckpt_rep_add(r, 1, "x", 1, &e), TV_E_PROTOCOL);
	assert_int_equal(ckpt_rep_add(r, 2, "x", 1, &e), TV_E_PROTOCOL); /* dead stays dead */
	ckpt_rep_free(r);
}

static void refused(int rc_wanted, const char *say)
{
	struct ckpt_rep *r = open_rep(1u << 20, 16u << 20);
	struct tv_err e = {0};
	uint64_t records = out.records, s = sum();
	static struct stream keep;
	int rc, early;

	keep = out;
	empty_first_copy(r);
	out = keep;
	early = feed(r, 1);
	rc = ckpt_rep_verify(r, 1, records, s, &e);
	assert_true(!early || early == rc);
	if (rc != rc_wanted || !strstr(e.text, say))
		fail_msg("%d '%s' instead of %d '%s'", rc, e.text, rc_wanted, say);
	assert_int_equal(ckpt_rep_apply(r, 1, &e), rc_wanted);
	memset(model, 0, sizeof(model));
	images_are_model(r);
	ckpt_rep_free(r);
}

static void one_record(struct ckpt_disk_rec *rec)
{
	uint8_t p[512];

	memset(p, 7, sizeof(p));
	out.n = out.records = 0;
	ckpt_rep_free(open_rep(0, 0)); /* the model of empty disks */
	add(CKPT_DISK_WRITE, 1, 4096, p, sizeof(p));
	ckpt_disk_get(out.data, rec);
}

static void test_hostile_records(void **state)
{
	struct ckpt_disk_rec rec;

	(void)state;
	one_record(&rec);
	out.data[0] = 3;
	refused(TV_E_PROTOCOL, "kind");
	one_record(&rec);
	out.data[1] = 9;
	refused(TV_E_PROTOCOL, "encoding");
	one_record(&rec);
	tv_put_le16(out.data + 2, DISKS);
	refused(TV_E_PROTOCOL, "no such disk");
	one_record(&rec);
	tv_put_le64(out.data + 8, BYTES - 511);
	refused(TV_E_PROTOCOL, "outside");
	one_record(&rec);
	tv_put_le64(out.data + 8, UINT64_MAX - 100);
	refused(TV_E_PROTOCOL, "outside");
	one_record(&rec);
	tv_put_le64(out.data + 16, 0);
	refused(TV_E_PROTOCOL, "outside");
	one_record(&rec);
	tv_put_le64(out.data + 16, CKPT_DISK_PIECE_BYTES + 1);
	refused(TV_E_PROTOCOL, "too long");
	one_record(&rec);
	tv_put_le32(out.data + 4, rec.payload_bytes + 1);
	refused(TV_E_PROTOCOL, rec.encoding ? "inside a record" : "another length");
	one_record(&rec);
	out.data[out.n - 1] ^= 1;
	refused(TV_E_CORRUPT, "hash");
	one_record(&rec);
	out.n -= 5;
	refused(TV_E_PROTOCOL, "inside a record");
	one_record(&rec);
	out.n = 20;
	refused(TV_E_PROTOCOL, "inside a record");
	one_record(&rec);
	out.records = 2;
	refused(TV_E_CORRUPT, "instead of 2");
}

/* Every single bit of an epoch matters. */
static void test_every_bit(void **state)
{
	struct ckpt_disk_rec rec;
	uint64_t s;

	(void)state;
	one_record(&rec);
	s = sum();
	for (size_t bit = 0; bit < 8 * out.n; bit += 3) {
		struct ckpt_rep *r = open_rep(1u << 20, 0);
		static struct stream keep;
		struct tv_err e = {0};

		keep = out;
		empty_first_copy(r);
		out = keep;
		out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		(void)!feed(r, 1);
		out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(ckpt_rep_verify(r, 1, 1, s, &e), 0);
		ckpt_rep_free(r);
	}
}

static void test_journal_full(void **state)
{
	struct ckpt_rep *r = open_rep(1000, 100000);
	struct tv_err e = {0};
	int rc = 0;

	(void)state;
	empty_first_copy(r);
	some_writes(200);
	for (size_t at = 0; at + 1000 < out.n && !rc; at += 1000)
		rc = ckpt_rep_add(r, 1, out.data + at, 1000, &e);
	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(ckpt_rep_verify(r, 1, 1, 1, &e), -ENOSPC);
	ckpt_rep_free(r);
}

/* The replica's disk is full in the middle of an apply: known, and never silently mixed. */
static void test_disk_full(void **state)
{
	struct ckpt_rep *r = open_rep(1u << 20, 1u << 20);
	struct tv_err e = {0};

	(void)state;
	empty_first_copy(r);
	some_writes(1);
	feed_epoch(r, 1);
	assert_int_equal(ckpt_rep_verify(r, 1, out.records, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(r, 1, &e), 0);
	some_writes(20);
	feed_epoch(r, 2);
	assert_int_equal(ckpt_rep_verify(r, 2, out.records, sum(), &e), 0);
	setenv("TWINVM_FAULT", "replica_write:3", 1);
	assert_int_equal(ckpt_rep_apply(r, 2, &e), -ENOSPC);
	unsetenv("TWINVM_FAULT");
	assert_non_null(strstr(e.text, "replica image"));
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	assert_int_equal(ckpt_rep_settle(r, &e), -ENOSPC);
	assert_false(ckpt_rep_is_whole(r));
	ckpt_rep_free(r);
}

/* A child is killed while it applies, again and again at other moments: the state file knows. */
static void test_killed_while_applying(void **state)
{
	unsigned mixed = 0, whole = 0;

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		struct ckpt_rep_state st;
		uint64_t epoch;
		pid_t pid;
		int go[2];

		assert_int_equal(pipe(go), 0);
		pid = fork();
		if (!pid) {
			struct ckpt_rep *r = open_rep(4u << 20, 4u << 20);
			struct tv_err e = {0};

			empty_first_copy(r);
			for (uint64_t n = 1;; n++) {
				static uint8_t p[4096];

				/* Every block of both disks gets the epoch's number. */
				out.n = out.records = 0;
				memset(p, (int)(n & 0xff), sizeof(p));
				for (uint64_t at = 0; at < BYTES; at += sizeof(p))
					for (unsigned d = 0; d < DISKS; d++)
						add(CKPT_DISK_WRITE, d, at, p, sizeof(p));
				if (ckpt_rep_add(r, n, out.data, out.n, &e) ||
				    ckpt_rep_verify(r, n, out.records, sum(), &e) ||
				    (n == 3 && write(go[1], "g", 1) != 1) ||
				    ckpt_rep_apply(r, n, &e))
					_exit(1);
			}
		}
		close(go[1]);
		{
			char c;

			assert_int_equal(read(go[0], &c, 1), 1);
		}
		for (volatile unsigned spin = 0; spin < round * 60000; spin++)
			;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(go[0]);
		ckpt_rep_state(dir, "vm", &st);
		epoch = st.epoch;
		if (st.phase == CKPT_REP_MIXED) {
			mixed++;
			continue;
		}
		whole++;
		assert_int_equal(st.phase, CKPT_REP_WHOLE);
		for (unsigned d = 0; d < DISKS; d++) {
			static uint8_t have[BYTES];
			char path[200];
			TV_CLOSE int fd = -1;

			snprintf(path, sizeof(path), "%s/vm-%u.raw", dir, d);
			fd = open(path, O_RDONLY);
			assert_int_equal(pread(fd, have, BYTES, 0), BYTES);
			for (size_t i = 0; i < BYTES; i++)
				assert_int_equal(have[i], epoch & 0xff);
		}
	}
	print_message("killed: %u whole, %u known to be mixed\n", whole, mixed);
	assert_true(mixed > 0);
}

static void test_state_file(void **state)
{
	struct ckpt_rep *r = open_rep(1000, 0);
	struct tv_err e = {0};
	char path[100], *text = NULL;
	size_t n;

	(void)state;
	snprintf(path, sizeof(path), "%s/vm.state", dir);
	empty_first_copy(r);
	assert_int_equal(ckpt_rep_verify(r, 1, 0, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(r, 1, &e), 0);
	assert_int_equal(phase(NULL), CKPT_REP_WHOLE);
	/* The same file found after the host's own crash counts for nothing, unless it was
	 * settled. */
	assert_int_equal(tv_read_file(path, 1u << 16, &text, &n), 0);
	text[64] ^= 1;
	assert_int_equal(tv_write_file(path, text, n), 0);
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	free(text);
	/* Nor does a short or foreign one. */
	assert_int_equal(tv_write_file(path, "hello", 5), 0);
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	ckpt_rep_remove(r);
	assert_int_equal(phase(NULL), CKPT_REP_NONE);
	assert_int_not_equal(access(ckpt_rep_path(r, 0), F_OK), 0);
	ckpt_rep_free(r);
}

/* An image that somebody has locked, as QEMU does while a VM runs from it, is not touched. */
static void test_in_use(void **state)
{
	struct ckpt_rep_conf conf = {
		.dir = dir, .vm_id = "busy", .session = "1", .disks = 1, .bytes = {4096}};
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	struct ckpt_rep *r = NULL;
	struct tv_err e = {0};
	char path[100];
	TV_CLOSE int fd = -1;

	(void)state;
	snprintf(path, sizeof(path), "%s/busy-0.raw", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, "precious", 8), 8);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(ckpt_rep_open(&conf, &r, &e), -EBUSY);
	assert_null(r);
	assert_int_equal(lseek(fd, 0, SEEK_END), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_epochs_overlap),
		cmocka_unit_test(test_hostile_records),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_journal_full),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_killed_while_applying),
		cmocka_unit_test(test_state_file),
		cmocka_unit_test(test_in_use),
	};

	return cmocka_run_group_tests_name("ckpt_replica", tests, make_dir, remove_dir);
}
