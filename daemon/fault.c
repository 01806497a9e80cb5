/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one fault leads to at once: an event, and what the replicator of a VM is sent. */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/moves.h"

#include <stdio.h>
#include <time.h>

double fault_unix(int64_t ns)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - (double)(tv_now_ns() - ns) / 1e9;
}

void fault_report(struct daemon *d, const struct hw_fault *f, const struct ras_verdict *v,
		  const struct vm *vm, const char *command)
{
	const struct ras_row *row = ras_row(v->rule);
	json_t *data = hw_fault_json(f), *of = events_text(vm ? vm->name : command);
	const char *text_of = json_string_value(of);

	json_object_set_new(data, "where", events_text(f->fault.where));
	json_object_set_new(data, "text", events_text(f->fault.sentence));
	json_object_set_new(data, "rule", json_integer(v->rule));
	json_object_set_new(data, "state", json_string(ras_color_text(v->color)));
	json_object_set(data, "of", of);
	json_object_set_new(data, "first", json_real(fault_unix(f->first_ns)));
	if (vm)
		events_vm(vm, EVENTS_HARDWARE_FAULT, data, "%s: %s", f->fault.sentence,
			  row ? row->fault : "");
	else
		events_add(d, EVENTS_HARDWARE_FAULT, NULL, data, "%s: %s%s%s", f->fault.sentence,
			   row ? row->fault : "", text_of && *text_of ? ": " : "",
			   text_of ? text_of : "");
	json_decref(of);
}

/* A page of a VM that runs here has lost data: its replicator has the backup continue from before. Of a
 * standby: its replicator ends the session, with this reason. */
void fault_tell_replicator(struct vm *vm, const struct hw_fault *f)
{
	struct session_memory_error m = {.at_ns = f->first_ns > 0 ? (uint64_t)f->first_ns : 0};

	if (!vm->now.rep)
		return;
	tv_copy(m.text, sizeof(m.text), f->fault.sentence);
	ctl_send(vm->now.rep, session_message(SESSION_OP_MEMORY_ERROR, &m));
}

void fault_note_weak_page(const struct vm *vm, const struct hw_fault *f)
{
	char page[RAS_TEXT_ROOM];

	snprintf(page, sizeof(page), "page 0x%llx", (unsigned long long)f->fault.page.n);
	weak_page_note(vm->id, page);
}
