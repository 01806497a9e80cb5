/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on a still's socket (SOCK_SEQPACKET), for the side that makes it: a JSON object each, of
 * at most STILL_MESSAGE_BYTES, with descriptors as in docs/REHEARSAL.md.
 */
#ifndef STILL_MAKER_H
#define STILL_MAKER_H

#include "common/common.h"

#include <jansson.h>

#define STILL_MESSAGE_BYTES 4096u
#define STILL_MESSAGE_FDS 4u
/* Both ends, close-on-exec; maker: does not block. -errno. */
int still_pair(int *maker, int *holder) TV_MUST_CHECK;
/*
 * Sends msg (stolen; NULL: -ENOMEM) with n descriptors, which stay the caller's. Does not wait:
 * -EAGAIN the holder does not read; -EPIPE it is gone.
 */
int still_put(int fd, json_t *msg, const int *fds, unsigned n) TV_MUST_CHECK;

#endif
