/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pages' event streams. Private to web/. */
#ifndef WEB_STREAM_H
#define WEB_STREAM_H

#include "common/common.h"

struct web;
struct stream;
/* -ENOMEM. */
int stream_new(struct web *w, struct stream **out) TV_MUST_CHECK;
/* After the server has ended all connections. NULL is allowed. */
void stream_free(struct stream *s);
/* There is a new snapshot: all pages get it. */
void stream_snapshot(struct stream *s);

#endif
