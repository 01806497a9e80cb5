/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of fields: what a struct looks like as a JSON object. One table serves the writer, the
 * reader and the documentation of what is sent between processes, kept on disk and shown to users.
 *
 *   static const struct field list[] = {
 *           FIELD(struct job, vm_id, TEXT, "", "the VM's id"),
 *           FIELD(struct session_stats, pause_ms.p50, F64, "ms", "median pause"),
 *   };
 *   const struct fields job_fields = FIELDS("job", list);
 *
 * A name with a dot is a field of an object inside the object.
 */
#ifndef REPLICATOR_SESSION_FIELDS_H
#define REPLICATOR_SESSION_FIELDS_H

#include "common/common.h"

#include <jansson.h>

enum field_kind {
	FIELD_TEXT, /* char[]; a text that has no room is an error when read */
	FIELD_INT,  /* int, any sign */
	FIELD_U64,  /* uint64_t; JSON holds at most INT64_MAX, more is written as that */
	FIELD_PORT, /* uint16_t */
	FIELD_PID,  /* pid_t, not negative */
	FIELD_F64,  /* double; a whole number is read, too */
	FIELD_BOOL, /* bool */
	FIELD_WORD, /* an enum (int) by its names in JSON, see struct field_words */
	FIELD_LIST, /* uint64_t[]; read only from a list of as many numbers */
};

/* How an enum is written. parse returns the value for a word, never fails: an unknown word gets the
 * value that its enum has for that. */
struct field_words {
	const char *(*name)(int value);
	int (*parse)(const char *word);
};

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset, room_bytes;
	const char *unit; /* "": none */
	const char *meaning;
	const struct field_words *words; /* FIELD_WORD */
	bool optional;			 /* may be absent when read: stays as it is then */
	bool sparse; /* is not written while it is not known: NAN, UINT64_MAX, "" */
};
struct fields {
	const char *what; /* for error sentences: "job", … */
	const struct field *list;
	unsigned n;
};

#define FIELD(type, member, field_kind, field_unit, field_meaning)                             \
	{                                                                                      \
		.name = #member, .kind = FIELD_##field_kind, .offset = offsetof(type, member), \
		.room_bytes = sizeof(((type *)0)->member), .unit = (field_unit),               \
		.meaning = (field_meaning)                                                     \
	}
/* As FIELD, by another name than the member's. */
#define FIELD_AS(field_name, type, member, field_kind, field_unit, field_meaning)            \
	{                                                                                    \
		.name = (field_name), .kind = FIELD_##field_kind,                            \
		.offset = offsetof(type, member), .room_bytes = sizeof(((type *)0)->member), \
		.unit = (field_unit), .meaning = (field_meaning)                             \
	}
/* As FIELD; left out while it is not known. */
#define FIELD_SPARSE(type, member, field_kind, field_unit, field_meaning)                      \
	{                                                                                      \
		.name = #member, .kind = FIELD_##field_kind, .offset = offsetof(type, member), \
		.room_bytes = sizeof(((type *)0)->member), .unit = (field_unit),               \
		.meaning = (field_meaning), .sparse = true                                     \
	}
/* An enum, with its words. */
#define FIELD_ENUM(type, member, field_words, field_meaning)                                       \
	{                                                                                          \
		.name = #member, .kind = FIELD_WORD, .offset = offsetof(type, member),             \
		.room_bytes = sizeof(((type *)0)->member), .unit = "", .meaning = (field_meaning), \
		.words = (field_words)                                                             \
	}
#define FIELDS(name, array)                                       \
	{                                                         \
		(name), (array), sizeof(array) / sizeof(*(array)) \
	}

/* A text that came from outside may be no UTF-8, or have been cut inside a letter; JSON has no such
 * text, and a report must not be lost for it: it is mended. NULL: no memory. */
json_t *fields_text(const char *text);
/* Sets the table's fields in `to`, a JSON object, from a struct. -ENOMEM. */
int fields_add(const struct fields *f, const void *from, json_t *to) TV_MUST_CHECK;
/* A new object; NULL: no memory. */
json_t *fields_write(const struct fields *f, const void *from);
/*
 * Fills a struct; fields that `from` has and the table has not are passed over (a newer writer).
 * -EINVAL: one is missing, of another type or out of range; the sentence names it.
 */
int fields_read(const struct fields *f, const json_t *from, void *to,
		struct tv_err *e) TV_MUST_CHECK;

#endif
