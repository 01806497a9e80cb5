/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster has changed what this host reads: as after SIGHUP. */
#include "daemon/commands.h"

void command_cluster(struct daemon *d, struct ctl *c, json_t *msg)
{
	(void)msg;
	event_active(d->hup, EV_SIGNAL, 1);
	command_end(c, 0, "%s", "");
}
