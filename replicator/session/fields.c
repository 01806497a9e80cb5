/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables of fields, written and read: see fields.h. */
#include "replicator/session/fields.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64

/* Splits "a.b" into the object's name and the rest; returns the rest, or the name without a dot. */
static const char *split(const char *name, char object[NAME_BYTES])
{
	const char *dot = strchr(name, '.');

	object[0] = 0;
	if (!dot || (size_t)(dot - name) >= NAME_BYTES)
		return name;
	memcpy(object, name, (size_t)(dot - name));
	object[dot - name] = 0;
	return dot + 1;
}

/* ---- writing ---- */
json_t *fields_text(const char *text)
{
	json_t *v = json_string(text);
	TV_FREE char *clean = v ? NULL : strdup(text);

	if (clean)
		tv_mend_utf8(clean);
	return v ? v : json_string(clean ? clean : "");
}

static json_t *whole(uint64_t v)
{
	return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *list_of(const struct field *f, const uint64_t *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->room_bytes / sizeof(*v); i++)
		if (json_array_append_new(list, whole(v[i]))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *value_of(const struct field *f, const void *from)
{
	const void *p = (const char *)from + f->offset;

	switch (f->kind) {
	case FIELD_TEXT:
		return fields_text(p);
	case FIELD_INT:
		return json_integer(*(const int *)p);
	case FIELD_U64:
		return whole(*(const uint64_t *)p);
	case FIELD_PORT:
		return json_integer(*(const uint16_t *)p);
	case FIELD_PID:
		return json_integer(*(const pid_t *)p);
	case FIELD_F64: /* JSON has no infinity */
		return json_real(isfinite(*(const double *)p) ? *(const double *)p : 0.0);
	case FIELD_BOOL:
		return json_boolean(*(const bool *)p);
	case FIELD_WORD:
		return json_string(f->words->name(*(const int *)p));
	case FIELD_LIST:
		return list_of(f, p);
	}
	return NULL;
}

static bool is_known(const struct field *f, const void *from)
{
	const void *p = (const char *)from + f->offset;

	if (f->kind == FIELD_F64)
		return !isnan(*(const double *)p);
	if (f->kind == FIELD_U64)
		return *(const uint64_t *)p != UINT64_MAX;
	return f->kind != FIELD_TEXT || *(const char *)p;
}

static int add(const struct field *f, const void *from, json_t *to)
{
	char object[NAME_BYTES];
	const char *name = split(f->name, object);

	if (f->sparse && !is_known(f, from))
		return 0;
	if (object[0]) {
		json_t *inner = json_object_get(to, object);

		if (!inner && json_object_set_new(to, object, json_object()))
			return -ENOMEM;
		to = json_object_get(to, object);
	}
	return json_object_set_new(to, name, value_of(f, from)) ? -ENOMEM : 0;
}

int fields_add(const struct fields *f, const void *from, json_t *to)
{
	int rc = to ? 0 : -ENOMEM;

	for (unsigned i = 0; i < f->n && !rc; i++)
		rc = add(&f->list[i], from, to);
	return rc;
}

json_t *fields_write(const struct fields *f, const void *from)
{
	json_t *o = json_object();

	if (fields_add(f, from, o)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* ---- reading ---- */
static int set_text(const struct field *f, const json_t *v, char *p)
{
	size_t bytes = json_string_length(v);
	const char *s = json_string_value(v);

	/* A NUL inside would be a shorter text to us than to its sender. */
	if (!s || bytes >= f->room_bytes || strlen(s) != bytes)
		return -EINVAL;
	memcpy(p, s, bytes + 1);
	return 0;
}

static int set_number(const struct field *f, const json_t *v, void *p)
{
	json_int_t n = json_integer_value(v);

	if (f->kind == FIELD_F64 && json_is_number(v)) {
		*(double *)p = json_number_value(v);
		return 0;
	}
	if (!json_is_integer(v) || f->kind == FIELD_F64)
		return -EINVAL;
	if (n < (f->kind == FIELD_INT ? INT_MIN : 0))
		return -EINVAL;
	if (f->kind == FIELD_U64)
		*(uint64_t *)p = (uint64_t)n;
	else if (f->kind == FIELD_PORT && n <= UINT16_MAX)
		*(uint16_t *)p = (uint16_t)n;
	else if (f->kind == FIELD_PID && n <= INT_MAX)
		*(pid_t *)p = (pid_t)n;
	else if (f->kind == FIELD_INT && n <= INT_MAX)
		*(int *)p = (int)n;
	else
		return -EINVAL;
	return 0;
}

static int set_list(const struct field *f, const json_t *v, uint64_t *p)
{
	size_t n = f->room_bytes / sizeof(*p);

	if (!json_is_array(v) || json_array_size(v) != n)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		const json_t *one = json_array_get(v, i);

		if (!json_is_integer(one) || json_integer_value(one) < 0)
			return -EINVAL;
		p[i] = (uint64_t)json_integer_value(one);
	}
	return 0;
}

static int set(const struct field *f, const json_t *v, void *to)
{
	void *p = (char *)to + f->offset;

	switch (f->kind) {
	case FIELD_TEXT:
		return set_text(f, v, p);
	case FIELD_BOOL:
		if (!json_is_boolean(v))
			return -EINVAL;
		*(bool *)p = json_is_true(v);
		return 0;
	case FIELD_WORD:
		if (!json_is_string(v))
			return -EINVAL;
		*(int *)p = f->words->parse(json_string_value(v));
		return 0;
	case FIELD_LIST:
		return set_list(f, v, p);
	default:
		return set_number(f, v, p);
	}
}

int fields_read(const struct fields *f, const json_t *from, void *to, struct tv_err *e)
{
	for (unsigned i = 0; i < f->n; i++) {
		const struct field *field = &f->list[i];
		char object[NAME_BYTES];
		const char *name = split(field->name, object);
		const json_t *in = object[0] ? json_object_get(from, object) : from;
		const json_t *v = json_object_get(in, name);

		if (!v && field->optional)
			continue;
		if (!v)
			return tv_fail(e, -EINVAL, "%s: field '%s' is missing", f->what,
				       field->name);
		if (set(field, v, to))
			return tv_fail(e, -EINVAL, "%s: field '%s' has an invalid value", f->what,
				       field->name);
	}
	return 0;
}
