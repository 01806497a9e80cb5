/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes known of a test failover: the whole report, and the history's entry. */
#include "daemon/clones_int.h"

#include <string.h>

static json_t *last_failover(const struct clone_test *t)
{
	const struct events_query q = {
		.vm = t->order.vm_id, .failovers = true, .newest = true, .limit = 1};
	json_t *list = events_read(t->d, &q, NULL);
	json_t *one = json_incref(json_array_get(list, 0));

	json_decref(list);
	return one;
}

json_t *clones_whole_report(const struct clone_test *t)
{
	json_t *failover = last_failover(t);
	json_t *o = clones_report(t->report, &t->lag, t->left, failover);

	json_decref(failover);
	json_object_set_new(o, "vm", fields_text(t->order.vm));
	json_object_set_new(o, "vm_id", json_string(t->order.vm_id));
	json_object_set_new(o, "host", json_string(t->d->conf.host));
	json_object_set_new(o, "peer", fields_text(t->order.peer));
	json_object_set_new(o, "note", fields_text(t->note));
	json_object_set_new(o, "started", json_real(t->began_s));
	if (t->why[0])
		json_object_set_new(o, "reason", fields_text(t->why));
	if (t->result != REHEARSAL_PASSED)
		json_object_set_new(o, "passed", json_false());
	json_object_set_new(o, "result", json_string(rehearsal_result_words.name((int)t->result)));
	return o;
}

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

void clones_tell_history(struct clone_test *t, const json_t *report)
{
	struct rehearsal r = {.kind = REHEARSAL_TEST_FAILOVER,
			      .result = t->result,
			      .generation = number_of(report, "generation"),
			      .epoch = number_of(report, "epoch"),
			      .figures = clones_brief(report)};

	tv_copy(r.reason, sizeof(r.reason), json_string_value(json_object_get(report, "reason")));
	if (t->history && rehearsals_end(t->d, t->order.vm_id, t->order.vm, t->history, &r))
		tv_log(TV_WARN, "%s: the history has no entry of its test failover", t->order.vm);
	t->history = 0;
}

void clones_note_refused(struct vm *vm, const char *by, const char *note, const char *why)
{
	struct rehearsal r = {.kind = REHEARSAL_TEST_FAILOVER, .result = REHEARSAL_REFUSED};

	tv_copy(r.by, sizeof(r.by), by);
	tv_copy(r.note, sizeof(r.note), note);
	tv_copy(r.reason, sizeof(r.reason), why);
	rehearsals_refused(vm->d, vm->id, vm->name, &r);
}

void clones_begin_history(struct clone_test *t, const char *by, const struct vm *vm)
{
	struct rehearsal r = {.kind = REHEARSAL_TEST_FAILOVER,
			      .generation = vm->saved.generation,
			      .epoch = vm->now.stats.epoch_committed};

	tv_copy(r.by, sizeof(r.by), by);
	tv_copy(r.note, sizeof(r.note), t->note);
	t->history = rehearsals_begin(t->d, t->order.vm_id, t->order.vm, &r);
}
