/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fields of a record. A record's bytes may be any: every place that a format or the record itself
 * names is compared with the record's length before it is read.
 */
#include "ras/format.h"
#include "ras/text.h"

#include <string.h>

/*
 * A record ends where its last field ends, or the last byte that a field points to; behind that is
 * the padding of a structure and of the ring buffer.
 */
#define PADDING_MOST 16u

static uint64_t number(const uint8_t *p, uint32_t size, bool is_signed)
{
	switch (size) {
	case 1:
		return is_signed ? (uint64_t)(int8_t)p[0] : p[0];
	case 2:
		return is_signed ? (uint64_t)(int16_t)tv_get_le16(p) : tv_get_le16(p);
	case 4:
		return is_signed ? (uint64_t)(int32_t)tv_get_le32(p) : tv_get_le32(p);
	case 8:
		return tv_get_le64(p);
	default:
		return 0;
	}
}

/* Where a field's bytes are; false: not inside of the record. */
static bool place(const struct format_field *f, const uint8_t *record, size_t bytes, size_t *at,
		  size_t *n)
{
	uint32_t loc;

	if (f->offset > bytes || f->size > bytes - f->offset)
		return false;
	*at = f->offset;
	*n = f->size;
	if (f->kind == FIELD_PLAIN)
		return true;
	loc = tv_get_le32(record + f->offset);
	*at = (loc & 0xffff) + (f->kind == FIELD_REL_LOC ? f->offset + f->size : 0);
	*n = loc >> 16;
	return *at <= bytes && *n <= bytes - *at;
}

bool format_fits(const struct ras_format *f, const uint8_t *record, size_t bytes)
{
	size_t end = f->fixed_bytes, at, n;

	if (bytes < end)
		return false;
	for (unsigned i = 0; i < f->fields; i++) {
		if (!place(&f->field[i], record, bytes, &at, &n))
			return false;
		if (at + n > end)
			end = at + n;
	}
	return bytes - end <= PADDING_MOST;
}

bool format_bytes(const struct ras_format *f, const uint8_t *record, size_t bytes, const char *name,
		  const uint8_t **p, size_t *n)
{
	const struct format_field *field = format_field(f, name);
	size_t at;

	if (!field || !place(field, record, bytes, &at, n))
		return false;
	*p = record + at;
	return true;
}

static void put_number(uint8_t *to, size_t room, uint64_t v)
{
	memcpy(to, &v, room < sizeof(v) ? room : sizeof(v)); /* x86: little-endian */
}

void format_take(const struct ras_format *f, const uint8_t *record, size_t bytes,
		 const struct want *wants, size_t n, void *to)
{
	for (size_t i = 0; i < n; i++) {
		const struct format_field *field = format_field(f, wants[i].name);
		uint8_t *member = (uint8_t *)to + wants[i].at;
		size_t at, there;

		if (!field || !place(field, record, bytes, &at, &there))
			continue;
		if (wants[i].kind == WANT_TEXT)
			ras_copy_text((char *)member, wants[i].room, record + at, there);
		else if (wants[i].kind == WANT_BYTES)
			memcpy(member, record + at, there < wants[i].room ? there : wants[i].room);
		else if (field->kind == FIELD_PLAIN)
			put_number(member, wants[i].room,
				   number(record + at, field->size, field->is_signed));
	}
}
