/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm doctor: what this daemon knows of its VMs. The command itself looks at the host (doctor/),
 * which may block. */
#include "daemon/commands.h"
#include "daemon/health.h"

static json_t *vms_json(struct daemon *d)
{
	json_t *list = json_array();
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		json_array_append_new(list, json_pack("{ss ss si}", "id", vm->id, "name", vm->name,
						      "slot", vm->saved.slot));
	return list;
}

static json_t *stopped_json(struct daemon *d)
{
	json_t *list = json_array();
	struct kept *k;

	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		json_array_append_new(list, json_pack("{ss ss si}", "id", k->id, "name", k->name,
						      "slot", k->slot));
	return list;
}

void command_doctor(struct daemon *d, struct ctl *c, json_t *msg)
{
	char warning[512];

	(void)msg;
	durable_warning(d, warning, sizeof(warning));
	ctl_send(c, json_pack("{sb si ss ss so so so}", "done", 1, "rc", 0, "config", d->conf.path,
			      "warning", warning, "vms", vms_json(d), "kept", stopped_json(d),
			      "health", health_json(d)));
	ctl_close_when_sent(c);
}
