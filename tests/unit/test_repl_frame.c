/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts: frame header and parser, control messages, the send queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replicator/link/control.h"
#include "replicator/link/frame.h"
#include "replicator/link/link.h"
#include "replicator/link/send_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN "tests/golden/control-v1.bin"

static size_t make_frame(uint8_t *out, enum frame_type type, const void *p, size_t n)
{
	frame_put_head(out, type, p, n);
	memcpy(out + FRAME_HEAD_BYTES, p, n);
	return FRAME_HEAD_BYTES + n;
}

static void test_head(void **state)
{
	uint8_t b[FRAME_HEAD_BYTES];
	struct frame_head h;

	(void)state;
	frame_put_head(b, FRAME_RECORDS, "abc", 3);
	assert_int_equal(frame_get_head(b, &h, NULL), 0);
	assert_int_equal(h.type, FRAME_RECORDS);
	assert_int_equal(h.bytes, 3);
	/* The place of every field is part of the format. */
	assert_int_equal(b[0], 2);
	assert_int_equal(b[1], 0);
	assert_int_equal(b[2], 0x56);
	assert_int_equal(b[3], 0x74);
	assert_int_equal(tv_get_le32(b + 4), 3);
	assert_true(tv_get_le64(b + 8) == UINT64_C(0x78af5f94892f3950)); /* XXH3("abc") */
}

static void head_fails(uint8_t type, uint8_t flags, uint16_t magic, uint32_t bytes,
		       const char *word)
{
	uint8_t b[FRAME_HEAD_BYTES] = {type, flags};
	struct frame_head h;
	struct frame_rx rx;
	struct tv_err e = {0};
	size_t used;

	tv_put_le16(b + 2, magic);
	tv_put_le32(b + 4, bytes);
	assert_int_equal(frame_get_head(b, &h, &e), TV_E_PROTOCOL);
	if (!strstr(e.text, word))
		fail_msg("'%s' lacks '%s'", e.text, word);
	/* And the parser takes no memory for it. */
	frame_rx_init(&rx);
	assert_int_equal(frame_rx_feed(&rx, b, sizeof(b), &used, NULL), TV_E_PROTOCOL);
	assert_null(rx.payload.data);
	frame_rx_dispose(&rx);
}

static void test_head_limits(void **state)
{
	(void)state;
	head_fails(0, 0, FRAME_MAGIC, 1, "type 0");
	head_fails(4, 0, FRAME_MAGIC, 1, "type 4");
	head_fails(3, 0, FRAME_MAGIC, 8, "too short");
	head_fails(3, 0, FRAME_MAGIC, REPL_MAX_RECORDS_BYTES + 1, "at most");
	head_fails(255, 0, FRAME_MAGIC, 1, "type 255");
	head_fails(1, 1, FRAME_MAGIC, 1, "flags");
	head_fails(1, 0, 0x5674, 1, "magic");
	head_fails(1, 0, FRAME_MAGIC, 0, "without payload");
	head_fails(2, 0, FRAME_MAGIC, 0, "without payload");
	head_fails(1, 0, FRAME_MAGIC, REPL_MAX_CONTROL_BYTES + 1, "at most");
	head_fails(2, 0, FRAME_MAGIC, REPL_MAX_RECORDS_BYTES + 1, "at most");
	head_fails(2, 0, FRAME_MAGIC, UINT32_MAX, "at most");
}

/* Three frames in pieces of every size. */
static void test_pieces(void **state)
{
	uint8_t wire[1000], body[300];
	size_t n = 0, i, piece, used;
	struct frame_rx rx;

	(void)state;
	for (i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	n += make_frame(wire + n, FRAME_RECORDS, body, 300);
	n += make_frame(wire + n, FRAME_CONTROL, body, 1);
	n += make_frame(wire + n, FRAME_RECORDS, body, 17);
	for (piece = 1; piece <= n; piece++) {
		unsigned whole = 0;
		size_t at = 0;

		frame_rx_init(&rx);
		while (at < n) {
			size_t give = n - at < piece ? n - at : piece;
			int rc = frame_rx_feed(&rx, wire + at, give, &used, NULL);

			assert_true(rc == 0 || rc == 1);
			assert_true(used > 0 && used <= give);
			assert_true(rc == 1 || used == give);
			at += used;
			assert_int_equal(frame_rx_between(&rx), rc == 1);
			if (!rc)
				continue;
			assert_int_equal(rx.head.type, whole == 1 ? FRAME_CONTROL : FRAME_RECORDS);
			assert_int_equal(rx.payload.bytes, whole == 0 ? 300 : whole == 1 ? 1 : 17);
			assert_memory_equal(rx.payload.data, body, rx.payload.bytes);
			whole++;
		}
		assert_int_equal(whole, 3);
		frame_rx_dispose(&rx);
	}
}

/* No single damaged bit goes unnoticed. */
static void test_every_bit(void **state)
{
	uint8_t good[FRAME_HEAD_BYTES + 40], bad[sizeof(good)], body[40] = {1, 2, 3};
	size_t n = make_frame(good, FRAME_RECORDS, body, sizeof(body)), bit, used;
	struct frame_rx rx;
	int rc;

	(void)state;
	for (bit = 0; bit < n * 8; bit++) {
		memcpy(bad, good, n);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame_rx_init(&rx);
		rc = frame_rx_feed(&rx, bad, n, &used, NULL);
		/* A larger length just waits for more. */
		if (rc == 0)
			assert_true(bit / 8 >= 4 && bit / 8 < 8);
		else
			assert_true(rc == TV_E_PROTOCOL || rc == TV_E_CORRUPT);
		frame_rx_dispose(&rx);
	}
}

/* A disk frame is handed on piece by piece, once its epoch is known to be right; its data have
 * hashes of their own. */
static void test_disk_pieces(void **state)
{
	uint8_t wire[FRAME_HEAD_BYTES + 300], body[300], got[300] = {0};
	size_t n, used, have;
	struct frame_rx rx;
	int rc;

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7);
	n = make_frame(wire, FRAME_DISK, body, sizeof(body));
	for (size_t piece = 1; piece <= n; piece++) {
		have = FRAME_DISK_HEAD_BYTES;
		frame_rx_init(&rx);
		for (size_t at = 0; at < n; at += used) {
			assert_int_equal(frame_rx_between(&rx), !at);
			rc = frame_rx_feed(&rx, wire + at, piece < n - at ? piece : n - at, &used,
					   NULL);
			assert_true(rc >= 0);
			assert_int_equal(rc, at + used > FRAME_HEAD_BYTES + FRAME_DISK_HEAD_BYTES);
			if (!rc)
				continue;
			assert_int_equal(tv_get_le64(rx.payload.data), tv_get_le64(body));
			memcpy(got + have, rx.piece, rx.piece_bytes);
			have += rx.piece_bytes;
		}
		assert_true(frame_rx_between(&rx));
		assert_int_equal(have, sizeof(body));
		assert_memory_equal(got + FRAME_DISK_HEAD_BYTES, body + FRAME_DISK_HEAD_BYTES,
				    sizeof(body) - FRAME_DISK_HEAD_BYTES);
		frame_rx_dispose(&rx);
	}
	for (unsigned bit = 0; bit < 8 * FRAME_DISK_HEAD_BYTES; bit++) {
		wire[FRAME_HEAD_BYTES + bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame_rx_init(&rx);
		assert_int_equal(frame_rx_feed(&rx, wire, n, &used, NULL), TV_E_CORRUPT);
		wire[FRAME_HEAD_BYTES + bit / 8] ^= (uint8_t)(1 << bit % 8);
		frame_rx_dispose(&rx);
	}
}

/* ---- control messages ---- */

static int unpack(const void *p, size_t n)
{
	Twinvm__Control *m;
	struct tv_err e = {0};
	int rc = control_unpack(p, n, &m, &e);

	assert_int_equal(rc == 0, m != NULL);
	assert_int_equal(rc == 0, e.text[0] == '\0');
	control_free(m);
	return rc;
}

/* A Hello or Refuse with this text, through pack and unpack. */
static int round_trip(const char *text)
{
	Twinvm__Refuse r = TWINVM__REFUSE__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT, *out;
	uint8_t b[512];
	size_t n;
	int rc;

	r.text = (char *)text;
	m.msg_case = TWINVM__CONTROL__MSG_REFUSE;
	m.refuse = &r;
	n = twinvm__control__pack(&m, b);
	rc = control_unpack(b, n, &out, NULL);
	if (!rc) {
		assert_string_equal(out->refuse->text, text);
		assert_string_equal(control_name(out), "refuse");
		control_free(out);
	}
	return rc;
}

static void test_strings(void **state)
{
	(void)state;
	assert_int_equal(round_trip(""), 0);
	assert_int_equal(round_trip("{\"json\": \"with\\nlines\"}\n\t"), 0);
	assert_int_equal(round_trip("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"), 0);
	assert_int_equal(round_trip("\x1b[2J"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\x7f"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\x80"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xc3"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xc0\xaf"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xe0\x80\xaf"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xed\xa0\x80"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xf4\x90\x80\x80"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xf5\x80\x80\x80"), TV_E_PROTOCOL);
	assert_int_equal(round_trip("\xe2\x82"), TV_E_PROTOCOL);
}

static void test_unpack_hostile(void **state)
{
	static uint8_t unknown[REPL_MAX_CONTROL_BYTES];
	/* Field 8 (heartbeat) of claimed length 2^31, then of length 5 with 1 byte. */
	static const uint8_t huge[] = {0x42, 0xff, 0xff, 0xff, 0xff, 0x07, 0};
	static const uint8_t cut[] = {0x42, 5, 0};
	/* An unknown kind (field 99) alone; and beside a heartbeat. */
	static const uint8_t later[] = {0x9a, 0x06, 1, 0};
	static const uint8_t both[] = {0x42, 2, 0x08, 7, 0x9a, 0x06, 1, 0};
	/* Two kinds in one message: the last one counts. */
	static const uint8_t two[] = {0x42, 2, 0x08, 7, 0x12, 3, 0x0a, 1, 'h'};

	(void)state;
	assert_int_equal(unpack("", 0), TV_E_PROTOCOL);
	assert_int_equal(unpack(huge, sizeof(huge)), TV_E_PROTOCOL);
	assert_int_equal(unpack(cut, sizeof(cut)), TV_E_PROTOCOL);
	assert_int_equal(unpack(later, sizeof(later)), TV_E_PROTOCOL);
	assert_int_equal(unpack(both, sizeof(both)), 0);
	assert_int_equal(unpack(two, sizeof(two)), 0);
	/* 128 Ki unknown fields of two bytes would take several MiB. */
	for (size_t i = 0; i < sizeof(unknown); i += 2)
		unknown[i] = 0x78; /* field 15, a varint 0 */
	assert_int_equal(unpack(unknown, sizeof(unknown)), TV_E_PROTOCOL);
}

static void test_unpack_random(void **state)
{
	uint8_t b[64];
	unsigned j, n;

	(void)state;
	srand(7);
	for (unsigned i = 0; i < 200000; i++) {
		n = (unsigned)rand() % sizeof(b);
		for (j = 0; j < n; j++)
			b[j] = (uint8_t)(rand() >> 8);
		/* Aim at the kinds: a tag of field 1..13, then a plausible length. */
		if (n > 2 && i & 1) {
			b[0] = (uint8_t)(((1 + i % 13) << 3) | 2);
			b[1] = (uint8_t)(n - 2);
		}
		(void)unpack(b, n);
	}
}

/* ---- the golden file: version 1 of the format does not change ---- */

static size_t golden_frame(uint8_t *out, size_t room)
{
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;
	uint8_t body[128];
	size_t n;

	end.epoch = 300;
	end.generation = 4;
	end.records = 70000;
	end.checksum = UINT64_C(0x0123456789abcdef);
	end.wire_bytes = UINT64_C(5000000000);
	m.msg_case = TWINVM__CONTROL__MSG_EPOCH_END;
	m.epoch_end = &end;
	n = twinvm__control__pack(&m, body);
	assert_true(FRAME_HEAD_BYTES + n <= room);
	return make_frame(out, FRAME_CONTROL, body, n);
}

static void test_golden(void **state)
{
	TV_FREE char *file = NULL;
	uint8_t frame[256];
	size_t n = golden_frame(frame, sizeof(frame)), bytes, used;
	Twinvm__Control *m;
	struct frame_rx rx;

	(void)state;
	if (getenv("TWINVM_GOLDEN_WRITE"))
		assert_int_equal(tv_write_file(GOLDEN, frame, n), 0);
	assert_int_equal(tv_read_file(GOLDEN, 4096, &file, &bytes), 0);
	assert_int_equal(bytes, n);
	assert_memory_equal(file, frame, n);
	frame_rx_init(&rx);
	assert_int_equal(frame_rx_feed(&rx, (uint8_t *)file, bytes, &used, NULL), 1);
	assert_int_equal(used, bytes);
	assert_int_equal(control_unpack(rx.payload.data, rx.payload.bytes, &m, NULL), 0);
	assert_int_equal(m->msg_case, TWINVM__CONTROL__MSG_EPOCH_END);
	assert_int_equal(m->epoch_end->epoch, 300);
	assert_int_equal(m->epoch_end->generation, 4);
	assert_int_equal(m->epoch_end->records, 70000);
	assert_true(m->epoch_end->checksum == UINT64_C(0x0123456789abcdef));
	assert_true(m->epoch_end->wire_bytes == UINT64_C(5000000000));
	control_free(m);
	frame_rx_dispose(&rx);
}

/* ---- the send queue ---- */

static struct send_frame *control(uint8_t tag)
{
	struct send_frame *f = send_frame_new(1);

	f->data[FRAME_HEAD_BYTES] = tag;
	return f;
}

static int next_tag(struct send_queue *q)
{
	struct send_frame *f = send_next(q);
	int tag = f ? f->data[FRAME_HEAD_BYTES] : -1;

	free(f);
	return tag;
}

static void test_queue_order(void **state)
{
	struct send_queue q;

	(void)state;
	send_init(&q, 1 << 20);
	assert_true(send_empty(&q));
	assert_int_equal(next_tag(&q), -1);
	assert_int_equal(send_add_bulk(&q, "\1", 1), 0);
	assert_int_equal(send_add_control(&q, control(2), false), 0);
	assert_int_equal(send_add_control(&q, control(3), true), 0);
	assert_int_equal(send_add_bulk(&q, "\4", 1), 0);
	assert_int_equal(send_add_control(&q, control(5), true), 0);
	assert_false(send_empty(&q));
	assert_int_equal(next_tag(&q), 3);
	assert_int_equal(next_tag(&q), 5);
	assert_int_equal(next_tag(&q), 1);
	assert_int_equal(send_add_control(&q, control(6), true), 0);
	assert_int_equal(next_tag(&q), 6);
	assert_int_equal(next_tag(&q), 2);
	assert_int_equal(next_tag(&q), 4);
	assert_true(send_empty(&q));
	assert_int_equal(q.bulk_bytes + q.control_bytes, 0);
	assert_int_equal(send_add_bulk(&q, "\1", 1), 0);
	send_dispose(&q);
	assert_int_equal(q.bulk_bytes, 0);
}

static void test_queue_limits(void **state)
{
	static uint8_t p[100000];
	struct send_queue q;
	unsigned n = 0;

	(void)state;
	send_init(&q, sizeof(p));
	assert_false(send_take_drained(&q));
	assert_int_equal(send_add_bulk(&q, p, sizeof(p) + 0), 0);
	assert_int_equal(send_add_bulk(&q, p, 1), -EAGAIN);
	assert_int_equal(q.bulk_bytes, sizeof(p) + 4 * FRAME_HEAD_BYTES);
	assert_false(send_take_drained(&q));
	while (q.bulk_bytes >= sizeof(p) / 2)
		assert_int_equal(next_tag(&q), 0);
	assert_true(send_take_drained(&q));
	assert_false(send_take_drained(&q));
	/* Refused below the half: drained is due again, or the sender would wait for ever. */
	assert_true(q.bulk_bytes > 0);
	assert_int_equal(send_add_bulk(&q, p, 90000), -EAGAIN);
	assert_true(send_take_drained(&q));
	while (!send_add_control(&q, send_frame_new(1 << 16), true))
		n++;
	assert_int_equal(n, SEND_CONTROL_LIMIT_BYTES / ((1 << 16) + FRAME_HEAD_BYTES));
	send_dispose(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head),	       cmocka_unit_test(test_head_limits),
		cmocka_unit_test(test_pieces),	       cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_disk_pieces),    cmocka_unit_test(test_strings),
		cmocka_unit_test(test_unpack_hostile), cmocka_unit_test(test_unpack_random),
		cmocka_unit_test(test_golden),	       cmocka_unit_test(test_queue_order),
		cmocka_unit_test(test_queue_limits),
	};

	return cmocka_run_group_tests_name("repl_frame", tests, NULL, NULL);
}
