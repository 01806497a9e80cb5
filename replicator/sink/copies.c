/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files are taken one after the other. A file that lies on this host under the primary's name,
 * below the folders of `media`, and with the same contents, is used as it is; of any other a copy is
 * made beside the replicas (checkpoint/store.c), named by its hash. What is asked for at once is
 * bounded, and nothing is taken that was not asked for.
 */
#include "replicator/sink/copies.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WANT_BYTES (2u << 20)
#define PATH_BYTES 512

struct file {
	char path[1024]; /* on the primary */
	char sha256[TV_SHA256_ROOM];
	uint64_t bytes;
	char copy[PATH_BYTES]; /* "": not looked for yet, or this host has the file itself */
};

struct copies {
	struct copies_conf conf;
	struct ckpt_store *store;
	struct file files[HV_MAX_FILES];
	const char *paths[HV_MAX_FILES];
	unsigned n, at; /* at: the file that is being made */
	bool looked, had;
	uint64_t part_bytes;   /* of it */
	uint64_t wanted_bytes; /* still to come */
	uint64_t done_bytes, all_bytes;
};

static bool take_file(json_t *o, struct file *f)
{
	const char *path = json_string_value(json_object_get(o, "path"));
	const char *sha256 = json_string_value(json_object_get(o, "sha256"));
	json_int_t bytes = json_integer_value(json_object_get(o, "bytes"));

	if (!path || *path != '/' || !tv_is_sha256(sha256) || bytes < 0 ||
	    !tv_copy(f->path, sizeof(f->path), path))
		return false;
	tv_copy(f->sha256, sizeof(f->sha256), sha256);
	f->bytes = (uint64_t)bytes;
	return true;
}

static int take_files(struct copies *c, json_t *desc, struct tv_err *e)
{
	json_t *list = json_object_get(desc, "copies"), *o;
	uint64_t sum = 0;
	size_t i;

	if (json_array_size(list) > HV_MAX_FILES)
		return tv_fail(e, TV_E_PROTOCOL, "the VM reads more than %d files", HV_MAX_FILES);
	json_array_foreach(list, i, o) {
		struct file *f = &c->files[c->n];

		if (!take_file(o, f))
			return tv_fail(e, TV_E_PROTOCOL,
				       "the VM's description has a bad entry in copies");
		if (f->bytes > UINT64_MAX / 2 - sum)
			return tv_fail(e, TV_E_PROTOCOL, "a file of an impossible size");
		sum += f->bytes;
		c->n++;
	}
	return 0;
}

int copies_open(json_t *desc, const struct copies_conf *conf, struct copies **out, struct tv_err *e)
{
	struct copies *c = calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c)
		return tv_fail(e, -ENOMEM, "no memory for the VM's files");
	c->conf = *conf;
	rc = take_files(c, desc, e);
	if (!rc && (rc = ckpt_store_new(conf->dir, conf->vm_id, conf->room, &c->store)))
		tv_fail(e, rc, "the folder for replicas %s: %s", conf->dir, tv_strerror(rc));
	if (rc) {
		copies_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* Does this host have the file, or all of its copy? 1, 0 or negative. */
static int look(struct copies *c, struct file *f, struct tv_err *e)
{
	int rc;

	c->looked = true;
	c->part_bytes = 0;
	if (hv_standby_has_file(c->conf.standby, f->path, f->bytes, f->sha256))
		return 1;
	c->all_bytes += f->bytes;
	if (c->all_bytes > c->conf.limit_bytes)
		return tv_fail(e, -EFBIG,
			       "files that the VM only reads (the last is %.200s) have more than "
			       "%" PRIu64 " MiB: eject what is not needed, or raise files_mib on "
			       "the backup",
			       f->path, c->conf.limit_bytes >> 20);
	rc = ckpt_store_path(c->conf.dir, c->conf.vm_id, f->sha256, f->copy, sizeof(f->copy));
	if (rc)
		return tv_fail(e, rc, "the name of the folder for replicas is too long");
	rc = ckpt_store_find(c->store, f->sha256, f->bytes, &c->part_bytes, e);
	c->had |= rc > 0 || c->part_bytes;
	c->done_bytes += rc > 0 ? f->bytes : c->part_bytes;
	return rc;
}

/* What is on disk of other media of this VM is needed no more. */
static void keep(struct copies *c)
{
	const char *hashes[HV_MAX_FILES];
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++) {
		c->paths[i] = c->files[i].copy[0] ? c->files[i].copy : NULL;
		if (c->paths[i])
			hashes[n++] = c->files[i].sha256;
	}
	ckpt_store_keep(c->store, hashes, n);
	c->conf.standby->copies = c->paths;
	c->conf.standby->n_copies = c->n;
}

int copies_next(struct copies *c, struct copies_want *out, struct tv_err *e)
{
	for (; c->at < c->n; c->at++, c->looked = false) {
		struct file *f = &c->files[c->at];
		int rc = c->looked ? 0 : look(c, f, e);

		if (rc < 0)
			return rc;
		if (rc)
			continue;
		if (c->part_bytes == f->bytes) {
			rc = ckpt_store_finish(c->store, f->sha256, f->bytes, e);
			if (rc)
				return rc;
			tv_log(TV_INFO, "a copy of the file %s is here (%" PRIu64 " MiB)", f->path,
			       f->bytes >> 20);
			continue;
		}
		c->wanted_bytes = f->bytes - c->part_bytes;
		if (c->wanted_bytes > WANT_BYTES)
			c->wanted_bytes = WANT_BYTES;
		*out = (struct copies_want){c->at, c->part_bytes, c->wanted_bytes, c->done_bytes,
					    c->all_bytes};
		return 1;
	}
	keep(c);
	return 0;
}

int copies_add(struct copies *c, const void *p, size_t n, struct tv_err *e)
{
	int rc;

	if (!n || n > c->wanted_bytes)
		return tv_fail(e, TV_E_PROTOCOL, "%zu bytes of a file came that were not asked for",
			       n);
	rc = ckpt_store_add(c->store, c->files[c->at].sha256, c->part_bytes, p, n, e);
	if (rc)
		return rc;
	c->part_bytes += n;
	c->done_bytes += n;
	c->wanted_bytes -= n;
	return c->wanted_bytes == 0;
}

bool copies_are_new(const struct copies *c)
{
	return !c->had;
}

void copies_remove(struct copies *c)
{
	if (c)
		ckpt_store_keep(c->store, NULL, 0);
}

void copies_free(struct copies *c)
{
	if (!c)
		return;
	ckpt_store_free(c->store);
	free(c);
}
