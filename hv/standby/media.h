/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of this host that a standby may read: below configured folders. Private to
 * hv/standby. */
#ifndef HV_STANDBY_MEDIA_H
#define HV_STANDBY_MEDIA_H

#include "common/common.h"
#include <jansson.h>

/* What a file is for, in {"path":..., "kind":"..."}. */
#define HV_MEDIA_FILE "file"	 /* firmware, a kernel, a table */
#define HV_MEDIA_FOLDER "folder" /* where firmware lies */
#define HV_MEDIA_RAW "raw image" /* its format is not named: it must not look like another */
#define HV_MEDIA_IMAGE "image"	 /* its format is named */

/*
 * Checks each file of a list: a regular file (or folder), readable, and below one of folders
 * ("/a:/b"), links resolved; an image names no other file in its head. peer: the host that asks
 * for it, for the sentence. Of a copy, which this host has made ("copy": true), only what is in it
 * counts. TV_E_REFUSED, -ENOTSUP when it is not there.
 */
int hv_media_check(json_t *files, const char *folders, const char *peer,
		   struct tv_err *e) TV_MUST_CHECK;
/* Has this host an ordinary file of that name, below one of folders, with these contents? Reads all of
 * it. */
bool hv_media_has(const char *path, const char *folders, uint64_t bytes, const char *sha256);

#endif
