/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files hold, kept between sessions. Private to hv/attach; made and freed by hv.h. */
#ifndef HV_ATTACH_HASHES_H
#define HV_ATTACH_HASHES_H

#include "hv/hv.h"

/* Is it known what the file holds, which is as it was then? Its SHA-256 in out. h may be NULL. */
bool hv_hashes_know(const struct hv_hashes *h, int fd, uint64_t bytes, char out[TV_SHA256_ROOM]);
/*
 * The SHA-256 of a file, which is read unless it is known; more is called as tv_sha256_while's.
 * -ESTALE: it changes while it is read, again and again. Otherwise errors of reading it. h may be NULL:
 * nothing is known then, and nothing kept.
 */
int hv_hashes_add(struct hv_hashes *h, int fd, uint64_t bytes, tv_sha256_more *more, void *arg,
		  char out[TV_SHA256_ROOM]) TV_MUST_CHECK;
/* Writes down what was found since. A failure is logged: the file is read again then. */
void hv_hashes_save(struct hv_hashes *h);

#endif
