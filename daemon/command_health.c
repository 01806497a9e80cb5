/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm health: what is known of this host's hardware. */
#include "daemon/commands.h"
#include "daemon/health.h"

#include <errno.h>
#include <string.h>

void command_health(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *host = command_text(msg, "host", "");
	json_t *o;

	if (*host && strcmp(host, d->conf.host) != 0) {
		command_end(c, -ENOENT,
			    "%s knows its own hardware only: ask for that of '%.64s' there",
			    d->conf.host, host);
		return;
	}
	if (json_is_true(json_object_get(msg, "clear")))
		health_clear(d);
	o = health_json(d);
	json_object_set_new(o, "done", json_true());
	json_object_set_new(o, "rc", json_integer(0));
	ctl_send(c, o);
	ctl_close_when_sent(c);
}
