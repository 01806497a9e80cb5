/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options with paths in them. A relative path was the primary's QEMU's: it becomes absolute,
 * because the standby may run elsewhere. */
#include "hv/standby/rewrite.h"

#include <stdlib.h>
#include <string.h>

/*
 * Firmware and ROMs: QEMU looks a plain name up in its own folders too, so it only becomes a path
 * when the primary was seen to have the file in its working directory.
 */
static char *firmware_path(struct hv_rewrite *rw, const char *name)
{
	char *full = hv_rw_path(rw, name);
	json_t *file, *files = json_object_get(rw->desc, "files");
	size_t i;

	if (!full || strchr(name, '/'))
		return full;
	json_array_foreach(files, i, file)
		if (json_is_string(file) && !strcmp(json_string_value(file), full))
			return full;
	free(full);
	return strdup(name);
}

void hv_rw_put_path(struct hv_rewrite *rw, const char *option, const char *arg)
{
	hv_rw_put(rw, option);
	hv_rw_put_owned(rw, hv_rw_path(rw, arg));
}

void hv_rw_put_firmware(struct hv_rewrite *rw, const char *option, const char *arg)
{
	hv_rw_put(rw, option);
	hv_rw_put_owned(rw, firmware_path(rw, arg));
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end) && (n == m || s[n - m - 1] == '.');
}

static char *value_path(struct hv_rewrite *rw, const char *key, const char *value)
{
	static const char *const keys[] = {"file", "filename", "path", "socket", "keyfile"};

	if (!strcmp(key, "romfile"))
		return firmware_path(rw, value);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (ends_with(key, keys[i]))
			return hv_rw_path(rw, value);
	return NULL;
}

/* -blockdev's JSON nests: {"driver":"qcow2","file":{"driver":"file","filename":...}} */
static void json_paths(struct hv_rewrite *rw, json_t *object, unsigned depth)
{
	const char *key;
	json_t *v;
	void *it;

	for (it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		TV_FREE char *path = NULL;

		key = json_object_iter_key(it);
		v = json_object_iter_value(it);
		if (json_is_object(v) && depth < 16)
			json_paths(rw, v, depth + 1);
		else if (json_is_string(v) && strcmp(key, "file"))
			path = value_path(rw, key, json_string_value(v));
		if (path)
			json_object_iter_set_new(object, it, json_string(path));
	}
}

/* In -blockdev "file=" names another node, in all other options it is a path. */
void hv_rw_put_paths(struct hv_rewrite *rw, const char *option, const char *arg)
{
	bool blockdev = !strcmp(option, "-blockdev");
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, NULL))
		return;
	json_paths(rw, kv.json, 0);
	for (unsigned i = 0; i < kv.n; i++) {
		struct hv_pair *p = &kv.pairs[i];
		char *path = NULL;

		if (p->value && !(blockdev && ends_with(p->key, "file")))
			path = value_path(rw, p->key, p->value);
		if (path) {
			free(p->value);
			p->value = path;
		}
	}
	hv_rw_put_keyval(rw, option, &kv);
	hv_keyval_dispose(&kv);
}
