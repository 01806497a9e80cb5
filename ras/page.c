/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A page of the trace buffer (include/linux/ring_buffer.h, kernel/trace/ring_buffer.c): a time, how
 * many bytes of data there are, then records. Each begins with a word: 5 bits of type or length, 27
 * bits of time since the record before.
 *
 * A page is walked twice: once to see that every length leads to another record or to the end, then
 * to give the records. A reader that believed the records up to the broken one would wonder where to
 * continue; readers have looped there for ever. Every step is at least four bytes.
 */
#include "ras/page.h"

#include <errno.h>

/* Bits of the field "commit" beside the length. */

#define COMMIT_MISSED (UINT32_C(1) << 31)
#define COMMIT_LENGTH UINT32_C(0x07ffffff)

enum { LONG_DATA = 0, DATA_MOST = 28, PADDING = 29, TIME_EXTEND = 30, TIME_STAMP = 31 };
#define TIME_SHIFT 27
/* A stamp has 59 bits; the rest is that of the page. */
#define STAMP_MASK ((UINT64_C(1) << 59) - 1)

const struct page_layout page_layout_usual = {0, 8, 8, 16};

struct step {
	const uint8_t *record; /* NULL: no record */
	size_t bytes, next;    /* of the record; where the next step begins */
	uint64_t time_ns;
};

int page_layout(const struct ras_format *header, struct page_layout *out)
{
	const struct format_field *time = format_field(header, "timestamp");
	const struct format_field *commit = format_field(header, "commit");
	const struct format_field *data = format_field(header, "data");

	if (!time || !commit || !data || time->size != 8 ||
	    (commit->size != 4 && commit->size != 8) || data->offset < time->offset + 8 ||
	    data->offset < commit->offset + commit->size)
		return -EINVAL;
	*out = (struct page_layout){time->offset, commit->offset, commit->size, data->offset};
	return 0;
}

static uint64_t word(const uint8_t *p)
{
	return tv_get_le32(p);
}

/* One step from at; the data ends at end. */
static int step(const uint8_t *data, size_t at, size_t end, uint64_t time_ns, struct step *s)
{
	size_t room = end - at, length;
	unsigned type;
	uint64_t delta, more;

	if (room < 4)
		return -EBADMSG;
	type = word(data + at) & 31;
	delta = word(data + at) >> 5;
	*s = (struct step){NULL, 0, at + 4 + 4 * type, time_ns + delta};
	if (type > LONG_DATA && type <= DATA_MOST) {
		s->record = data + at + 4;
		s->bytes = 4 * type;
		return s->bytes <= room - 4 ? 0 : -EBADMSG;
	}
	if (type == PADDING && !delta) {
		s->next = end; /* the rest of the page */
		return 0;
	}
	if (room < 8)
		return -EBADMSG;
	more = word(data + at + 4);
	s->next = at + 8;
	if (type == TIME_EXTEND) {
		s->time_ns = time_ns + delta + (more << TIME_SHIFT);
		return 0;
	}
	if (type == TIME_STAMP) {
		s->time_ns = (time_ns & ~STAMP_MASK) | (more << TIME_SHIFT | delta);
		return 0;
	}
	/* A length that counts its own word. */
	length = more;
	if (length < 4 || length > room - 4)
		return -EBADMSG;
	s->next = at + 4 + ((length + 3) & ~(size_t)3);
	if (s->next > end)
		return -EBADMSG;
	if (type == LONG_DATA) {
		s->record = data + at + 8;
		s->bytes = length - 4;
	} else {
		s->time_ns = time_ns; /* padding: a record that was thrown away */
	}
	return 0;
}

static int walk(const uint8_t *data, size_t end, uint64_t time_ns, page_each_fn *each, void *arg)
{
	struct step s;

	for (size_t at = 0; at < end; at = s.next) {
		int rc = step(data, at, end, time_ns, &s);

		if (rc)
			return rc;
		time_ns = s.time_ns;
		if (s.record && each)
			each(arg, time_ns, s.record, s.bytes);
	}
	return 0;
}

int page_read(const struct page_layout *l, const uint8_t *page, size_t bytes, page_each_fn *each,
	      void *arg, bool *lost)
{
	uint64_t time_ns, commit;
	size_t length;
	int rc;

	*lost = false;
	if (bytes < l->data_at)
		return -EBADMSG;
	time_ns = tv_get_le64(page + l->time_at);
	commit = l->commit_size == 8 ? tv_get_le64(page + l->commit_at)
				     : tv_get_le32(page + l->commit_at);
	length = commit & COMMIT_LENGTH;
	if (length > bytes - l->data_at)
		return -EBADMSG;
	rc = walk(page + l->data_at, length, time_ns, NULL, NULL);
	if (rc)
		return rc;
	*lost = commit & COMMIT_MISSED;
	return walk(page + l->data_at, length, time_ns, each, arg);
}
