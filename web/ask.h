/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for this host's daemon, as `twinvm` gives them. Private to web/. */
#ifndef WEB_ASK_H
#define WEB_ASK_H

#include "web/feed.h"

/* The daemon's last line ({"done": true, "rc": ..., "error": ...}), borrowed; NULL: it was not
 * answered in time. Once, from the loop. */
typedef void ask_cb(json_t *answer, void *arg);
/*
 * command (stolen): as on the control socket, {"op": "failover", "vm": "..."}. Only those that
 * daemon/web.c takes from this process. -EBUSY: too many wait for their answers; -ENOMEM, -errno.
 */
int ask(struct feed *f, struct event_base *base, json_t *command, ask_cb *cb,
	void *arg) TV_MUST_CHECK;

#endif
