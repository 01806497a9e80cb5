/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lv/qmp_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member { /* "KEY": VALUE, each as it is written */
	const char *key, *value;
	size_t key_bytes, value_bytes;
};

static const char *blank(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* Behind the closing quote of the string that p begins; NULL: it has none. */
static const char *string_end(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : NULL;
}

/* Behind the value that p begins; NULL: it does not end. */
static const char *value_end(const char *p)
{
	unsigned depth = 0;

	for (; *p; p++) {
		if (*p == '"') {
			p = string_end(p);
			if (!p)
				return NULL;
			p--;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			if (!depth)
				return p;
			depth--;
		} else if (*p == ',' && !depth) {
			return p;
		}
	}
	return NULL;
}

/* The member at *p, which goes to the next. 1, 0 at the end, -EINVAL. */
static int next_member(const char **p, struct member *m)
{
	const char *at = blank(*p), *end;

	if (*at == '}')
		return 0;
	if (*at != '"' || !(end = string_end(at)))
		return -EINVAL;
	*m = (struct member){.key = at + 1, .key_bytes = (size_t)(end - at) - 2};
	at = blank(end);
	if (*at != ':')
		return -EINVAL;
	m->value = blank(at + 1);
	end = value_end(m->value);
	if (!end || end == m->value)
		return -EINVAL;
	*p = *end == ',' ? end + 1 : end;
	while (end > m->value && strchr(" \t\r\n", end[-1]))
		end--;
	m->value_bytes = (size_t)(end - m->value);
	return 1;
}

static bool is_key(const struct member *m, const char *key)
{
	return m->key_bytes == strlen(key) && !memcmp(m->key, key, m->key_bytes);
}

/* A string's text between its quotes. */
static bool text_of(const struct member *m, char *out, size_t room)
{
	if (m->value_bytes < 2 || *m->value != '"' || m->value_bytes - 2 >= room)
		return false;
	memcpy(out, m->value + 1, m->value_bytes - 2);
	out[m->value_bytes - 2] = '\0';
	return true;
}

int lv_take_id(const char *object, char *id, size_t id_room, char **rest)
{
	const char *p = blank(object);
	struct member m;
	char *out, *to;
	int r;

	*id = '\0';
	*rest = NULL;
	if (*p++ != '{')
		return -EINVAL;
	/* Never longer than the object: each member comes with its own colon and comma. */
	to = out = malloc(strlen(object) + 3);
	if (!out)
		return -ENOMEM;
	*to++ = '{';
	while ((r = next_member(&p, &m)) > 0) {
		if (is_key(&m, "id")) {
			if (!text_of(&m, id, id_room)) {
				r = -E2BIG;
				break;
			}
			continue;
		}
		to += sprintf(to, "%s\"%.*s\":%.*s", to > out + 1 ? "," : "", (int)m.key_bytes,
			      m.key, (int)m.value_bytes, m.value);
	}
	if (r) {
		free(out);
		return r;
	}
	strcpy(to, "}");
	*rest = out;
	return 0;
}

char *lv_put_id(const char *object, const char *id)
{
	const char *p = blank(object);
	char *out;

	if (*p != '{')
		return NULL;
	p = blank(p + 1);
	if (asprintf(&out, "{\"id\":\"%s\"%s%s", id, *p == '}' ? "" : ",", p) < 0)
		return NULL;
	return out;
}

bool lv_command_name(const char *object, char *out, size_t room)
{
	const char *p = blank(object);
	struct member m;

	if (*p++ != '{')
		return false;
	while (next_member(&p, &m) > 0)
		if (is_key(&m, "execute"))
			return text_of(&m, out, room);
	return false;
}

char *lv_event_text(const char *name, const char *data, long long seconds, unsigned micros)
{
	json_t *j = json_string(name);
	TV_FREE char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
	char *out = NULL;

	json_decref(j);
	if (!quoted ||
	    asprintf(&out,
		     "{\"timestamp\":{\"seconds\":%lld,\"microseconds\":%u},\"event\":%s%s%s}\n",
		     seconds, micros, quoted, data ? ",\"data\":" : "", data ? data : "") < 0)
		return NULL;
	return out;
}

char *lv_refusal(const char *reason)
{
	json_t *j = json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc", reason);
	char *out = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return out;
}
