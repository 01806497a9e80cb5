/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `twinvm status` shows: fields and their meaning are a contract with scripts. */
#include "daemon/daemon.h"

#include <stdio.h>
#include <string.h>

/* The contract's fields with their neutral values. */
static json_t *blank(const char *name, const char *id, bool primary, const char *peer)
{
	return json_pack(
		"{ss ss ss ss sI sI sf sI sf s{sf sf sf} s{sf} s{sI sI} sI sI sI sI sI sI sf ss}",
		"name", name, "id", id, "role", primary ? "primary" : "backup", "peer", peer,
		"epoch_running", (json_int_t)0, "epoch_committed", (json_int_t)0, "lag_ms", 0.0,
		"uncommitted_bytes", (json_int_t)0, "oldest_held_frame_ms", 0.0, "pause_ms", "p50",
		0.0, "p99", 0.0, "max", 0.0, "epoch_ms", "p50", 0.0, "dirty_pages", "p50",
		(json_int_t)0, "p99", (json_int_t)0, "raw_bytes", (json_int_t)0, "wire_bytes",
		(json_int_t)0, "held_frames", (json_int_t)0, "released_frames", (json_int_t)0,
		"disk_bytes", (json_int_t)0, "disk_kept_bytes", (json_int_t)0, "progress", 0.0,
		"qemu", "");
}

static void add_state(json_t *o, const char *state, uint64_t generation, const char *mode,
		      const char *arbiter, pid_t pid, const char *reason, json_t *kept)
{
	json_t *more = json_pack("{ss sI ss ss si ss so}", "state", state, "generation",
				 (json_int_t)generation, "mode", mode, "arbiter", arbiter, "pid",
				 (int)pid, "reason", reason, "kept", kept);

	json_object_update(o, more);
	json_decref(more);
}

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* What the last session said goes over the neutral values; its state only while it lives. */
static void add_stats(json_t *o, const struct vm *vm)
{
	const char *key;
	json_t *v;

	json_object_foreach(vm->stats, key, v) {
		bool of_session =
			!strcmp(key, "state") || !strcmp(key, "reason") || !strcmp(key, "progress");

		if (vm->phase == VM_RUNNING || !of_session)
			json_object_set(o, key, v);
	}
	json_object_del(o, "op");
	json_object_del(o, "lease"); /* between the two of us */
	json_object_del(o, "told");
}

json_t *vm_status(const struct vm *vm)
{
	json_t *o = blank(vm->name, vm->id, vm->role == VM_PRIMARY, vm->peer_name);

	add_state(o, vm->phase == VM_FENCING ? "stopped" : "alone", vm->generation, vm->mode,
		  vm->arbiter, vm->qemu.pid, vm->reason, kept_json(vm->d, vm->id));
	if (vm->stats)
		add_stats(o, vm);
	if (vm->phase != VM_RUNNING || vm->role != VM_PRIMARY || !vm->was_protected)
		return o;
	/* A VM that is to be protected again is alone, and says why, until something is copied. */
	if (!strcmp(text_of(o, "state"), "syncing") &&
	    json_number_value(json_object_get(o, "progress")) == 0)
		json_object_set_new(o, "state", json_string("alone"));
	if (strcmp(text_of(o, "state"), "protected") != 0 && !*text_of(o, "reason"))
		json_object_set_new(o, "reason", json_string(vm->reason));
	return o;
}

json_t *kept_status(struct daemon *d, const struct kept *k)
{
	json_t *o = blank(k->name, k->id, true, "");

	add_state(o, "stopped", k->generation, "", "", k->qemu.pid, k->why, kept_json(d, k->id));
	return o;
}
