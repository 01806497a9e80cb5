/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replicators introduce themselves: sources of VMs that run here, and sinks, that is, other hosts
 * that offer a VM. Two hosts that both claim a VM are told apart by its generation (failover's
 * fo_judge): the stale one is refused and told, or, when it is ours, stopped and kept before the
 * other one's replica is taken in.
 */
#include "daemon/daemon.h"
#include "hv/hv_standby.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(json_t *msg, const char *key)
{
	const char *s = json_string_value(json_object_get(msg, key));

	return s ? s : "";
}

static uint64_t number_of(json_t *msg, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(msg, key));

	return n > 0 ? (uint64_t)n : 0;
}

/* Turned away: what it still says until it has ended is of no interest. */
static void deaf_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	(void)msg;
	(void)arg;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static void deaf_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

static const struct ctl_ops deaf_ops = {deaf_message, deaf_closed};

static void refuse(struct ctl *c, const char *text)
{
	ctl_set_arg(c, &deaf_ops, NULL);
	ctl_send(c, json_pack("{ss ss}", "op", "refuse", "text", text));
}

/* The older session, or this host's own instance of the VM, must end before c is admitted. */
static void wait_for_end(struct vm *vm, struct ctl *c, json_t *msg)
{
	struct ctl *older = waiting_add(vm, c, msg);

	if (older)
		refuse(older, "replaced by a newer synchronisation");
}

/* The process is known by its connection now; tells where that came from. */
static void no_stranger(struct daemon *d, pid_t pid, char *address, size_t room)
{
	for (unsigned i = 0; i < d->n_strangers; i++)
		if (d->strangers[i].pid == pid) {
			snprintf(address, room, "%s", d->strangers[i].address);
			d->strangers[i] = d->strangers[--d->n_strangers];
			return;
		}
}

static void learn(struct vm *vm, json_t *msg)
{
	uint64_t port = number_of(msg, "peer_port"), epoch_ms = number_of(msg, "epoch_ms");
	const char *mode = text_of(msg, "mode");

	vm->replicator = (pid_t)number_of(msg, "pid");
	vm->child = 0;
	vm->awaited = false;
	no_stranger(vm->d, vm->replicator, vm->peer_host, sizeof(vm->peer_host));
	snprintf(vm->dir, sizeof(vm->dir), "%s", text_of(msg, "dir"));
	snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", text_of(msg, "peer"));
	snprintf(vm->session, sizeof(vm->session), "%s", text_of(msg, "session"));
	snprintf(vm->arbiter, sizeof(vm->arbiter), "%s", text_of(msg, "arbiter"));
	if (*mode)
		snprintf(vm->mode, sizeof(vm->mode), "%s", mode);
	if (epoch_ms && epoch_ms <= 60000)
		vm->epoch_ms = (int)epoch_ms;
	vm->peer_port = port <= UINT16_MAX ? (uint16_t)port : 0;
	vm->generation = number_of(msg, "generation");
	if (vm->highest < vm->generation)
		vm->highest = vm->generation;
}

/* Its daemon died and came back; the standby is as it was. */
static void adopt(struct vm *vm, struct ctl *c, json_t *msg)
{
	char host[sizeof(vm->peer_host)];

	snprintf(host, sizeof(host), "%s", vm->peer_host);
	ctl_set_arg(c, &supervise_rep_ops, vm);
	vm->rep = c;
	vm->phase = VM_RUNNING;
	vm->done = false;
	learn(vm, msg);
	vm->slot = (int)number_of(msg, "slot");
	snprintf(vm->peer_host, sizeof(vm->peer_host), "%s", host);
	vm_save(vm);
	ctl_send(c, json_pack("{ss}", "op", "go"));
}

static void begin(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *id = text_of(msg, "vm_id");
	uint64_t generation = number_of(msg, "generation");
	int slot = kept_free_slot(d, id);
	struct slot_names names;
	struct vm *vm;

	if (slot < 0) {
		refuse(c, "too many stopped instances of this VM are kept here: see 'twinvm "
			  "status', end them, or forget them with 'twinvm unprotect VM --kept'");
		return;
	}
	/* Before anything is promised: whoever comes with a lower one later is stale. */
	if (generation_note(d, id, generation)) {
		refuse(c, "the state directory cannot be written on this host");
		return;
	}
	vm = vm_new(d, id, text_of(msg, "name"), VM_BACKUP);
	slot_names(id, (unsigned)slot, &names);
	ctl_set_arg(c, &supervise_rep_ops, vm);
	vm->rep = c;
	vm->phase = VM_RUNNING;
	learn(vm, msg);
	vm->slot = slot;
	vm->highest = generation_seen(d, id);
	snprintf(vm->dir, sizeof(vm->dir), "%s/%s", d->conf.run_dir, names.id);
	vm_save(vm);
	ctl_send(c, json_pack("{ss si}", "op", "go", "slot", slot));
}

static void turn_away(struct ctl *c, json_t *msg, uint64_t highest)
{
	tv_log(TV_WARN,
	       "%s offers %s with generation %llu, which is behind %llu: told that it is fenced",
	       text_of(msg, "peer"), text_of(msg, "name"),
	       (unsigned long long)number_of(msg, "generation"), (unsigned long long)highest);
	ctl_set_arg(c, &deaf_ops, NULL);
	ctl_send(c, json_pack("{ss sI}", "op", "fenced", "generation", (json_int_t)highest));
}

void register_backup(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *id = text_of(msg, "vm_id");
	struct vm *vm = vm_by_id(d, id);
	bool primary = vm && vm->role == VM_PRIMARY;
	struct fo_own own = {.running = primary && vm_lives(vm),
			     .generation = primary ? vm->generation : 0,
			     .highest = generation_seen(d, id)};
	uint64_t generation = number_of(msg, "generation");

	if (!*text_of(msg, "name") || !*text_of(msg, "dir") || !generation) {
		ctl_close_when_sent(c);
		return;
	}
	if (vm && !primary && !strcmp(vm->session, text_of(msg, "session")) && !vm->rep) {
		adopt(vm, c, msg);
		return;
	}
	switch (fo_judge(&own, generation)) {
	case FO_STALE:
		turn_away(c, msg, own.highest > own.generation ? own.highest : own.generation);
		return;
	case FO_RUNS_HERE:
		refuse(c, "this host runs the VM itself");
		return;
	case FO_YIELD:
		/* On disk first: should we die now, the next daemon must not let it run on. */
		if (generation_note(d, id, generation)) {
			refuse(c, "the state directory cannot be written on this host");
			return;
		}
		vm->highest = generation;
		wait_for_end(vm, c, msg);
		fencing_yield(vm);
		return;
	case FO_ACCEPT:
		break;
	}
	if (vm && (vm->rep || vm->phase == VM_RECOVERING || vm->phase == VM_FENCING ||
		   (primary && vm->replicator))) {
		wait_for_end(vm, c, msg);
		if (!primary)
			ctl_send(vm->rep, json_pack("{ss}", "op", "discard"));
		return;
	}
	/* What an earlier life of this host, or of this daemon, left. */
	if (vm && !primary && vm->qemu.pid)
		hv_standby_reap(vm->qemu.pid, vm->qemu.start_ticks, vm->dir);
	if (vm)
		vm_drop(vm);
	begin(d, c, msg);
}

void supervise_register(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *role = json_string_value(json_object_get(msg, "role"));
	const char *id = json_string_value(json_object_get(msg, "vm_id"));
	const char *session = json_string_value(json_object_get(msg, "session"));
	struct vm *vm;

	if (!role || !id || strlen(id) != 32 || !session) {
		ctl_close_when_sent(c);
		return;
	}
	if (!strcmp(role, "backup")) {
		struct ctl *older = waiting_take(d, id);

		if (older)
			refuse(older, "replaced by a newer synchronisation");
		register_backup(d, c, msg);
		return;
	}
	vm = vm_by_id(d, id);
	if (!vm || vm->role != VM_PRIMARY || vm->rep || strcmp(vm->session, session) != 0) {
		/* Not one that we know: it must let its VM go. */
		ctl_set_arg(c, &deaf_ops, NULL);
		ctl_send(c, json_pack("{ss}", "op", "leave"));
		return;
	}
	vm->rep = c;
	vm->awaited = false;
	vm->stats_ns = tv_now_ns();
	vm->replicator = (pid_t)json_integer_value(json_object_get(msg, "pid"));
	vm->phase = VM_RUNNING;
	vm->done = false;
	ctl_set_arg(c, &supervise_rep_ops, vm);
	if (vm->highest > vm->generation)
		ctl_send(c, json_pack("{ss}", "op", "fence"));
	else if (vm->waiter && vm->waiter_leaves)
		ctl_send(c, json_pack("{ss}", "op", "leave"));
}
