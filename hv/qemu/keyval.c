/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/qemu/keyval.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_pair(struct hv_keyval *kv, const char *key, size_t key_bytes, const char *value)
{
	struct hv_pair *p = realloc(kv->pairs, (kv->n + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	kv->pairs = p;
	p += kv->n;
	p->key = strndup(key, key_bytes);
	p->value = value ? strdup(value) : NULL;
	p->bare = false;
	if (!p->key || (value && !p->value)) {
		free(p->key);
		free(p->value);
		return -ENOMEM;
	}
	kv->n++;
	return 0;
}

static int add_bare(struct hv_keyval *kv, const char *implied, const char *value)
{
	int rc = add_pair(kv, implied, strlen(implied), value);

	if (!rc)
		kv->pairs[0].bare = true;
	return rc;
}

/* Takes one part, up to a comma that is not doubled; returns what follows, NULL at the end. */
static const char *next_part(const char *p, char *part)
{
	for (; *p; p++) {
		if (*p == ',') {
			if (p[1] != ',')
				break;
			p++;
		}
		*part++ = *p;
	}
	*part = '\0';
	return *p ? p + 1 : NULL;
}

static int parse_parts(struct hv_keyval *kv, const char *arg, const char *implied)
{
	TV_FREE char *part = malloc(strlen(arg) + 1);
	const char *p = arg;
	bool first = true;
	int rc = 0;

	if (!part)
		return -ENOMEM;
	while (p && !rc) {
		const char *eq;

		p = next_part(p, part);
		eq = strchr(part, '=');
		if (eq)
			rc = add_pair(kv, part, (size_t)(eq - part), eq + 1);
		else if (first && implied)
			rc = add_bare(kv, implied, part);
		else if (*part)
			rc = add_pair(kv, part, strlen(part), NULL);
		first = false;
	}
	return rc;
}

int hv_keyval_parse(struct hv_keyval *kv, const char *arg, const char *implied)
{
	int rc;

	*kv = (struct hv_keyval){0};
	if (*arg == '{') {
		kv->json = json_loads(arg, JSON_REJECT_DUPLICATES, NULL);
		return kv->json ? 0 : -EINVAL;
	}
	rc = parse_parts(kv, arg, implied);
	if (rc)
		hv_keyval_dispose(kv);
	return rc;
}

void hv_keyval_dispose(struct hv_keyval *kv)
{
	for (unsigned i = 0; i < kv->n; i++) {
		free(kv->pairs[i].key);
		free(kv->pairs[i].value);
	}
	free(kv->pairs);
	json_decref(kv->json);
	*kv = (struct hv_keyval){0};
}

const char *hv_keyval_get(const struct hv_keyval *kv, const char *key)
{
	json_t *v = json_object_get(kv->json, key);

	if (json_is_boolean(v))
		return json_is_true(v) ? "on" : "off";
	if (v)
		return json_is_string(v) ? json_string_value(v) : "";
	for (unsigned i = kv->n; i-- > 0;)
		if (!strcmp(kv->pairs[i].key, key))
			return kv->pairs[i].value ? kv->pairs[i].value : "";
	return NULL;
}

unsigned long hv_keyval_number(const struct hv_keyval *kv, const char *key, unsigned long none)
{
	json_t *v = json_object_get(kv->json, key);
	const char *text = hv_keyval_get(kv, key);
	char *end;
	unsigned long n;

	if (json_is_integer(v))
		return json_integer_value(v) < 0 ? none : (unsigned long)json_integer_value(v);
	if (!text || *text < '0' || *text > '9')
		return none;
	n = strtoul(text, &end, 10);
	return *end ? none : n;
}

bool hv_keyval_is_on(const struct hv_keyval *kv, const char *key)
{
	const char *v = hv_keyval_get(kv, key);

	return v && (!*v || !strcmp(v, "on") || !strcmp(v, "yes") || !strcmp(v, "true") ||
		     !strcmp(v, "y"));
}

static bool is_no(const struct hv_pair *p, const char *key)
{
	return !p->value && !strncmp(p->key, "no", 2) && !strcmp(p->key + 2, key);
}

void hv_keyval_del(struct hv_keyval *kv, const char *key)
{
	unsigned n = 0;

	if (kv->json)
		json_object_del(kv->json, key);
	for (unsigned i = 0; i < kv->n; i++) {
		struct hv_pair *p = &kv->pairs[i];

		if (!strcmp(p->key, key) || is_no(p, key)) {
			free(p->key);
			free(p->value);
		} else {
			kv->pairs[n++] = *p;
		}
	}
	kv->n = n;
}

static int set_json(struct hv_keyval *kv, const char *key, json_t *v)
{
	return json_object_set_new(kv->json, key, v) ? -ENOMEM : 0;
}

int hv_keyval_set(struct hv_keyval *kv, const char *key, const char *value)
{
	if (kv->json)
		return set_json(kv, key, json_string(value));
	hv_keyval_del(kv, key);
	return add_pair(kv, key, strlen(key), value);
}

int hv_keyval_switch(struct hv_keyval *kv, const char *key, bool on)
{
	return kv->json ? set_json(kv, key, json_boolean(on))
			: hv_keyval_set(kv, key, on ? "on" : "off");
}

static char *append_escaped(char *to, const char *s)
{
	for (; *s; s++) {
		if (*s == ',')
			*to++ = ',';
		*to++ = *s;
	}
	return to;
}

char *hv_keyval_escape(const char *value)
{
	char *out = malloc(2 * strlen(value) + 1);

	if (out)
		*append_escaped(out, value) = '\0';
	return out;
}

char *hv_keyval_print(const struct hv_keyval *kv)
{
	size_t bytes = 1;
	char *out, *p;

	if (kv->json)
		return json_dumps(kv->json, JSON_COMPACT);
	for (unsigned i = 0; i < kv->n; i++)
		bytes += 2 * strlen(kv->pairs[i].key) + 2 +
			 (kv->pairs[i].value ? 2 * strlen(kv->pairs[i].value) : 0);
	out = p = malloc(bytes);
	if (!out)
		return NULL;
	for (unsigned i = 0; i < kv->n; i++) {
		if (i)
			*p++ = ',';
		if (i || !kv->pairs[i].bare)
			p = append_escaped(p, kv->pairs[i].key);
		if (kv->pairs[i].value) {
			if (i || !kv->pairs[i].bare)
				*p++ = '=';
			p = append_escaped(p, kv->pairs[i].value);
		}
	}
	*p = '\0';
	return out;
}
