/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on the backup: records there and back, epochs kept and applied, hostile records. */
#include "tests/unit/replica_kit.h"

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
		assert_int_equal(phase(NULL), CKPT_REP_MIXED); /* no epoch yet */
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
	refused(TV_E_PROTOCOL, rec.encoding ? "inside a record" : "wrong length");
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

/* A VM that runs from the images: "mixed" until they are durable, and never "whole" again. */
static void test_let_go(void **state)
{
	struct ckpt_rep *r = open_rep(1000, 0);
	struct tv_err e = {0};

	(void)state;
	empty_first_copy(r);
	assert_int_equal(ckpt_rep_verify(r, 1, 0, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(r, 1, &e), 0);
	assert_int_equal(phase(NULL), CKPT_REP_WHOLE);
	ckpt_rep_hand_over(r);
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	assert_int_equal(ckpt_rep_settle(r, &e), 0); /* its promotion failed: the VM may have run */
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	setenv("TWINVM_FAULT", "replica_sync:2", 1);
	assert_int_equal(ckpt_rep_let_go(r, &e), -EIO);
	unsetenv("TWINVM_FAULT");
	assert_non_null(strstr(e.text, "-1.raw: sync"));
	assert_int_equal(phase(NULL), CKPT_REP_MIXED);
	assert_int_equal(ckpt_rep_let_go(r, &e), 0);
	assert_int_equal(phase(NULL), CKPT_REP_NONE);
	assert_int_equal(access(ckpt_rep_path(r, 0), F_OK), 0);
	ckpt_rep_remove(r);
	ckpt_rep_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),	cmocka_unit_test(test_epochs_overlap),
		cmocka_unit_test(test_hostile_records), cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_let_go),
	};

	return cmocka_run_group_tests_name("ckpt_replica", tests, make_dir, remove_dir);
}
