/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last hour of each VM, for charts: a ring of numbers for each, of bounded size. Private to web/.
 */
#ifndef WEB_HISTORY_H
#define WEB_HISTORY_H

#include "common/common.h"

#include <event2/buffer.h>
#include <jansson.h>

#define HISTORY_STEP_S 2
#define HISTORY_SAMPLES 1800 /* an hour */
#define HISTORY_VMS 128	     /* 85 KiB each; the one that was seen longest ago is dropped */

struct history;
/* -ENOMEM. */
int history_new(struct history **out) TV_MUST_CHECK;
void history_free(struct history *h);
/* A snapshot (feed.h) at that time: wall_s since 1970. More often than each step: passed over. */
void history_add(struct history *h, const json_t *snapshot, double wall_s);
/* {"time": [...], "series": {...}}, numbers or null; an unknown VM has none. -ENOMEM. */
int history_write(const struct history *h, const char *vm_id, struct evbuffer *out) TV_MUST_CHECK;

#endif
