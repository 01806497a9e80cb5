/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What another host says it knows: is it of the shape that pages and programs of this host may get? */
#include "replicator/watch/watch.h"

#include <string.h>

#define MAX_DEPTH 8
#define MAX_KEYS 128
#define MAX_KEY_BYTES 48
#define MAX_TEXT_BYTES 1024
#define MAX_OUTPUT_BYTES 8192
#define MAX_ENTRIES 1024
#define ID_BYTES 32

/* outputs: what programs have printed is among it. */
static const char *tree_fault(const json_t *v, unsigned depth, bool outputs);

static bool is_key(const char *k)
{
	size_t n = strlen(k);

	return n && n <= MAX_KEY_BYTES && strspn(k, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

/* No control characters, those of Unicode's second block neither. */
static bool is_text(const char *t)
{
	for (const unsigned char *p = (const unsigned char *)t; *p; p++)
		if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
			return false;
	return strlen(t) <= MAX_TEXT_BYTES;
}

static bool is_output(const char *key, const json_t *v)
{
	return !strcmp(key, "output") && json_is_string(v) &&
	       json_string_length(v) <= MAX_OUTPUT_BYTES;
}

static const char *object_fault(const json_t *v, unsigned depth, bool outputs)
{
	const char *key, *fault;
	json_t *member;

	if (json_object_size(v) > MAX_KEYS)
		return "an object has too many fields";
	json_object_foreach((json_t *)v, key, member) {
		if (!is_key(key))
			return "a field's name is invalid";
		if (outputs && is_output(key, member))
			continue;
		fault = tree_fault(member, depth, outputs);
		if (fault)
			return fault;
	}
	return NULL;
}

static const char *array_fault(const json_t *v, unsigned depth, bool outputs)
{
	const char *fault;
	json_t *entry;
	size_t i;

	if (json_array_size(v) > MAX_ENTRIES)
		return "an array is too long";
	json_array_foreach(v, i, entry) {
		fault = tree_fault(entry, depth, outputs);
		if (fault)
			return fault;
	}
	return NULL;
}

/* NULL: none. The depth is limited, so the recursion is. */
static const char *tree_fault(const json_t *v, unsigned depth, bool outputs)
{
	if (json_is_string(v))
		return is_text(json_string_value(v)) ? NULL : "a text is too long or is not plain";
	if (!json_is_object(v) && !json_is_array(v))
		return NULL;
	if (depth == MAX_DEPTH)
		return "it is nested too deeply";
	return json_is_object(v) ? object_fault(v, depth + 1, outputs)
				 : array_fault(v, depth + 1, outputs);
}

static bool is_vm(const json_t *vm)
{
	const char *id = json_string_value(json_object_get(vm, "id"));
	const char *name = json_string_value(json_object_get(vm, "name"));

	return id && strlen(id) == ID_BYTES && strspn(id, "0123456789abcdef") == ID_BYTES && name &&
	       name[0] && strlen(name) < 128;
}

static const char *view_fault(const char *name, const json_t *v)
{
	const char *host = json_string_value(json_object_get(v, "host"));
	json_t *vms = json_object_get(v, "vms"), *vm;
	size_t i;

	if (!host || strcmp(host, name) != 0)
		return "it is another host's";
	if (!json_is_integer(json_object_get(v, "time_ms")))
		return "it has no time";
	if (!json_is_array(vms) || json_array_size(vms) > WATCH_MAX_VMS)
		return "it has no list of VMs";
	json_array_foreach(vms, i, vm)
		if (!is_vm(vm))
			return "a VM has no id or no name";
	return NULL;
}

int watch_check(const char *name, const void *p, size_t n, json_t **out, struct tv_err *e)
{
	json_t *v = n <= WATCH_MAX_BYTES ? json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *fault = json_is_object(v) ? tree_fault(v, 0, false) : "it is no JSON object";

	*out = NULL;
	if (n > WATCH_MAX_BYTES)
		fault = "it is too long";
	if (!fault)
		fault = view_fault(name, v);
	if (fault) {
		json_decref(v);
		return tv_fail(e, TV_E_PROTOCOL, "what %s says it knows cannot be used: %s", name,
			       fault);
	}
	*out = v;
	return 0;
}

int watch_check_reply(const char *name, const void *p, size_t n, json_t **out, struct tv_err *e)
{
	json_t *v = NULL;
	const char *fault = "it is too long";

	*out = NULL;
	if (n <= WATCH_MAX_REPLY_BYTES) {
		v = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);
		fault = json_is_object(v) ? tree_fault(v, 0, true) : "it is no JSON object";
	}
	if (fault) {
		json_decref(v);
		return tv_fail(e, TV_E_PROTOCOL, "what %s answers cannot be used: %s", name, fault);
	}
	*out = v;
	return 0;
}
