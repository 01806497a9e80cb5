/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire parser: frames, then control messages. The first byte chooses the size of the pieces. A
 * hash cannot be guessed by a fuzzer, so a second pass gives the rest of the input to
 * control_unpack as it is, and two more frame it properly and check that it comes out again.
 */
#include "replicator/link/control.h"
#include "replicator/link/frame.h"
#include "replicator/link/link.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(const uint8_t *p, size_t n)
{
	Twinvm__Control *msg;
	struct tv_err e = {0};
	int rc = control_unpack(p, n, &msg, &e);

	if ((rc == 0) != (msg != NULL) || (rc && !e.text[0]))
		abort();
	if (msg && !msg->msg_case)
		abort();
	control_free(msg);
}

static void parse(const uint8_t *p, size_t n, size_t piece)
{
	struct frame_rx rx;
	size_t at = 0, used;
	int rc = 0;

	frame_rx_init(&rx);
	while (at < n && rc >= 0) {
		size_t give = n - at < piece ? n - at : piece;

		rc = frame_rx_feed(&rx, p + at, give, &used, NULL);
		if (used > give || (rc == 0 && used != give))
			abort();
		if (rx.payload.room_bytes > REPL_MAX_RECORDS_BYTES)
			abort();
		if (rc == 1 && rx.head.type == FRAME_DISK &&
		    (!rx.piece_bytes || rx.piece + rx.piece_bytes != p + at + used))
			abort();
		if (rc == 1 && rx.head.type == FRAME_CONTROL)
			unpack(rx.payload.data, rx.payload.bytes);
		at += used;
	}
	frame_rx_dispose(&rx);
}

static void frame_again(const uint8_t *p, size_t n)
{
	struct frame_rx rx;
	uint8_t *wire;
	size_t used;

	if (!n || n > REPL_MAX_CONTROL_BYTES)
		return;
	wire = malloc(FRAME_HEAD_BYTES + n);
	if (!wire)
		return;
	frame_put_head(wire, FRAME_CONTROL, p, n);
	memcpy(wire + FRAME_HEAD_BYTES, p, n);
	frame_rx_init(&rx);
	if (frame_rx_feed(&rx, wire, FRAME_HEAD_BYTES + n, &used, NULL) != 1 ||
	    rx.payload.bytes != n || memcmp(rx.payload.data, p, n))
		abort();
	frame_rx_dispose(&rx);
	free(wire);
}

/* A disk frame in pieces of 100 bytes: all of its data come out, in order. */
static void disk_again(const uint8_t *p, size_t n)
{
	size_t at = 0, out = FRAME_DISK_HEAD_BYTES, used;
	struct frame_rx rx;
	uint8_t *wire;
	int rc;

	if (n <= FRAME_DISK_HEAD_BYTES || n > REPL_MAX_RECORDS_BYTES)
		return;
	wire = malloc(FRAME_HEAD_BYTES + n);
	if (!wire)
		return;
	frame_put_head(wire, FRAME_DISK, p, n);
	memcpy(wire + FRAME_HEAD_BYTES, p, n);
	frame_rx_init(&rx);
	for (; at < FRAME_HEAD_BYTES + n; at += used) {
		size_t left = FRAME_HEAD_BYTES + n - at;

		rc = frame_rx_feed(&rx, wire + at, left < 100 ? left : 100, &used, NULL);
		if (rc < 0 || (rc == 1 && memcmp(rx.piece, p + out, rx.piece_bytes)))
			abort();
		out += rc == 1 ? rx.piece_bytes : 0;
	}
	if (out != n || !frame_rx_between(&rx))
		abort();
	frame_rx_dispose(&rx);
	free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	parse(data + 1, size - 1, data[0] ? data[0] : SIZE_MAX);
	unpack(data + 1, size - 1);
	frame_again(data + 1, size - 1);
	disk_again(data + 1, size - 1);
	return 0;
}
