/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk records as a backup takes them: the journal, in pieces whose size the first byte chooses,
 * against a plain walk over the same bytes. Whatever comes: only whole, checked records are handed
 * on, each once and in order, when they arrive and again on the way out.
 */
#include "checkpoint/journal.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_BYTES (2 * CKPT_DISK_RECORD_BYTES)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t sizes[] = {1u << 20, UINT64_MAX / 2};

struct walk {
	const uint8_t *p;
	size_t n, at;
	uint64_t records;
};

static const char *check(void *arg, const struct ckpt_disk_rec *rec)
{
	(void)arg;
	return ckpt_disk_check(rec, 2, sizes);
}

/* The next record of the input is exactly this one. */
static int expect(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		  struct tv_err *e)
{
	static uint8_t scratch[CKPT_DISK_PIECE_BYTES];
	struct walk *w = arg;
	const uint8_t *contents;
	size_t bytes = CKPT_DISK_HEADER_BYTES + rec->payload_bytes;

	(void)e;
	if (bytes > w->n - w->at ||
	    memcmp(payload, w->p + w->at + CKPT_DISK_HEADER_BYTES, rec->payload_bytes))
		abort();
	if (rec->kind == CKPT_DISK_WRITE)
		(void)!ckpt_disk_contents(rec, payload, scratch, &contents);
	w->at += bytes;
	w->records++;
	return 0;
}

static int ignore(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		  struct tv_err *e)
{
	(void)arg, (void)rec, (void)payload, (void)e;
	return 0;
}

static void run(const uint8_t *p, size_t bytes, size_t piece)
{
	struct walk in = {p, bytes, 0, 0}, again = in;
	const struct ckpt_journal_ops arrive = {check, expect, &in},
				      leave = {check, expect, &again};
	const struct ckpt_journal_ops recheck = {check, ignore, NULL};
	static struct ckpt_room *room;
	struct ckpt_journal *j;
	struct ckpt_slabs slabs;
	struct tv_err e = {0};
	int rc = 0;

	if (!room && ckpt_room_new("/tmp", UINT64_C(1) << 40, 0, &room))
		return;
	ckpt_slabs_init(&slabs, MEMORY_BYTES);
	if (ckpt_journal_new(&slabs, room, &j))
		return;
	for (size_t at = 0, n; at < in.n && !rc; at += n) {
		n = in.n - at < piece ? in.n - at : piece;
		rc = ckpt_journal_add(j, in.p + at, n, &arrive, &e);
	}
	if ((rc && !e.text[0]) || in.records != ckpt_journal_records(j))
		abort();
	/* What was refused is the first record that is wrong; what was not is there. */
	if (!rc && !ckpt_journal_whole(j, &e) && in.at != in.n)
		abort();
	if (ckpt_journal_each(j, &leave, &recheck, &e) || again.at != in.at)
		abort();
	ckpt_journal_free(j);
	ckpt_slabs_dispose(&slabs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size)
		run(data + 1, size - 1, data[0] ? data[0] * 37u : SIZE_MAX);
	return 0;
}
