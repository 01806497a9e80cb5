/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm verify: carried out where the VM runs. */
#include "daemon/commands.h"
#include "daemon/passing.h"
#include "daemon/rehearsals.h"
#include "daemon/verify.h"

#include <errno.h>

#define MB 1000000.0
#define MOST_MB_S 1e6

void command_verify(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = command_vm(d, c, msg);
	double rate = json_number_value(json_object_get(msg, "rate_mb_s"));
	struct rehearsal refused = {.kind = REHEARSAL_VERIFY, .result = REHEARSAL_REFUSED};
	const char *by = command_text(msg, "by", "operator");
	const char *why;

	if (!vm)
		return;
	if (vm->role == SESSION_BACKUP && pass_on(vm, c, msg))
		return;
	if (vm->role == SESSION_BACKUP) {
		command_end(c, -EINVAL, "%s runs on %s: give the command there", vm->name,
			    vm->saved.peer.name);
		return;
	}
	if (!(rate > 0 && rate <= MOST_MB_S)) {
		command_end(c, -EINVAL, "a rate must be more than 0 MB/s");
		return;
	}
	why = verify_stands_against(vm);
	if (!why) {
		verify_begin(vm, c, (uint64_t)(rate * MB),
			     json_is_true(json_object_get(msg, "repair")), by);
		return;
	}
	tv_copy(refused.by, sizeof(refused.by), by);
	tv_copy(refused.reason, sizeof(refused.reason), why);
	if (!vm->verify.on)
		rehearsals_refused(d, vm->id, vm->name, &refused);
	command_end(c, TV_E_REFUSED, "%s: %s", vm->name, why);
}
