/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration stream: QEMU's migration/savevm.c and migration/ram.c have the format.
 *
 * The device state of an epoch is a stream without memory: magic, version, sections, end. Memory is
 * one more device in it ("ram", version 4), in two sections before all others: the first lists the
 * blocks, the second has the pages. Before them comes the machine's type, which a QEMU expects
 * that was not started with send-configuration=off; behind the end an empty description. Each page
 * is written, zeroes as a mark: a QEMU that has started may have put something there.
 */
#include "hv/dump/dump_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 8	   /* magic, version */
#define RAM_ID 0x74776e00u /* a section's number: QEMU's own are small */
#define RAM_VERSION 4

enum { SECTION_START = 1, SECTION_END = 3, VMDESCRIPTION = 6, CONFIGURATION = 7, FOOTER = 0x7e };
enum { PAGE_ZERO = 2, MEM_SIZE = 4, PAGE = 8, END_OF_SECTION = 0x10, SAME_BLOCK = 0x20 };

struct stream {
	FILE *f;
	const struct hv_dump_block *last; /* whose page was written last */
};

static void put(struct stream *s, const void *p, size_t n)
{
	fwrite(p, 1, n, s->f); /* ferror is asked at the end */
}

static void put8(struct stream *s, unsigned v)
{
	putc((int)v, s->f);
}

static void put32(struct stream *s, uint32_t v)
{
	const uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
			      (uint8_t)v};

	put(s, b, sizeof(b));
}

static void put64(struct stream *s, uint64_t v)
{
	put32(s, (uint32_t)(v >> 32));
	put32(s, (uint32_t)v);
}

/* A length of one byte before it. */
static void put_name(struct stream *s, const char *name)
{
	size_t n = strlen(name);

	put8(s, (unsigned)n);
	put(s, name, n);
}

static void end_section(struct stream *s)
{
	put64(s, END_OF_SECTION);
	put8(s, FOOTER);
	put32(s, RAM_ID);
}

static void put_list(struct stream *s, const struct hv_dump *d)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < d->n_blocks; i++)
		all += d->blocks[i].bytes;
	put8(s, SECTION_START);
	put32(s, RAM_ID);
	put_name(s, "ram");
	put32(s, 0); /* instance */
	put32(s, RAM_VERSION);
	put64(s, all | MEM_SIZE);
	for (unsigned i = 0; i < d->n_blocks; i++) {
		put_name(s, d->blocks[i].name);
		put64(s, d->blocks[i].bytes);
	}
	end_section(s);
}

/* dump_piece; arg is the stream. */
static int put_pages(void *arg, const struct hv_dump_block *b, uint64_t at, const uint8_t *data,
		     size_t n)
{
	struct stream *s = arg;

	for (size_t i = 0; i < n; i += TV_PAGE_BYTES) {
		bool zero = !data || dump_is_zero(data + i, TV_PAGE_BYTES);

		put64(s, (at + i) | (zero ? PAGE_ZERO : PAGE) | (s->last == b ? SAME_BLOCK : 0));
		if (s->last != b)
			put_name(s, b->name);
		s->last = b;
		if (zero)
			put8(s, 0);
		else
			put(s, data + i, TV_PAGE_BYTES);
	}
	return ferror(s->f) ? -errno : 0;
}

static int put_memory(struct stream *s, const struct hv_dump *d, struct tv_err *e)
{
	uint64_t done = 0;
	int rc = 0;

	put8(s, SECTION_END);
	put32(s, RAM_ID);
	for (unsigned i = 0; i < d->n_blocks && !rc; i++)
		rc = dump_walk(d, &d->blocks[i], &done, put_pages, s, e);
	end_section(s);
	return rc;
}

static bool is_good(const struct hv_dump *d)
{
	static const uint8_t start[HEADER_BYTES] = {'Q', 'E', 'V', 'M', 0, 0, 0, 3};

	for (unsigned i = 0; i < d->n_blocks; i++)
		if (strlen(d->blocks[i].name) > 255 || d->blocks[i].bytes % TV_PAGE_BYTES)
			return false;
	return d->n_blocks && d->machine[0] && strlen(d->machine) < 256 &&
	       d->state_bytes > HEADER_BYTES && !memcmp(d->state, start, HEADER_BYTES) &&
	       d->state[HEADER_BYTES] != CONFIGURATION && !d->state[d->state_bytes - 1];
}

int hv_dump_stream(const struct hv_dump *d, int out, struct tv_err *e)
{
	struct stream s = {0};
	int fd, rc;

	if (!is_good(d))
		return tv_fail(e, TV_E_PROTOCOL,
			       "the VM's device state is in no format that is known");
	fd = dup(out);
	s.f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!s.f) {
		rc = -errno;
		tv_close_fd(&fd);
		return tv_fail(e, rc, "%s", tv_strerror(rc));
	}
	put(&s, d->state, HEADER_BYTES);
	put8(&s, CONFIGURATION);
	put32(&s, (uint32_t)strlen(d->machine));
	put(&s, d->machine, strlen(d->machine));
	put_list(&s, d);
	rc = put_memory(&s, d, e);
	put(&s, d->state + HEADER_BYTES, d->state_bytes - HEADER_BYTES);
	put8(&s, VMDESCRIPTION);
	put32(&s, 0);
	if (!rc && ferror(s.f))
		rc = tv_fail(e, -EIO, "the file cannot be written: %s", tv_strerror(-errno));
	if (fclose(s.f) && !rc)
		rc = tv_fail(e, -errno, "the file cannot be written: %s", tv_strerror(-errno));
	return rc;
}
