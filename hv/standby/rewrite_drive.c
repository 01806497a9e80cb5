/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives whose medium can be changed: what counts is what is in them now (desc["drives"]), not what
 * the command line put there. Three ways in which a drive meets its medium:
 *
 *   -drive id=D,file=X (also -cdrom, -fda): the file is replaced, or left out of an empty one;
 *   -device ide-cd,drive=NODE with -blockdev NODE: as it is, if that node is in the drive; else a
 *     new node goes there, or none, and the old node and what lies below it stay behind;
 *   no option at all, QEMU's own default drives: an option is added where a medium is in one.
 */
#include "hv/standby/rewrite.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEDIUM_NODE "tv-medium" /* not HV_PREFIX: it stays in the VM */

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_t *drives_of(struct hv_rewrite *rw)
{
	return json_object_get(rw->desc, "drives");
}

/* A drive is met once, by one option. */
static json_t *claim(struct hv_rewrite *rw, size_t i)
{
	if (i >= HV_MAX_DRIVES || rw->drive_found[i])
		return NULL;
	rw->drive_found[i] = true;
	return json_array_get(drives_of(rw), i);
}

static json_t *by_device(struct hv_rewrite *rw, const char *name)
{
	json_t *d;
	size_t i;

	json_array_foreach(drives_of(rw), i, d)
		if (*name && !strcmp(text_of(d, "device"), name))
			return claim(rw, i);
	return NULL;
}

/* ---- -drive ---- */

/* "ide1-cd0", "floppy0", "scsi0-cd2": names that QEMU makes itself. */
static bool is_made_up(const char *name)
{
	size_t letters = strcspn(name, "0123456789");
	const char *p = name + letters;

	if (!letters || !isdigit((unsigned char)*p))
		return false;
	p += strspn(p, "0123456789");
	if (!strncmp(p, "-cd", 3) && isdigit((unsigned char)p[3]))
		p += 3 + strspn(p + 3, "0123456789");
	return !*p;
}

/* As QEMU names the drive of an option without an id; q35 has one drive on each bus. */
static json_t *by_place(struct hv_rewrite *rw, const struct hv_keyval *kv)
{
	const char *kind = hv_keyval_get(kv, "if"), *index = hv_keyval_get(kv, "index");
	const char *bus = hv_keyval_get(kv, "bus"), *unit = hv_keyval_get(kv, "unit");
	unsigned long n = index ? strtoul(index, NULL, 10) : 0;
	bool floppy = kind && !strcmp(kind, "floppy");
	char name[64];
	json_t *d;

	if (floppy) {
		snprintf(name, sizeof(name), "floppy%lu", n);
		return by_device(rw, name);
	}
	kind = kind ? kind : "ide";
	if (bus || unit) {
		snprintf(name, sizeof(name), "%.8s%lu-cd%lu", kind,
			 bus ? strtoul(bus, NULL, 10) : 0, unit ? strtoul(unit, NULL, 10) : 0);
		return by_device(rw, name);
	}
	if (!index)
		return NULL;
	snprintf(name, sizeof(name), "%.8s%lu-cd%lu", kind, n / 2, n % 2);
	d = by_device(rw, name);
	if (d)
		return d;
	snprintf(name, sizeof(name), "%.8s%lu-cd0", kind, n);
	return by_device(rw, name);
}

/* The only drive with a name of QEMU's own that is not met yet. */
static json_t *only_one(struct hv_rewrite *rw)
{
	size_t i, found = 0, n = 0;
	json_t *d;

	json_array_foreach(drives_of(rw), i, d) {
		if (i >= HV_MAX_DRIVES || rw->drive_found[i] ||
		    !strstr(text_of(d, "device"), "-cd") || !is_made_up(text_of(d, "device")))
			continue;
		found = i;
		n++;
	}
	return n == 1 ? claim(rw, found) : NULL;
}

static bool has_media_cdrom(const struct hv_keyval *kv)
{
	const char *media = hv_keyval_get(kv, "media");

	return media && !strcmp(media, "cdrom");
}

void hv_rw_drive_now(struct hv_rewrite *rw, const char *option, struct hv_keyval *kv)
{
	const char *id = hv_keyval_get(kv, "id");
	json_t *d = id ? by_device(rw, id) : by_place(rw, kv);
	bool cd = has_media_cdrom(kv);

	if (!drives_of(rw) || rw->rc)
		return;
	if (!d && !id && cd)
		d = only_one(rw);
	if (!d && !id && cd)
		hv_rw_deny(rw, "start the VM with an id for each drive",
			   "%s with media=cdrom, of several drives", option);
	if (!d)
		return;
	if (!*text_of(d, "file")) {
		hv_keyval_del(kv, "file");
		hv_keyval_del(kv, "format");
		return;
	}
	hv_rw_set(rw, kv, "file", text_of(d, "file"));
	hv_rw_set(rw, kv, "readonly", "on");
	/* Without one it is checked that the image is what QEMU took it for: raw. */
	if (hv_keyval_get(kv, "format") || strcmp(text_of(d, "format"), "raw"))
		hv_rw_set(rw, kv, "format", text_of(d, "format"));
}

/* ---- -device ---- */

/* By its id, or its number among the devices that have none. */
static json_t *by_qdev(struct hv_rewrite *rw, const char *id, unsigned nameless, size_t *at)
{
	char path[160];
	json_t *d;
	size_t i;

	if (id)
		snprintf(path, sizeof(path), "/machine/peripheral/%.100s", id);
	else
		snprintf(path, sizeof(path), "/machine/peripheral-anon/device[%u]", nameless);
	json_array_foreach(drives_of(rw), i, d) {
		const char *qdev = text_of(d, "qdev");
		size_t n = strlen(path);

		if ((id && !strcmp(qdev, id)) ||
		    (!strncmp(qdev, path, n) && (!qdev[n] || qdev[n] == '/'))) {
			*at = i;
			return d;
		}
	}
	return NULL;
}

static void put_node(struct hv_rewrite *rw, const char *name, json_t *d)
{
	TV_FREE char *path = hv_rw_media(rw, text_of(d, "file"), HV_MEDIA_IMAGE), *text = NULL;
	const char *format = text_of(d, "format");
	json_t *o;

	if (strcmp(format, "raw") && strcmp(format, "qcow2"))
		hv_rw_deny(rw, "use raw or qcow2", "a medium of format %.60s", format);
	o = json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "driver", format, "node-name", name,
		      "read-only", 1, "file", "driver", "file", "filename", path ? path : "");
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	hv_rw_put(rw, "-blockdev");
	hv_rw_putf(rw, "%s", text ? text : "");
}

/* The node that a device was given, which may be gone; NULL: none, or the id of a -drive. */
static const char *node_of_device(struct hv_rewrite *rw, const struct hv_keyval *kv)
{
	const char *drive = hv_keyval_get(kv, "drive");
	json_t *argv = json_object_get(rw->desc, "argv");

	for (size_t i = 1; drive && i + 1 < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		const char *arg = json_string_value(json_array_get(argv, i + 1));
		char id[64];

		if (word && arg && hv_arg_is(word, "drive") &&
		    hv_opt_get(arg, NULL, "id", id, sizeof(id)) && !strcmp(id, drive))
			return NULL;
	}
	return drive;
}

static bool is_unchanged(json_t *d, const char *node)
{
	return node ? !strcmp(text_of(d, "node"), node) : !*text_of(d, "file");
}

void hv_rw_device_now(struct hv_rewrite *rw, struct hv_keyval *kv)
{
	const char *id = hv_keyval_get(kv, "id"), *node = node_of_device(rw, kv);
	unsigned nameless = rw->n_nameless;
	char name[64];
	size_t at;
	json_t *d;

	rw->n_nameless += !id;
	d = by_qdev(rw, id, nameless, &at);
	if (!d || (!node && hv_keyval_get(kv, "drive")) || !claim(rw, at) || is_unchanged(d, node))
		return;
	if (!*text_of(d, "file")) {
		hv_keyval_del(kv, "drive");
		return;
	}
	snprintf(name, sizeof(name), MEDIUM_NODE "%zu", at);
	put_node(rw, name, d);
	hv_rw_set(rw, kv, "drive", name);
}

/* ---- what stays behind, and what is missing ---- */

bool hv_rw_is_old_medium(struct hv_rewrite *rw, const char *node)
{
	json_t *argv = json_object_get(rw->desc, "argv");
	unsigned nameless = 0;

	for (size_t i = 1; drives_of(rw) && i + 1 < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		const char *arg = json_string_value(json_array_get(argv, i + 1));
		char drive[64], id[96];
		bool has_id;
		json_t *d;
		size_t at;

		if (!word || !arg || !hv_arg_is(word, "device"))
			continue;
		has_id = hv_opt_get(arg, "driver", "id", id, sizeof(id));
		d = by_qdev(rw, has_id ? id : NULL, nameless, &at);
		nameless += !has_id;
		if (d && hv_opt_get(arg, "driver", "drive", drive, sizeof(drive)) &&
		    !strcmp(drive, node))
			return !is_unchanged(d, node);
	}
	return false;
}

/* QEMU's own drives: without -nodefaults a machine has one for CDs, and some have one for floppies. */
static void put_default(struct hv_rewrite *rw, json_t *d)
{
	const char *name = text_of(d, "device");
	TV_FREE char *path = NULL, *escaped = NULL;
	const char *where = NULL;

	if (!strcmp(name, "ide1-cd0") || !strcmp(name, "ide2-cd0"))
		where = "index=2,media=cdrom";
	else if (!strcmp(name, "floppy0"))
		where = "if=floppy,index=0";
	if (!where) {
		hv_rw_fail(rw, TV_E_REFUSED,
			   "the standby has no drive %.100s for the medium %.200s; eject it, or "
			   "start the VM with it",
			   *name ? name : text_of(d, "qdev"), text_of(d, "file"));
		return;
	}
	path = hv_rw_media(rw, text_of(d, "file"), HV_MEDIA_IMAGE);
	escaped = path ? hv_keyval_escape(path) : NULL;
	if (strcmp(text_of(d, "format"), "raw") && strcmp(text_of(d, "format"), "qcow2"))
		hv_rw_deny(rw, "use raw or qcow2", "a medium of format %.60s",
			   text_of(d, "format"));
	hv_rw_put(rw, "-drive");
	hv_rw_putf(rw, "%s,readonly=on,format=%s,file=%s", where, text_of(d, "format"),
		   escaped ? escaped : "");
}

void hv_rw_drives_finish(struct hv_rewrite *rw)
{
	json_t *d;
	size_t i;

	json_array_foreach(drives_of(rw), i, d)
		if (!rw->rc && *text_of(d, "file") && (i >= HV_MAX_DRIVES || !rw->drive_found[i]))
			put_default(rw, d);
}
