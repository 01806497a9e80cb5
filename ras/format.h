/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Format files of tracefs, and the fields of a record by name. */
#ifndef RAS_FORMAT_H
#define RAS_FORMAT_H

#include "ras/ras.h"

#define FORMAT_FIELDS 48
#define FORMAT_SYMBOLS 96
#define FORMAT_NAME_ROOM 40
/* A record fits into a page; offsets beyond that are nonsense. */
#define FORMAT_RECORD_MOST 65536u

enum format_kind {
	FIELD_PLAIN,	/* at its offset, as many bytes as its size */
	FIELD_DATA_LOC, /* at its offset: where in the record, and how long */
	FIELD_REL_LOC,	/* the same, counted from the end of the field */
};
struct format_field {
	char name[FORMAT_NAME_ROOM];
	uint32_t offset, size;
	bool is_signed;
	enum format_kind kind;
};
/* The print format's own names of a field's values. */
struct format_symbol {
	char field[FORMAT_NAME_ROOM];
	int64_t value;
	char text[RAS_TEXT_ROOM];
};
struct ras_format {
	char name[FORMAT_NAME_ROOM];
	uint32_t id;
	uint32_t fixed_bytes; /* up to the end of the last field */
	unsigned fields, symbols;
	struct format_field field[FORMAT_FIELDS];
	struct format_symbol symbol[FORMAT_SYMBOLS];
};

/*
 * Reads a format file, or with header a file of fields only (header_page). Fields and symbols beyond
 * the limits are left out. -EINVAL: no such file; -E2BIG: longer than RAS_FORMAT_MOST_BYTES.
 */
int format_parse(const char *text, size_t bytes, bool header, struct ras_format *out,
		 struct tv_err *e) TV_MUST_CHECK;
const struct format_field *format_field(const struct ras_format *f, const char *name);
/* The text of a value, "" if the print format has none. */
const char *format_symbol(const struct ras_format *f, const char *field, int64_t value);

/* One field that a source reads, and where to. */
enum want_kind { WANT_NUMBER, WANT_TEXT, WANT_BYTES };
struct want {
	const char *name;
	bool must; /* an event without it is of no use */
	enum want_kind kind;
	size_t at, room; /* in the source's struct */
};
#define WANT(type, member, must_, kind_)                                                      \
	{                                                                                     \
#member, must_, kind_, offsetof(type, member), sizeof(((type *)NULL)->member) \
	}
/* Is the length of a record what its format and its own contents say? */
bool format_fits(const struct ras_format *f, const uint8_t *record, size_t bytes);
/*
 * Fills the members of to from a record that fits; those whose field the format lacks are left
 * alone. A number that has no room in its member is cut to it.
 */
void format_take(const struct ras_format *f, const uint8_t *record, size_t bytes,
		 const struct want *wants, size_t n, void *to);
/* The bytes of a field, of a record that fits; false: the format has no such field. */
bool format_bytes(const struct ras_format *f, const uint8_t *record, size_t bytes, const char *name,
		  const uint8_t **p, size_t *n);

#endif
