/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A format file: a name, a number, one line for each field, and the print format, which names the
 * values of some fields:
 *
 *	name: memory_failure_event
 *	ID: 481
 *	format:
 *		field:unsigned long pfn;	offset:8;	size:8;	signed:0;
 *		field:__data_loc char[] label;	offset:16;	size:4;	signed:1;
 *		field:char sec_type[16];	offset:20;	size:16;	signed:0;
 *	print fmt: "pfn %#lx: %s", REC->pfn, __print_symbolic(REC->type, { 0, "free buddy page" })
 *
 * The text is read where it lies, with a length; it is of any length up to the limit, since the
 * print format alone may be longer than a page.
 */
#include "ras/format.h"

#include <errno.h>
#include <string.h>

/* What is left to read. */
struct text {
	const char *at, *end;
};

static bool next_line(struct text *t, struct text *line)
{
	const char *nl;

	if (t->at >= t->end)
		return false;
	nl = memchr(t->at, '\n', (size_t)(t->end - t->at));
	*line = (struct text){t->at, nl ? nl : t->end};
	t->at = nl ? nl + 1 : t->end;
	return true;
}

static void skip_space(struct text *t)
{
	while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n'))
		t->at++;
}

/* Takes a word if it comes next, after spaces. */
static bool take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	skip_space(t);
	if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n))
		return false;
	t->at += n;
	return true;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* A number in decimal or hex, perhaps negative; not more than 64 bits. */
static bool take_number(struct text *t, int64_t *out)
{
	bool minus = take(t, "-");
	uint64_t v = 0, base = take(t, "0x") || take(t, "0X") ? 16 : 10;
	const char *begin = t->at;

	for (; t->at < t->end && (unsigned)digit(*t->at) < base; t->at++) {
		if (v > (uint64_t)INT64_MAX / base)
			return false;
		v = v * base + (uint64_t)digit(*t->at);
	}
	if (t->at == begin || v > INT64_MAX)
		return false;
	*out = minus ? -(int64_t)v : (int64_t)v;
	return true;
}

static bool take_key(struct text *t, const char *key, uint32_t most, uint32_t *out)
{
	int64_t v;

	if (!take(t, key) || !take_number(t, &v) || v < 0 || v > most || !take(t, ";"))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* "unsigned char x", "char y[16]", "__data_loc char[] z": the last word, without brackets. */
static bool name_field(struct text declared, struct format_field *f)
{
	const char *begin;
	size_t n = (size_t)(declared.end - declared.at);

	skip_space(&declared);
	f->kind = take(&declared, "__data_loc")	 ? FIELD_DATA_LOC
		  : take(&declared, "__rel_loc") ? FIELD_REL_LOC
						 : FIELD_PLAIN;
	while (declared.end > declared.at && declared.end[-1] == ' ')
		declared.end--;
	if (declared.end > declared.at && declared.end[-1] == ']') {
		while (declared.end > declared.at && *--declared.end != '[')
			;
	}
	for (begin = declared.end; begin > declared.at && is_name(begin[-1]); begin--)
		;
	n = (size_t)(declared.end - begin);
	/* A type comes before it. */
	if (!n || n >= sizeof(f->name) || begin == declared.at)
		return false;
	tv_copy_n(f->name, sizeof(f->name), begin, n);
	return true;
}

static bool parse_field(struct text line, struct format_field *f)
{
	const char *semicolon = memchr(line.at, ';', (size_t)(line.end - line.at));
	uint32_t is_signed;

	memset(f, 0, sizeof(*f));
	if (!semicolon || !name_field((struct text){line.at, semicolon}, f))
		return false;
	line.at = semicolon + 1;
	if (!take_key(&line, "offset:", FORMAT_RECORD_MOST, &f->offset) ||
	    !take_key(&line, "size:", FORMAT_RECORD_MOST, &f->size) ||
	    !take_key(&line, "signed:", 1, &is_signed))
		return false;
	f->is_signed = is_signed;
	return f->kind == FIELD_PLAIN || f->size == 4;
}

/* A text in quotes; returns whether there is one. What has no room is cut. */
static bool take_quoted(struct text *t, char *to, size_t room)
{
	const char *begin;

	if (!take(t, "\""))
		return false;
	begin = t->at;
	while (t->at < t->end && *t->at != '"')
		t->at += *t->at == '\\' && t->at + 1 < t->end ? 2 : 1;
	if (t->at >= t->end)
		return false;
	tv_copy_n(to, room, begin, (size_t)(t->at - begin));
	tv_mend_utf8(to);
	t->at++;
	return true;
}

/* "(0)", "1UL": how the kernel's macros leave a number. */
static bool take_value(struct text *t, int64_t *v)
{
	while (take(t, "("))
		;
	if (!take_number(t, v))
		return false;
	while (take(t, "U") || take(t, "L") || take(t, ")"))
		;
	return true;
}

/* REC->type, { 0, "free buddy page" }, { 1, ... } ): up to what is no such pair. */
static void parse_symbols(struct text *t, struct ras_format *out)
{
	struct format_symbol s = {0};
	const char *begin;

	if (!take(t, "REC->"))
		return;
	for (begin = t->at; t->at < t->end && is_name(*t->at); t->at++)
		;
	if (!tv_copy_n(s.field, sizeof(s.field), begin, (size_t)(t->at - begin)))
		return;
	while (take(t, ",") && take(t, "{") && take_value(t, &s.value) && take(t, ",") &&
	       take_quoted(t, s.text, sizeof(s.text)) && take(t, "}"))
		if (out->symbols < FORMAT_SYMBOLS)
			out->symbol[out->symbols++] = s;
}

/* The whole rest of the file; a text in quotes is skipped, whatever is in it. */
static void parse_print(struct text t, struct ras_format *out)
{
	char ignored[RAS_TEXT_ROOM];

	while (t.at < t.end) {
		if (*t.at == '"') {
			if (!take_quoted(&t, ignored, sizeof(ignored)))
				return;
		} else if (*t.at == '_' && take(&t, "__print_symbolic(")) {
			parse_symbols(&t, out);
		} else {
			t.at++;
		}
	}
}

static bool add_field(struct text line, struct ras_format *out)
{
	struct format_field f;
	uint32_t end;

	if (!parse_field(line, &f))
		return false;
	end = f.offset + f.size;
	if (end > FORMAT_RECORD_MOST)
		return false;
	if (end > out->fixed_bytes)
		out->fixed_bytes = end;
	if (out->fields < FORMAT_FIELDS)
		out->field[out->fields++] = f;
	return true;
}

static bool parse_name(struct text line, struct ras_format *out)
{
	skip_space(&line);
	return line.at < line.end &&
	       tv_copy_n(out->name, sizeof(out->name), line.at, (size_t)(line.end - line.at));
}

int format_parse(const char *text, size_t bytes, bool header, struct ras_format *out,
		 struct tv_err *e)
{
	struct text t = {text, text + bytes}, line;
	bool has_id = header;
	int64_t id;

	memset(out, 0, sizeof(*out));
	if (bytes > RAS_FORMAT_MOST_BYTES)
		return tv_fail(e, -E2BIG, "a format file of %zu bytes is too long", bytes);
	while (next_line(&t, &line)) {
		const char *begin = line.at;

		if (take(&line, "field:")) {
			if (!add_field(line, out))
				return tv_fail(
					e, -EINVAL, "a format file has a malformed field: %.*s",
					(int)(line.end - begin < 100 ? line.end - begin : 100),
					begin);
		} else if (!header && take(&line, "name:")) {
			if (!parse_name(line, out))
				return tv_fail(e, -EINVAL, "a format file has a malformed name");
		} else if (!header && take(&line, "ID:")) {
			has_id = take_number(&line, &id) && id >= 0 && id <= UINT16_MAX;
			out->id = has_id ? (uint32_t)id : 0;
		} else if (!header && take(&line, "print fmt:")) {
			parse_print((struct text){line.at, t.end}, out);
			break;
		}
	}
	if (!out->fields || !has_id || (!header && !out->name[0]))
		return tv_fail(e, -EINVAL, "no format file: it lacks a name, an ID or fields");
	return 0;
}

const struct format_field *format_field(const struct ras_format *f, const char *name)
{
	for (unsigned i = 0; i < f->fields; i++)
		if (!strcmp(f->field[i].name, name))
			return &f->field[i];
	return NULL;
}

const char *format_symbol(const struct ras_format *f, const char *field, int64_t value)
{
	for (unsigned i = 0; i < f->symbols; i++)
		if (f->symbol[i].value == value && !strcmp(f->symbol[i].field, field))
			return f->symbol[i].text;
	return "";
}
