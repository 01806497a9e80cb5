/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's side of `twinvm`: which command it is. */
#include "daemon/commands.h"

#include <errno.h>
#include <string.h>

void command_run(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct {
		const char *op;
		void (*run)(struct daemon *d, struct ctl *c, json_t *msg);
	} table[] = {{"protect", command_protect},   {"unprotect", command_unprotect},
		     {"failover", command_failover}, {"suspend", command_suspend},
		     {"resume", command_resume},     {"may-start", command_may_start},
		     {"status", command_status},     {"doctor", command_doctor},
		     {"events", command_events},     {"events-ack", command_events_ack},
		     {"trace", command_trace},	     {"ready", command_ready},
		     {"freeze", command_freeze},     {"health", command_health},
		     {"verify", command_verify},     {"test-failover", command_test_failover},
		     {"drill", command_drill},	     {"maintenance", command_maintenance},
		     {"cluster", command_cluster}};
	const char *op = command_text(msg, "op", "");

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strcmp(table[i].op, op)) {
			table[i].run(d, c, msg);
			return;
		}
	command_end(c, -EINVAL, "unknown request: are twinvm and twinvmd of one version?");
}
