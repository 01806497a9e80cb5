/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that are no writable disk of the VM: CDs, firmware, what a manager left open. A peer names
 * them, so QEMU gets them for reading only, whatever the peer's line says, as ordinary files below
 * the folders for that (media.c), by drivers that open nothing else (allow.c).
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16

/* ---- -drive ---- */
/* Of -drive, what is about the device and not about the image. */
bool hv_rw_drive_key(const char *key)
{
	static const char *const whole[] = {
		"id",	    "if",	 "bus",	      "unit",	     "index",  "media",
		"addr",	    "aio",	 "discard",   "werror",	     "rerror", "detect-zeroes",
		"group",    "cyls",	 "heads",     "secs",	     "trans",  "serial",
		"readonly", "read-only", "node-name", "copy-on-read"};
	static const char *const begin[] = {"cache", "iops", "bps", "throttling"};

	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++)
		if (!strcmp(key, whole[i]))
			return true;
	for (size_t i = 0; i < sizeof(begin) / sizeof(*begin); i++)
		if (!strncmp(key, begin[i], strlen(begin[i])))
			return true;
	return false;
}

static bool is_read_only(const struct hv_keyval *kv)
{
	const char *media = hv_keyval_get(kv, "media");

	return hv_keyval_is_on(kv, "readonly") || hv_keyval_is_on(kv, "read-only") ||
	       (media && !strcmp(media, "cdrom"));
}

/* Without a format QEMU would guess one from what the image's owner wrote into it. */
static const char *kind_of(struct hv_rewrite *rw, struct hv_keyval *kv, const char *option)
{
	const char *format = hv_keyval_get(kv, "format");

	if (!format) {
		hv_rw_set(rw, kv, "format", "raw");
		return HV_MEDIA_RAW;
	}
	if (strcmp(format, "raw") && strcmp(format, "qcow2"))
		hv_rw_deny(rw, "use raw or qcow2", "%s with format=%.100s", option, format);
	return HV_MEDIA_IMAGE;
}

static void put_drive(struct hv_rewrite *rw, const char *option, struct hv_keyval *kv)
{
	TV_FREE char *path = NULL;
	const char *file, *kind;

	hv_rw_drive_now(rw, option, kv);
	file = hv_keyval_get(kv, "file");
	for (unsigned i = 0; i < kv->n; i++)
		if (!hv_rw_drive_key(kv->pairs[i].key) && strcmp(kv->pairs[i].key, "file") &&
		    strcmp(kv->pairs[i].key, "format"))
			hv_rw_deny(rw, NULL, "%s with %.100s=", option, kv->pairs[i].key);
	if (file && *file) {
		if (!is_read_only(kv))
			hv_rw_deny(
				rw,
				"make it read-only, or start the VM with the image that it has now",
				"%s %.200s, which is no disk of the VM and not read-only", option,
				file);
		kind = kind_of(rw, kv, option);
		path = hv_rw_media(rw, file, kind);
		hv_keyval_del(kv, "read-only");
		hv_rw_set(rw, kv, "readonly", "on");
		hv_rw_set(rw, kv, "file", path ? path : "");
	}
	hv_rw_put_keyval(rw, "-drive", kv);
}

void hv_rw_media_drive(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, NULL))
		return;
	if (kv.json)
		hv_rw_deny(rw, NULL, "%s in JSON", option);
	put_drive(rw, option, &kv);
	hv_keyval_dispose(&kv);
}

void hv_rw_media_short(struct hv_rewrite *rw, const char *option, const char *arg)
{
	static const struct {
		const char *option, *drive;
	} what[] = {
		{"-cdrom", "index=2,media=cdrom"},
		{"-fda", "if=floppy,index=0,readonly=on"},
		{"-fdb", "if=floppy,index=1,readonly=on"},
		{"-pflash", "if=pflash,readonly=on"},
	};
	struct hv_keyval kv;

	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++) {
		if (strcmp(what[i].option, option) ||
		    !hv_rw_parse(rw, &kv, "drive", what[i].drive, NULL))
			continue;
		hv_rw_set(rw, &kv, "file", arg);
		put_drive(rw, option, &kv);
		hv_keyval_dispose(&kv);
		return;
	}
	hv_rw_deny(rw, NULL, "%s %.200s, which is no disk of the VM", option, arg);
}

/* ---- -blockdev ---- */

/* All drivers' keys together: they nest, "file.file.aio". */
static bool is_node_key(const char *key)
{
	const struct hv_allow *a;
	unsigned n;

	a = hv_allow_table(&n);
	for (unsigned i = 0; i < n; i++)
		if (a[i].kind == HV_ALLOW_BLOCK && hv_allow_word(a[i].keys, key))
			return true;
	return !strcmp(key, "direct") || !strcmp(key, "no-flush");
}

/* One value of a node; what it becomes, or NULL: it stays. The caller frees it. */
static char *node_value(struct hv_rewrite *rw, const char *option, const char *key,
			const char *value)
{
	if (!is_node_key(key))
		hv_rw_deny(rw, NULL, "%s with %.100s=", option, key);
	else if (!strcmp(key, "driver") && (!value || !hv_allow(HV_ALLOW_BLOCK, value)))
		hv_rw_deny(rw, "use a file of format raw or qcow2", "%s with driver=%.100s", option,
			   value ? value : "?");
	else if (!strcmp(key, "filename"))
		return hv_rw_media(rw, value ? value : "", HV_MEDIA_IMAGE);
	return NULL;
}

/* Writing is what only the outermost node is asked about; inner ones do as it does. */
static void node_json(struct hv_rewrite *rw, const char *option, json_t *o, unsigned depth)
{
	const char *key;
	json_t *v;
	void *it;

	if (depth == MAX_DEPTH)
		hv_rw_deny(rw, NULL, "%s with more than %d nested nodes", option, MAX_DEPTH);
	if (depth)
		json_object_del(o, "read-only");
	for (it = json_object_iter(o); it && !rw->rc; it = json_object_iter_next(o, it)) {
		TV_FREE char *path = NULL;

		key = json_object_iter_key(it);
		v = json_object_iter_value(it);
		if (strchr(key, '.'))
			hv_rw_deny(rw, NULL, "%s with %.100s", option, key);
		path = node_value(rw, option, key, json_string_value(v));
		if (path)
			json_object_iter_set_new(o, it, json_string(path));
		if (json_is_object(v))
			node_json(rw, option, v, depth + 1);
	}
}

static const char *last_part(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? dot + 1 : key;
}

static bool is_all_allowed(struct hv_rewrite *rw, const char *option, const char *key)
{
	for (const char *p = key; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL)
		if (!is_node_key(p))
			hv_rw_deny(rw, NULL, "%s with %.100s=", option, key);
	return !rw->rc;
}

static void node_pairs(struct hv_rewrite *rw, const char *option, struct hv_keyval *kv)
{
	for (unsigned i = 0; i < kv->n && !rw->rc; i++) {
		struct hv_pair *p = &kv->pairs[i];
		char *path;

		if (!is_all_allowed(rw, option, p->key))
			return;
		path = node_value(rw, option, last_part(p->key), p->value);
		if (strcmp(last_part(p->key), p->key) && !strcmp(last_part(p->key), "read-only"))
			path = strdup("on");
		if (path) {
			free(p->value);
			p->value = path;
		}
	}
}

void hv_rw_media_node(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "driver"))
		return;
	if (!hv_keyval_get(&kv, "driver"))
		hv_rw_deny(rw, NULL, "%s %.200s without a driver", option, arg);
	node_json(rw, option, kv.json, 0);
	node_pairs(rw, option, &kv);
	if (!rw->rc && !hv_keyval_is_on(&kv, "read-only") &&
	    hv_keyval_switch(&kv, "read-only", true))
		hv_rw_fail(rw, -ENOMEM, "no memory for the standby's command line");
	hv_rw_put_keyval(rw, option, &kv);
	hv_keyval_dispose(&kv);
}
