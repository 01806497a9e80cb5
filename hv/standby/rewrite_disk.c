/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks on the standby's command line: each writable disk of the primary becomes a replica,
 * a raw image, behind the same device. Which option makes which disk is decided by names first (id,
 * node-name), else by the image's path. The primary's image, its format and what lies below it
 * (qcow2, backing files, throttle nodes) stay behind: the replica has the contents as the guest
 * sees them.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 128
#define MAX_REFS 8

static const char *text_of(json_t *disk, const char *key)
{
	const char *s = json_string_value(json_object_get(disk, key));

	return s ? s : "";
}

static bool same_path(struct hv_rewrite *rw, const char *a, const char *b)
{
	TV_FREE char *x = hv_rw_path(rw, a), *y = hv_rw_path(rw, b);

	return *a && x && y && !strcmp(x, y);
}

/* The replica of the disk that is meant, or NULL: not one of the writable disks. */
static const char *replica_of(struct hv_rewrite *rw, const char *id, const char *node,
			      const char *file)
{
	json_t *d;
	size_t i;

	json_array_foreach(json_object_get(rw->desc, "disks"), i, d) {
		bool found;

		if (i >= rw->conf->n_replicas || i >= HV_MAX_DISKS)
			break;
		if (node)
			found = !strcmp(text_of(d, "node"), node);
		else if (id)
			found = !strcmp(text_of(d, "device"), id);
		else
			found = file && same_path(rw, text_of(d, "file"), file);
		if (!found)
			continue;
		if (rw->disk_found[i])
			hv_rw_fail(rw, TV_E_REFUSED, "disk %s is on the command line twice",
				   text_of(d, "name"));
		rw->disk_found[i] = true;
		return rw->conf->replicas[i];
	}
	return NULL;
}

/* The descriptor of a clone's base for that image. */
static int base_of(const struct hv_rewrite *rw, const char *image)
{
	unsigned i = 0;

	while (i < rw->conf->n_replicas && rw->conf->replicas[i] != image)
		i++;
	return HV_HOST_FD_BASES + (int)i;
}

/* An image that is written, over a base that only can be read. */
static void put_over_base(struct hv_rewrite *rw, struct hv_keyval *kv, const char *image)
{
	char fd[16];

	snprintf(fd, sizeof(fd), "%d", base_of(rw, image));
	hv_rw_set(rw, kv, "format", "qcow2");
	hv_rw_set(rw, kv, "backing.driver", "nbd");
	hv_rw_set(rw, kv, "backing.server.type", "fd");
	hv_rw_set(rw, kv, "backing.server.str", fd);
}

static void put_raw_drive(struct hv_rewrite *rw, const struct hv_keyval *from, const char *image)
{
	struct hv_keyval kv = {0};

	for (unsigned i = 0; from && i < from->n; i++)
		if (hv_rw_drive_key(from->pairs[i].key))
			hv_rw_set(rw, &kv, from->pairs[i].key,
				  from->pairs[i].value ? from->pairs[i].value : "on");
	hv_rw_set(rw, &kv, "file", image);
	if (rw->conf->clone)
		put_over_base(rw, &kv, image);
	else
		hv_rw_set(rw, &kv, "format", "raw");
	/* One that cannot be written is found when the standby starts, not at its promotion. */
	hv_rw_set(rw, &kv, "auto-read-only", "off");
	hv_rw_put_keyval(rw, "-drive", &kv);
	hv_keyval_dispose(&kv);
}

/* True when the option was dealt with: it was a writable disk's, or rw has failed. */
static bool replace_drive(struct hv_rewrite *rw, const char *arg)
{
	struct hv_keyval kv;
	const char *file, *image;

	if (!hv_rw_parse(rw, &kv, "drive", arg, NULL))
		return true;
	file = hv_keyval_get(&kv, "file");
	if (!file)
		file = hv_keyval_get(&kv, "file.filename");
	image = replica_of(rw, hv_keyval_get(&kv, "id"), NULL, file);
	if (image && hv_keyval_is_on(&kv, "snapshot"))
		hv_rw_fail(rw, TV_E_REFUSED,
			   "a drive with snapshot=on keeps its writes in a nameless file; start "
			   "the VM without");
	if (image)
		put_raw_drive(rw, &kv, image);
	hv_keyval_dispose(&kv);
	return image != NULL || rw->rc;
}

/* -hda and its like, as QEMU itself spells them out. */
bool hv_rw_disk_short(struct hv_rewrite *rw, const char *option, const char *file)
{
	static const struct {
		const char *option, *drive;
	} what[] = {
		{"-hda", "index=0,media=disk"}, {"-hdb", "index=1,media=disk"},
		{"-hdc", "index=2,media=disk"}, {"-hdd", "index=3,media=disk"},
		{"-fda", "if=floppy,index=0"},	{"-fdb", "if=floppy,index=1"},
		{"-sd", "if=sd,index=0"},	{"-pflash", "if=pflash"},
		{"-mtdblock", "if=mtd"},
	};
	const char *image = replica_of(rw, NULL, NULL, file);
	struct hv_keyval kv;

	for (size_t i = 0; image && i < sizeof(what) / sizeof(*what); i++) {
		if (strcmp(what[i].option, option))
			continue;
		if (hv_rw_parse(rw, &kv, "drive", what[i].drive, NULL)) {
			put_raw_drive(rw, &kv, image);
			hv_keyval_dispose(&kv);
		}
		return true;
	}
	return rw->rc;
}

/* ---- -blockdev: nodes that name each other ---- */
struct node {
	char name[64];
	char refs[MAX_REFS][64];
	unsigned n_refs;
	bool disk, doomed, needed; /* disk: or a medium that was taken out */
};
struct nodes {
	unsigned n;
	struct node node[MAX_NODES];
};

static void add_ref(struct node *n, const char *key, const char *value)
{
	static const char *const links[] = {"file", "backing", "data-file"};
	const char *last = strrchr(key, '.');

	last = last ? last + 1 : key;
	for (size_t i = 0; value && i < sizeof(links) / sizeof(*links); i++)
		if (!strcmp(last, links[i]) && n->n_refs < MAX_REFS)
			snprintf(n->refs[n->n_refs++], sizeof(n->refs[0]), "%.63s", value);
}

static void json_refs(struct node *n, json_t *o, unsigned depth)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v) {
		if (json_is_object(v) && depth < 16)
			json_refs(n, v, depth + 1);
		else
			add_ref(n, key, json_string_value(v));
	}
}

static bool is_disk_node(struct hv_rewrite *rw, const char *name)
{
	json_t *d;
	size_t i;

	json_array_foreach(json_object_get(rw->desc, "disks"), i, d)
		if (!strcmp(text_of(d, "node"), name))
			return true;
	return false;
}

static void collect(struct hv_rewrite *rw, struct nodes *all)
{
	json_t *argv = json_object_get(rw->desc, "argv");

	for (size_t i = 1; i + 1 < json_array_size(argv) && all->n < MAX_NODES; i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		const char *arg = json_string_value(json_array_get(argv, i + 1));
		struct node *n = &all->node[all->n];
		struct hv_keyval kv;

		if (!word || !arg || !hv_arg_is(word, "blockdev") ||
		    hv_keyval_parse(&kv, arg, NULL))
			continue;
		snprintf(n->name, sizeof(n->name), "%.63s",
			 hv_keyval_get(&kv, "node-name") ? hv_keyval_get(&kv, "node-name") : "");
		json_refs(n, kv.json, 0);
		for (unsigned k = 0; k < kv.n; k++)
			add_ref(n, kv.pairs[k].key, kv.pairs[k].value);
		n->disk = is_disk_node(rw, n->name) || hv_rw_is_old_medium(rw, n->name);
		all->n++;
		hv_keyval_dispose(&kv);
	}
}

static void mark(struct nodes *all, const struct node *from, bool doom)
{
	for (unsigned r = 0; r < from->n_refs; r++)
		for (unsigned i = 0; i < all->n; i++) {
			struct node *n = &all->node[i];
			bool *flag = doom ? &n->doomed : &n->needed;

			if (*flag || n == from || strcmp(n->name, from->refs[r]))
				continue;
			*flag = true;
			mark(all, n, doom);
		}
}

/* Only there for the sake of a disk that the standby has as a replica? */
static bool is_left_behind(struct hv_rewrite *rw, const char *name)
{
	struct nodes *all = calloc(1, sizeof(*all));
	bool left = false;

	if (!all) {
		hv_rw_fail(rw, -ENOMEM, "no memory for the standby's command line");
		return false;
	}
	collect(rw, all);
	for (unsigned i = 0; i < all->n; i++)
		if (all->node[i].disk)
			mark(all, &all->node[i], true);
	for (unsigned i = 0; i < all->n; i++)
		if (!all->node[i].disk && !all->node[i].doomed)
			mark(all, &all->node[i], false);
	for (unsigned i = 0; i < all->n; i++)
		if (*name && !strcmp(all->node[i].name, name))
			left = all->node[i].doomed && !all->node[i].needed && !all->node[i].disk;
	free(all);
	return left;
}

/* A key as the primary has it: text stays text ("detect-zeroes": "on" is no switch), but for what
 * QEMU's list form can only spell as text. */
static void keep_key(json_t *o, const struct hv_keyval *from, const char *key, bool is_switch)
{
	json_t *v = json_object_get(from->json, key);
	const char *text = hv_keyval_get(from, key);

	if (json_is_string(v) || json_is_boolean(v))
		json_object_set(o, key, v);
	else if (text)
		json_object_set_new(o, key,
				    is_switch ? json_boolean(hv_keyval_is_on(from, key))
					      : json_string(text));
}

static void put_raw_node(struct hv_rewrite *rw, const struct hv_keyval *from, const char *name,
			 const char *image)
{
	json_t *o = json_pack("{s:s, s:s, s:{s:s, s:s}}", "driver", "raw", "node-name", name,
			      "file", "driver", "file", "filename", image);
	TV_FREE char *text = NULL;

	if (rw->conf->clone) {
		char fd[16];

		snprintf(fd, sizeof(fd), "%d", base_of(rw, image));
		json_object_set_new(o, "driver", json_string("qcow2"));
		json_object_set_new(o, "backing",
				    json_pack("{s:s, s:{s:s, s:s}}", "driver", "nbd", "server",
					      "type", "fd", "str", fd));
	}
	/* Not auto-read-only: an image that cannot be written is found at the start. */
	keep_key(o, from, "discard", false);
	keep_key(o, from, "detect-zeroes", false);
	keep_key(o, from, "read-only", true);
	/* Holes in the replica are made where the primary would make them in its image. */
	keep_key(json_object_get(o, "file"), from, "discard", false);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	hv_rw_put(rw, "-blockdev");
	hv_rw_putf(rw, "%s", text ? text : "");
}

/* The same for -blockdev; true also for a node that only a replaced disk needed. */
static bool replace_blockdev(struct hv_rewrite *rw, const char *arg)
{
	const char *name, *image = NULL;
	struct hv_keyval kv;
	bool gone;

	if (!json_array_size(json_object_get(rw->desc, "disks")) &&
	    !json_array_size(json_object_get(rw->desc, "drives")))
		return false;
	if (!hv_rw_parse(rw, &kv, "blockdev", arg, NULL))
		return true;
	name = hv_keyval_get(&kv, "node-name");
	if (name)
		image = replica_of(rw, NULL, name, NULL);
	gone = !image && name && (hv_rw_is_old_medium(rw, name) || is_left_behind(rw, name));
	if (image)
		put_raw_node(rw, &kv, name, image);
	hv_keyval_dispose(&kv);
	return image || gone || rw->rc;
}

/* ---- the options: replicas where there are any, else media (rewrite_media.c) ---- */
void hv_rw_drive(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!replace_drive(rw, arg))
		hv_rw_media_drive(rw, option, arg);
}

void hv_rw_blockdev(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!replace_blockdev(rw, arg))
		hv_rw_media_node(rw, option, arg);
}

void hv_rw_medium(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!hv_rw_disk_short(rw, option, arg))
		hv_rw_media_short(rw, option, arg);
}

void hv_rw_disks_init(struct hv_rewrite *rw)
{
	size_t n = json_array_size(json_object_get(rw->desc, "disks"));

	if (n > HV_MAX_DISKS || n > rw->conf->n_replicas)
		hv_rw_fail(rw, -EINVAL, "the VM has more disks than there are replicas");
}

void hv_rw_disks_finish(struct hv_rewrite *rw)
{
	json_t *d, *disks = json_object_get(rw->desc, "disks");
	size_t i;

	json_array_foreach(disks, i, d)
		if (i < HV_MAX_DISKS && !rw->disk_found[i])
			hv_rw_fail(rw, TV_E_REFUSED,
				   "disk %s (%s) is not on the VM's command line: it was added or "
				   "given another image while the VM ran; start the VM with it",
				   text_of(d, "name"), text_of(d, "file"));
}
