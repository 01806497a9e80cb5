/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM has changed hosts: why, and how long nobody ran it, as its replicator measured it. */
#include "daemon/daemon.h"

#include <stdio.h>
#include <string.h>

/* An operator's word may have been a program's: fence_command's. */
const char *events_cause(const struct vm *vm)
{
	const char *cause = vm->now.end.outage.cause;

	return !strcmp(cause, "forced") && vm->fencer.decides ? "fenced"
	       : *cause					      ? cause
							      : "unknown";
}

static void explain(const char *cause, const char *peer, char *out, size_t room)
{
	static const struct {
		const char *cause, *text;
	} words[] = {
		{"silence", "%s sent nothing any more"},
		{"closed", "%s closed the connection and did not come back"},
		{"asked", "%s asked for it, as the QEMU there had died"},
		{"planned", "by a planned switch from %s"},
		{"memory", "%s has seen a memory error in it, and this is the last epoch before"},
		{"forced", "by order of an operator, as %s did not answer"},
		{"fenced", "fence_command had switched %s off"},
		{"retry", "an operator tried again after a promotion had failed, %s was not asked"},
	};

	snprintf(out, room, "the cause is not known");
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i].cause, cause)) {
			int n = (int)(strstr(words[i].text, "%s") - words[i].text);

			snprintf(out, room, "%.*s%s%s", n, words[i].text, peer,
				 words[i].text + n + 2);
		}
}

void events_failover(const struct vm *vm)
{
	const struct session_outage *o = &vm->now.end.outage;
	const char *cause = events_cause(vm);
	char why[200], took[200] = "";
	json_t *data = json_pack("{ss}", "cause", cause);

	explain(cause, vm->saved.peer.name, why, sizeof(why));
	if (*o->cause) { /* else it was measured by a process that is gone */
		json_object_set_new(data, "outage_ms", json_real(o->outage_ms));
		json_object_set_new(data, "silence_ms", json_real(o->silence_ms));
		json_object_set_new(data, "record_ms", json_real(o->record_ms));
		json_object_set_new(data, "apply_ms", json_real(o->apply_ms));
		json_object_set_new(data, "load_ms", json_real(o->load_ms));
		snprintf(took, sizeof(took),
			 "; outage %.0f ms: silence %.0f, record %.0f, apply %.0f, load %.0f",
			 o->outage_ms, o->silence_ms, o->record_ms, o->apply_ms, o->load_ms);
	}
	events_vm(vm, EVENTS_FAILOVER, data,
		  "%s failed over from %s: it runs here now, alone (generation %llu); %s%s",
		  vm->name, vm->saved.peer.name, (unsigned long long)vm->saved.generation, why,
		  took);
}

void events_switched(const struct vm *vm)
{
	const struct session_outage *o = &vm->now.end.outage;
	bool memory = !strcmp(o->cause, "memory");
	json_t *data = json_pack("{ss}", "cause", memory ? "memory" : "planned");
	char took[80] = "";

	if (*o->cause) {
		json_object_set_new(data, "outage_ms", json_real(o->outage_ms));
		snprintf(took, sizeof(took), "; it stood still for %.0f ms", o->outage_ms);
	}
	events_vm(vm, EVENTS_SWITCHED, data, "%s runs on %s now%s%s", vm->name, vm->saved.peer.name,
		  memory ? ", from the last epoch before a memory error of this host" : "", took);
}
