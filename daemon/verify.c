/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Comparisons of a VM with its backup: ordered by an operator or, in the background, by the
 * configuration (schedules.c); carried out by the VM's replicator; noted in the history of
 * rehearsals. One of a VM at a time. An operator who does not wait any more ends it.
 */
#include "daemon/verify.h"
#include "daemon/rehearsals.h"

#include <stdio.h>

static void on_closed(struct ctl *c, void *arg)
{
	struct vm *vm = arg;

	ctl_free(c);
	vm->verify.c = NULL;
	if (vm->now.rep)
		ctl_send(vm->now.rep, session_message(SESSION_OP_VERIFY_END, NULL));
}

const char *verify_stands_against(const struct vm *vm)
{
	if (vm->verify.on)
		return "it is being compared already";
	if (!vm->now.rep || vm->phase != VM_RUNNING ||
	    strcmp(vm->now.stats.state, "protected") != 0)
		return "it has no backup to be compared with: wait until 'twinvm status' shows "
		       "protected";
	return NULL;
}

void verify_begin(struct vm *vm, struct ctl *c, uint64_t rate_bytes_s, bool repair, const char *by)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct session_verify order = {.rate_bytes_s = rate_bytes_s, .repair = repair};
	struct rehearsal r = {.kind = REHEARSAL_VERIFY,
			      .generation = vm->saved.generation,
			      .epoch = vm->now.stats.epoch_committed};

	tv_copy(r.by, sizeof(r.by), by);
	vm->verify.on = true;
	vm->verify.c = c;
	vm->verify.entry = rehearsals_begin(vm->d, vm->id, vm->name, &r);
	if (c)
		ctl_set_arg(c, &ops, vm);
	ctl_send(vm->now.rep, session_message(SESSION_OP_VERIFY, &order));
}

/* Everything equal, or mended. */
static bool is_same(const struct session_verified *v)
{
	return v->mismatched_pages == v->repaired_pages &&
	       v->mismatched_blocks == v->repaired_blocks &&
	       v->mismatched_parts == v->repaired_parts;
}

static void result_of(const struct session_verified *v, struct rehearsal *r)
{
	uint64_t n = v->mismatched_pages + v->mismatched_blocks + v->mismatched_parts;

	r->result = !v->ok	 ? n ? REHEARSAL_FAILED : REHEARSAL_CUT_SHORT
		    : is_same(v) ? REHEARSAL_PASSED
				 : REHEARSAL_FAILED;
	r->epoch = v->last_epoch;
	if (n)
		snprintf(r->reason, sizeof(r->reason),
			 "%llu pages, %llu blocks of disks, %llu parts of the device state "
			 "differed%s%s%.150s",
			 (unsigned long long)v->mismatched_pages,
			 (unsigned long long)v->mismatched_blocks,
			 (unsigned long long)v->mismatched_parts,
			 is_same(v) ? ", and were sent again" : "", v->text[0] ? "; " : "",
			 v->text);
	else
		tv_copy(r->reason, sizeof(r->reason), v->text);
}

static void end(struct vm *vm, const struct session_verified *v, json_t *figures)
{
	struct rehearsal r = {.figures = json_incref(figures)};

	result_of(v, &r);
	rehearsals_end(vm->d, vm->id, vm->name, vm->verify.entry, &r);
	vm->verify.on = false;
	if (!vm->verify.c)
		return;
	ctl_set_arg(vm->verify.c, &ctl_deaf, NULL);
	ctl_send(vm->verify.c,
		 json_pack("{sb si so sb sO*}", "done", 1, "rc", v->ok ? 0 : -EAGAIN, "error",
			   fields_text(v->text), "same", v->ok && is_same(v), "report", figures));
	ctl_close_when_sent(vm->verify.c);
	vm->verify.c = NULL;
}

/* The words in what a replicator found are a VM's and its QEMU's: plain text from here on. */
static json_t *plain(json_t *found)
{
	json_t *out = json_array(), *one, *value;
	const char *key;
	size_t i;

	json_array_foreach(found, i, one) {
		json_t *copy = i < VERIFY_FOUND ? json_object() : NULL;

		json_object_foreach(one, key, value)
			if (json_is_string(value))
				json_object_set_new(copy, key,
						    events_text(json_string_value(value)));
			else if (json_is_integer(value) || json_is_boolean(value))
				json_object_set(copy, key, value);
		json_array_append_new(out, copy);
	}
	return out;
}

void verify_answered(struct vm *vm, json_t *msg, const struct session_verified *v)
{
	static const char *const not_shown[] = {"op", "over", "ok", "text", "progress"};
	json_t *figures;

	if (!vm->verify.on)
		return;
	if (!v->over) {
		if (vm->verify.c)
			ctl_send(vm->verify.c, json_pack("{ss sf}", "state", "comparing",
							 "progress", v->progress));
		return;
	}
	figures = session_message(SESSION_OP_VERIFIED, v);
	for (size_t i = 0; i < sizeof(not_shown) / sizeof(*not_shown); i++)
		json_object_del(figures, not_shown[i]);
	json_object_set_new(figures, "found", plain(json_object_get(msg, "found")));
	end(vm, v, figures);
	json_decref(figures);
}

void verify_cut(struct vm *vm)
{
	struct session_verified v = {.text = "the protection of the VM ended meanwhile"};

	if (vm->verify.on)
		end(vm, &v, NULL);
}

void verify_start(struct daemon *d)
{
	rehearsals_cut_short(d, NULL, REHEARSAL_VERIFY, "twinvmd was started again");
}
