/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on the backup: full disks, and what the state file says after a death at any moment. */
#include "tests/unit/replica_kit.h"

#include <signal.h>
#include <sys/wait.h>

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

/* A description that cannot be right must not take away what is known of an earlier replica. */
static void test_bad_size(void **state)
{
	struct ckpt_rep_conf conf = {.dir = dir,
				     .vm_id = "bad",
				     .session = "5e55",
				     .disks = DISKS,
				     .bytes = {BYTES, 0},
				     .memory_bytes = 1 << 20};
	struct ckpt_rep_state s;
	struct ckpt_rep *r = NULL;
	struct tv_err e = {0};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		conf.bytes[1] = i ? (uint64_t)INT64_MAX + 1 : 0;
		assert_int_equal(ckpt_rep_open(&conf, &r, &e), -EINVAL);
		assert_non_null(strstr(e.text, "disk 1 has an impossible size"));
		ckpt_rep_state(dir, "bad", &s);
		assert_int_equal(s.phase, CKPT_REP_NONE);
	}
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
		cmocka_unit_test(test_journal_full),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_killed_while_applying),
		cmocka_unit_test(test_state_file),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_bad_size),
	};

	return cmocka_run_group_tests_name("ckpt_replica_faults", tests, make_dir, remove_dir);
}
