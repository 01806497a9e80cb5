/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options with paths in them. A relative path was the primary's QEMU's: it becomes absolute, because
 * the standby runs elsewhere. Each file is noted, so that it can be checked before anything starts
 * (media.c).
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* This host's copy of a file of the primary's; NULL: the file of that name here is meant. */
static const char *copy_of(struct hv_rewrite *rw, const char *path)
{
	json_t *file;
	size_t i;

	json_array_foreach(json_object_get(rw->desc, "copies"), i, file) {
		const char *p = json_string_value(json_object_get(file, "path"));

		if (p && !strcmp(p, path))
			return i < rw->conf->n_copies ? rw->conf->copies[i] : NULL;
	}
	return NULL;
}

char *hv_rw_media(struct hv_rewrite *rw, const char *path, const char *kind)
{
	char *full = hv_rw_path(rw, path);
	const char *copy = full ? copy_of(rw, full) : NULL;

	if (copy) {
		free(full);
		full = strdup(copy);
		if (!full ||
		    json_array_append_new(rw->files, json_pack("{s:s, s:s, s:b}", "path", copy,
							       "kind", kind, "copy", 1)))
			hv_rw_fail(rw, -ENOMEM, "no memory for the standby's command line");
	} else if (full && *full != '/') {
		hv_rw_deny(rw, "use a file below the folders of 'media'", "the file %.300s", path);
	} else if (full && json_array_append_new(rw->files, json_pack("{s:s, s:s}", "path", full,
								      "kind", kind))) {
		hv_rw_fail(rw, TV_E_REFUSED, "the name of a file is not UTF-8");
	}
	if (rw->rc) {
		free(full);
		full = NULL;
	}
	return full;
}

/*
 * QEMU looks a plain name up in its own folders too, so it only becomes a path when the primary was
 * seen to have the file in its working directory.
 */
char *hv_rw_firmware(struct hv_rewrite *rw, const char *name)
{
	TV_FREE char *full = hv_rw_path(rw, name);
	json_t *file, *files = json_object_get(rw->desc, "files");
	size_t i;

	if (!full || strchr(name, '/'))
		return full ? hv_rw_media(rw, name, HV_MEDIA_FILE) : NULL;
	json_array_foreach(files, i, file)
		if (json_is_string(file) && !strcmp(json_string_value(file), full))
			return hv_rw_media(rw, name, HV_MEDIA_FILE);
	return strdup(name);
}

static void put_media(struct hv_rewrite *rw, const char *option, const char *arg, const char *kind)
{
	TV_FREE char *path = hv_rw_media(rw, arg, kind);

	hv_rw_put(rw, option);
	hv_rw_put(rw, path ? path : "");
}

void hv_rw_put_path(struct hv_rewrite *rw, const char *option, const char *arg)
{
	put_media(rw, option, arg, HV_MEDIA_FILE);
}

void hv_rw_put_folder(struct hv_rewrite *rw, const char *option, const char *arg)
{
	put_media(rw, option, arg, HV_MEDIA_FOLDER);
}

void hv_rw_put_firmware(struct hv_rewrite *rw, const char *option, const char *arg)
{
	TV_FREE char *path = hv_rw_firmware(rw, arg);

	hv_rw_put(rw, option);
	hv_rw_put(rw, path ? path : "");
}
