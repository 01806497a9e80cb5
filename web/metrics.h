/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A snapshot as text for Prometheus (docs/METRICS.md). Private to web/. */
#ifndef WEB_METRICS_H
#define WEB_METRICS_H

#include <event2/buffer.h>
#include <jansson.h>
#include <stdbool.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Does a request with that header Accept want OpenMetrics? */
bool metrics_wants_open(const char *accept);
/*
 * Adds all of it to out. snapshot: NULL when none has come; stale: it is old, and then only what
 * stays true is written: an alert must not see the last good value for ever.
 */
void metrics_write(struct evbuffer *out, const json_t *snapshot, bool stale, bool open);

#endif
