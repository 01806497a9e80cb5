/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's side of `twinvm`: one request a connection, lines of progress, one last line with
 * rc. */
#include "daemon/daemon.h"
#include "daemon/pace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void end(struct ctl *c, int rc, const char *text)
{
	ctl_send(c, json_pack("{sb si ss}", "done", 1, "rc", rc, "error", text));
	ctl_close_when_sent(c);
}

static const char *text_of(json_t *msg, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(msg, key));

	return s ? s : otherwise;
}

/* Closed by the command line: nobody waits any more. */
static void waiter_closed(struct ctl *c, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
	if (vm->waiter == c)
		vm->waiter = NULL;
	ctl_free(c);
}

static void waiter_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)c;
	(void)msg;
	(void)fds;
	(void)n;
	(void)arg;
}

static const struct ctl_ops waiter_ops = {waiter_message, waiter_closed};

static bool is_standby(pid_t pid, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
	if (vm->role == VM_BACKUP && vm->qemu.pid == pid)
		return true;
	return false;
}

static struct vm *by_process(struct daemon *d, const struct hv_vm_id *id)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
	if (vm->qemu.pid == id->pid && vm->qemu.start_ticks == id->start_ticks)
		return vm;
	return NULL;
}

/* A VM that failed over to this host and runs alone is protected again under its old identity. */
static struct vm *entry_for(struct daemon *d, const struct hv_vm_id *id)
{
	struct vm *vm = by_process(d, id);
	char fresh[33], name[128];

	if (vm)
		return vm;
	tv_random_hex(fresh, 16);
	snprintf(name, sizeof(name), "pid%d",
		 (int)id->pid); /* a VM without -name must be called something */
	vm = vm_new(d, fresh, id->name[0] ? id->name : name, VM_PRIMARY);
	vm->qemu = *id;
	return vm;
}

static int check_arbiter(const struct daemon *d, const char *url, struct tv_err *e)
{
	struct fo_arbiter_conf ac = config_arbiter(&d->conf, NULL);
	const size_t room = sizeof(((struct vm *)0)->arbiter);

	return strlen(url) < room
		       ? fo_arbiter_check_url(url, &ac, e)
		       : tv_fail(e, -EINVAL, "the arbiter's URL is longer than %zu characters",
				 room - 1);
}

static void protect(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = text_of(msg, "vm", ""), *to = text_of(msg, "to", "");
	const char *mode = text_of(msg, "mode", d->conf.mode);
	const char *arbiter = text_of(msg, "arbiter", d->conf.arbiter);
	json_int_t epoch_ms = json_integer_value(json_object_get(msg, "epoch_ms"));
	struct config_peer peer = {0};
	struct hv_vm_id id = {0};
	enum pace_mode parsed;
	struct tv_err e = {0};
	struct vm *vm;
	bool several, fresh;
	int rc;

	vm = vm_find(d, what, &several);
	if (vm && !(vm->role == VM_PRIMARY && vm->phase == VM_IDLE && !vm->wanted)) {
		char text[300];

		if (vm->role == VM_BACKUP)
			snprintf(text, sizeof(text),
				 "%s is the backup of %s: give the command on %s", d->conf.host,
				 vm->name, vm->peer_name);
		else if (vm->phase == VM_FENCED)
			snprintf(text, sizeof(text),
				 "%s was stopped here because another host runs it", vm->name);
		else
			snprintf(text, sizeof(text), "%s is already protected (backup: %s)",
				 vm->name, vm->peer_name);
		end(c, -EALREADY, text);
		return;
	}
	if (pace_mode_parse(mode, &parsed) || epoch_ms < 0 || epoch_ms > 60000) {
		end(c, -EINVAL, "mode is adaptive, remus or kemari, and --epoch 1 to 60000 ms");
		return;
	}
	rc = config_peer(&d->conf, to, &peer, &e);
	if (!rc)
		rc = check_arbiter(d, arbiter, &e);
	if (!rc)
		rc = hv_find(vm ? vm->qemu.qmp_path : what, is_standby, d, &id, &e);
	if (rc) {
		end(c, rc, e.text);
		return;
	}
	fresh = !vm;
	if (fresh && by_process(d, &id)) {
		snprintf(e.text, sizeof(e.text), "%s is already protected (backup: %s)",
			 by_process(d, &id)->name, by_process(d, &id)->peer_name);
		end(c, -EALREADY, e.text);
		return;
	}
	vm = vm ? vm : entry_for(d, &id);
	vm->fresh = fresh;
	vm->was_protected = false;
	snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", peer.name);
	snprintf(vm->peer_host, sizeof(vm->peer_host), "%s", peer.host);
	vm->peer_port = peer.port;
	snprintf(vm->mode, sizeof(vm->mode), "%s", mode);
	snprintf(vm->arbiter, sizeof(vm->arbiter), "%s", arbiter);
	vm->epoch_ms = epoch_ms ? (int)epoch_ms : d->conf.epoch_ms;
	vm->wanted = true;
	rc = vm_start_source(vm, &e);
	if (rc) {
		end(c, rc, e.text);
		if (fresh)
			vm_drop(vm);
		return;
	}
	vm->waiter = c;
	vm->waiter_leaves = false;
	ctl_set_arg(c, &waiter_ops, d);
	vm_tell(vm, json_pack("{ss sf}", "state", "syncing", "progress", 0.0), false);
}

static struct vm *known(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = text_of(msg, "vm", "");
	bool several;
	struct vm *vm = vm_find(d, what, &several);
	char text[200];

	if (vm && !several)
		return vm;
	snprintf(text, sizeof(text),
		 several ? "more than one VM answers to '%s' on %s: use its id from 'twinvm status'"
			 : "no VM '%s' is protected by or for %s: see 'twinvm status'",
		 what, d->conf.host);
	end(c, several ? TV_E_AMBIGUOUS : -ENOENT, text);
	return NULL;
}

static void unprotect(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = known(d, c, msg);
	char text[300];

	if (!vm)
		return;
	if (vm->role == VM_BACKUP) {
		snprintf(text, sizeof(text), "%s is only the backup of %s: give the command on %s",
			 d->conf.host, vm->name, vm->peer_name);
		end(c, -EINVAL, text);
		return;
	}
	if (vm->waiter) {
		end(c, -EBUSY, "another twinvm command waits for this VM");
		return;
	}
	vm->wanted = false;
	if (!vm->replicator &&
	    vm->phase != VM_RECOVERING) { /* alone or fenced: nothing is attached */
		end(c, 0, "");
		vm_drop(vm);
		return;
	}
	vm_save(vm);
	vm->waiter = c;
	vm->waiter_leaves = true;
	ctl_set_arg(c, &waiter_ops, d);
	if (vm->rep)
		ctl_send(vm->rep, json_pack("{ss}", "op", "leave"));
}

static void failover(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = known(d, c, msg);
	char text[300];

	if (!vm)
		return;
	if (!json_is_true(json_object_get(msg, "force"))) {
		end(c, -ENOTSUP,
		    "planned failover is not built yet; --force on the backup promotes when the "
		    "primary is dead");
		return;
	}
	if (vm->role == VM_PRIMARY) {
		snprintf(text, sizeof(text),
			 "%s runs here on %s: --force is for the backup (%s), when this host is "
			 "dead",
			 vm->name, d->conf.host, vm->peer_name);
		end(c, TV_E_REFUSED, text);
		return;
	}
	if (!vm->rep || vm->waiter) {
		end(c, -EBUSY, "the standby is not ready to be asked: try again");
		return;
	}
	vm->waiter = c;
	vm->waiter_leaves = false;
	ctl_set_arg(c, &waiter_ops, d);
	ctl_send(vm->rep, json_pack("{ss}", "op", "promote"));
}

static void status(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = text_of(msg, "vm", NULL);
	json_t *list = json_array();
	struct vm *vm;
	bool several;

	if (what && !vm_find(d, what, &several)) {
		json_decref(list);
		known(d, c, msg);
		return;
	}
	TAILQ_FOREACH(vm, &d->vms, link)
	if (!what || !strcmp(vm->name, what) || !strcmp(vm->id, what) ||
	    vm == vm_find(d, what, &several))
		json_array_append_new(list, vm_status(vm));
	ctl_send(c, json_pack("{sb si so}", "done", 1, "rc", 0, "vms", list));
	ctl_close_when_sent(c);
}

void command_run(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct {
		const char *op;
		void (*run)(struct daemon *d, struct ctl *c, json_t *msg);
	} table[] = {{"protect", protect},
		     {"unprotect", unprotect},
		     {"failover", failover},
		     {"status", status}};
	const char *op = text_of(msg, "op", "");

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (!strcmp(table[i].op, op)) {
			table[i].run(d, c, msg);
			return;
		}
	end(c, -EINVAL, "unknown request: are twinvm and twinvmd of one version?");
}
