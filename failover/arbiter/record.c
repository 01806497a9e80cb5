/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records and hosts as JSON. What is read here was written by another host or by anything else:
 * only what the writers below could have written is accepted.
 */
#include "failover/arbiter/record.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define MAX_DEPTH 4
#define MAX_FREE_MIB ((uint64_t)1 << 40)
#define MAX_CPUS 65536

/* jansson recurses once per level: a text of brackets only must not get that far. */
static bool shallow(const char *text, size_t bytes, unsigned max_depth)
{
	bool in_string = false;
	unsigned depth = 0;

	for (size_t i = 0; i < bytes; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > max_depth)
				return false;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return true;
}

json_t *fo_json_load(const char *text, size_t bytes, unsigned max_depth)
{
	return shallow(text, bytes, max_depth)
		       ? json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL)
		       : NULL;
}

/* Names appear in messages and log lines: no control characters. */
static int get_text(const json_t *j, const char *key, char *out, size_t room)
{
	const json_t *v = json_object_get(j, key);
	const char *s = json_string_value(v);

	if (!s || json_string_length(v) >= room)
		return -EBADMSG;
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p))
			return -EBADMSG;
	snprintf(out, room, "%s", s);
	return 0;
}

static int get_number(const json_t *j, const char *key, uint64_t max, uint64_t *out)
{
	const json_t *v = json_object_get(j, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0 ||
	    (uint64_t)json_integer_value(v) > max)
		return -EBADMSG;
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

char *fo_record_text(const struct fo_record *r, const char *claim)
{
	json_t *j =
		json_pack("{sI ss ss ss ss ss*}", "generation", (json_int_t)r->generation, "state",
			  r->state == FO_PAIRED ? "paired" : "alone", "primary", r->primary,
			  "backup", r->backup, "session", r->session, "claim", claim);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}

static int parse_record(const json_t *j, struct fo_record *out, char *claim)
{
	char state[8];

	if (get_number(j, "generation", INT64_MAX, &out->generation) ||
	    get_text(j, "state", state, sizeof(state)) ||
	    get_text(j, "primary", out->primary, sizeof(out->primary)) ||
	    get_text(j, "backup", out->backup, sizeof(out->backup)) ||
	    get_text(j, "session", out->session, sizeof(out->session)))
		return -EBADMSG;
	if (!strcmp(state, "paired"))
		out->state = FO_PAIRED;
	else if (!strcmp(state, "alone"))
		out->state = FO_ALONE;
	else
		return -EBADMSG;
	if (!claim)
		return 0;
	*claim = 0;
	return json_object_get(j, "claim") ? get_text(j, "claim", claim, FO_CLAIM_CHARS + 1) : 0;
}

int fo_record_parse(const char *text, size_t bytes, struct fo_record *out,
		    char claim[FO_CLAIM_CHARS + 1])
{
	json_t *j = fo_json_load(text, bytes, MAX_DEPTH);
	int rc = j ? parse_record(j, out, claim) : -EBADMSG;

	json_decref(j);
	return rc;
}

bool fo_vm_id_ok(const char *vm_id)
{
	return strlen(vm_id) == 32 && strspn(vm_id, "0123456789abcdef") == 32;
}

bool fo_host_name_ok(const char *name)
{
	size_t n = strlen(name);

	return n && n < sizeof(((struct fo_host *)0)->name) && name[0] != '.' &&
	       strspn(name, LETTERS DIGITS "._-") == n;
}

bool fo_host_ok(const struct fo_host *h)
{
	size_t n = strlen(h->address);
	const char *colon = strrchr(h->address, ':');

	return fo_host_name_ok(h->name) && colon && colon > h->address && colon[1] &&
	       strspn(h->address, LETTERS DIGITS "._-:[]%") == n && h->free_mib <= MAX_FREE_MIB &&
	       h->cpus <= MAX_CPUS && h->health >= FO_GREEN && h->health <= FO_RED;
}

char *fo_host_text(const struct fo_host *h, uint64_t beat)
{
	json_t *j = json_pack("{ss ss sI si ss sI}", "name", h->name, "address", h->address,
			      "free_mib", (json_int_t)h->free_mib, "cpus", (int)h->cpus, "health",
			      fo_health_name(h->health), "beat", (json_int_t)beat);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	json_decref(j);
	return text;
}

static int parse_host(const json_t *j, struct fo_host *out, uint64_t *beat)
{
	uint64_t cpus;
	char health[8];

	*out = (struct fo_host){0};
	if (get_text(j, "name", out->name, sizeof(out->name)) ||
	    get_text(j, "address", out->address, sizeof(out->address)) ||
	    get_number(j, "free_mib", MAX_FREE_MIB, &out->free_mib) ||
	    get_number(j, "cpus", MAX_CPUS, &cpus) ||
	    get_text(j, "health", health, sizeof(health)) || get_number(j, "beat", INT64_MAX, beat))
		return -EBADMSG;
	out->cpus = (unsigned)cpus;
	return fo_health_of(health, &out->health) && fo_host_ok(out) ? 0 : -EBADMSG;
}

int fo_host_parse(const char *text, size_t bytes, struct fo_host *out, uint64_t *beat)
{
	json_t *j = fo_json_load(text, bytes, MAX_DEPTH);
	int rc = j ? parse_host(j, out, beat) : -EBADMSG;

	json_decref(j);
	return rc;
}
