/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm health: what is known of this host's hardware, and what others have reported of theirs. */
#include "daemon/cluster.h"
#include "daemon/commands.h"
#include "daemon/health.h"
#include "daemon/moves.h"
#include "daemon/retire.h"

#include <errno.h>
#include <string.h>

/* What another host has reported of itself; NULL: it has not. */
static json_t *of_other(struct daemon *d, const char *host)
{
	json_t *list = cluster_json(d), *o, *out = NULL, *hardware;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *name = json_string_value(json_object_get(o, "host"));

		hardware = json_object_get(json_object_get(o, "view"), "hardware");
		if (!name || strcmp(name, host) != 0 ||
		    !json_is_string(json_object_get(hardware, "state")))
			continue;
		out = json_pack("{ss sO sO sO sO*}", "host", name, "state",
				json_object_get(hardware, "state"), "reason",
				json_object_get(hardware, "reason"), "answers",
				json_object_get(o, "answers"), "age_ms",
				json_object_get(o, "age_ms"));
		break;
	}
	json_decref(list);
	return out;
}

void command_health(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *host = command_text(msg, "host", "");
	bool clear = json_is_true(json_object_get(msg, "clear"));
	bool undo = json_is_true(json_object_get(msg, "undo"));
	json_t *o;

	if (!*host || !strcmp(host, d->conf.host)) {
		if (clear) {
			health_clear(d);
			moves_clear();
		}
		if (undo)
			retire_undo(d);
		o = health_json(d);
		json_object_set_new(o, "moves", moves_json(d));
	} else if (clear || undo) {
		command_end(c, -EINVAL, "the hardware of '%.64s' is %s there: twinvm health --%s",
			    host, clear ? "cleared" : "put back in service",
			    clear ? "clear" : "undo");
		return;
	} else {
		o = of_other(d, host);
	}
	if (!o) {
		command_end(c, -ENOENT, "%s knows nothing of the hardware of '%.64s'", d->conf.host,
			    host);
		return;
	}
	json_object_set_new(o, "done", json_true());
	json_object_set_new(o, "rc", json_integer(0));
	ctl_send(c, o);
	ctl_close_when_sent(c);
}
