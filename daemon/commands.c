/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's side of `twinvm`: one request a connection, lines of progress, one last line with
 * rc. */
#include "daemon/daemon.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/source/pace.h"

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

/* Not what a person means by a VM's name: a standby, and one that was stopped for good. */
static bool is_no_vm(pid_t pid, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->role == VM_BACKUP && vm->qemu.pid == pid)
			return true;
	return kept_is(d, pid);
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

/* Why a VM that we know cannot be protected now; "" when it can. */
static void in_the_way(struct vm *vm, char *text, size_t room)
{
	*text = 0;
	if (vm->role == VM_BACKUP)
		snprintf(text, room, "%s is the backup of %s: give the command on %s",
			 vm->d->conf.host, vm->name, vm->peer_name);
	else if (vm->phase == VM_FENCING)
		snprintf(text, room, "%s is being stopped here because another host runs it",
			 vm->name);
	else if (vm->waiter)
		snprintf(text, room, "another twinvm command waits for %s", vm->name);
	else if (vm->phase == VM_RECOVERING)
		snprintf(text, room,
			 "%s is being cleaned up after a replicator that died: it is "
			 "protected again by itself",
			 vm->name);
	else if (!vm->was_protected || (vm->stats && vm->phase == VM_RUNNING &&
					!strcmp(text_of(vm->stats, "state", ""), "protected")))
		snprintf(text, room, "%s is already protected (backup: %s)", vm->name,
			 vm->peer_name);
}

static void wait_for(struct vm *vm, struct ctl *c, bool leaves)
{
	vm->waiter = c;
	vm->waiter_leaves = leaves;
	ctl_set_arg(c, &waiter_ops, vm->d);
}

/* It is to be protected again anyway: by this host, then. True when the command waits for that. */
static bool joins_try(struct vm *vm, struct ctl *c, const struct config_peer *peer)
{
	if (!vm || vm->phase != VM_RUNNING)
		return false;
	if (strcmp(vm->peer_host, peer->host) != 0 || vm->peer_port != peer->port) {
		snprintf(vm->asked.name, sizeof(vm->asked.name), "%s", peer->name);
		snprintf(vm->asked.address, sizeof(vm->asked.address), "%s", peer->host);
		vm->asked.port = peer->port;
	}
	wait_for(vm, c, false);
	return true;
}

/* Finds the VM, known or not, and who is to protect it. */
static int find_both(struct daemon *d, json_t *msg, struct vm **vm, struct hv_vm_id *id,
		     struct config_peer *peer, struct tv_err *e)
{
	const char *what = text_of(msg, "vm", "");
	bool several;
	int rc;

	*vm = vm_find(d, what, &several);
	if (*vm) {
		in_the_way(*vm, e->text, sizeof(e->text));
		if (e->text[0])
			return -EALREADY;
	}
	rc = config_peer(&d->conf, text_of(msg, "to", ""), peer, e);
	if (rc)
		return rc;
	rc = hv_find(*vm ? (*vm)->qemu.qmp_path : what, is_no_vm, d, id, e);
	if (rc == -ENOENT && !*vm && kept_find(d, what))
		return tv_fail(e, TV_E_REFUSED,
			       "%s was stopped here because another host runs it: see 'twinvm "
			       "status %s'",
			       what, what);
	if (rc)
		return rc;
	if (!*vm && by_process(d, id))
		return tv_fail(e, -EALREADY, "%s is already protected (backup: %s)",
			       by_process(d, id)->name, by_process(d, id)->peer_name);
	return 0;
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
	const char *mode = text_of(msg, "mode", d->conf.mode);
	json_int_t epoch_ms = json_integer_value(json_object_get(msg, "epoch_ms"));
	const char *arbiter = text_of(msg, "arbiter", d->conf.arbiter);
	struct config_peer peer = {0};
	struct hv_vm_id id = {0};
	enum pace_mode parsed;
	struct tv_err e = {0};
	struct vm *vm;
	bool fresh;
	int rc;

	if (pace_mode_parse(mode, &parsed) || epoch_ms < 0 || epoch_ms > 60000) {
		end(c, -EINVAL, "mode is adaptive, remus or kemari, and --epoch 1 to 60000 ms");
		return;
	}
	rc = check_arbiter(d, arbiter, &e);
	if (!rc)
		rc = find_both(d, msg, &vm, &id, &peer, &e);
	if (rc) {
		end(c, rc, e.text);
		return;
	}
	if (joins_try(vm, c, &peer))
		return;
	fresh = !vm;
	vm = vm ? vm : entry_for(d, &id);
	vm->fresh = fresh;
	vm->was_protected = false;
	snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", peer.name);
	snprintf(vm->peer_host, sizeof(vm->peer_host), "%s", peer.host);
	vm->peer_port = peer.port;
	/* A VM that has changed hosts keeps its arbiter: its record is there. */
	if (fresh || json_object_get(msg, "mode"))
		snprintf(vm->mode, sizeof(vm->mode), "%s", mode);
	if (fresh || json_object_get(msg, "arbiter"))
		snprintf(vm->arbiter, sizeof(vm->arbiter), "%s", arbiter);
	if (fresh || epoch_ms)
		vm->epoch_ms = epoch_ms ? (int)epoch_ms : d->conf.epoch_ms;
	reprotect_begun(vm);
	rc = vm_start_source(vm, &e);
	if (rc) {
		end(c, rc, e.text);
		if (fresh)
			vm_drop(vm);
		return;
	}
	wait_for(vm, c, false);
	vm_progress(vm, "syncing", 0.0);
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

/* What was stopped here is forgotten; true when that was all there was to do. */
static bool forget_kept(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = text_of(msg, "vm", "");
	bool several, only = json_is_true(json_object_get(msg, "kept"));
	struct kept *k = kept_find(d, what);
	char text[300];

	if (!only && vm_find(d, what, &several))
		return false;
	if (k) {
		kept_forget(d, k->id);
		end(c, 0, "");
	} else if (only) {
		snprintf(text, sizeof(text), "no stopped QEMU of '%s' is kept on %s", what,
			 d->conf.host);
		end(c, -ENOENT, text);
	}
	return k || only;
}

static void unprotect(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm;
	char text[300];

	if (forget_kept(d, c, msg))
		return;
	vm = known(d, c, msg);
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
	fo_reprotect_stop(&vm->reprotect);
	if (vm->phase == VM_IDLE) { /* alone: nothing is attached */
		end(c, 0, "");
		vm_drop(vm);
		return;
	}
	vm_save(vm);
	wait_for(vm, c, true);
	if (vm->rep)
		ctl_send(vm->rep, json_pack("{ss}", "op", "leave"));
}

static void force(struct daemon *d, struct ctl *c, struct vm *vm)
{
	char text[300];

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
	wait_for(vm, c, false);
	ctl_send(vm->rep, json_pack("{ss}", "op", "promote"));
}

/* A switch of roles, ordered from where the VM runs. */
static void failover(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = known(d, c, msg);
	char text[300];

	if (!vm)
		return;
	if (json_is_true(json_object_get(msg, "force"))) {
		force(d, c, vm);
		return;
	}
	if (vm->role == VM_BACKUP) {
		snprintf(text, sizeof(text),
			 "%s runs on %s: give the command there (or, when that host is dead, "
			 "--force here)",
			 vm->name, vm->peer_name);
		end(c, -EINVAL, text);
		return;
	}
	if (vm->waiter) {
		end(c, -EBUSY, "another twinvm command waits for this VM");
		return;
	}
	if (!vm->rep || vm->phase != VM_RUNNING ||
	    strcmp(text_of(vm->stats, "state", ""), "protected") != 0) {
		snprintf(text, sizeof(text),
			 "%s has no backup that could take over: wait until 'twinvm status' says "
			 "protected",
			 vm->name);
		end(c, TV_E_REFUSED, text);
		return;
	}
	wait_for(vm, c, false);
	ctl_send(vm->rep, json_pack("{ss}", "op", "switch"));
}

static bool first_of(struct daemon *d, const struct kept *k)
{
	struct kept *o;

	TAILQ_FOREACH(o, &d->kept, link)
		if (!strcmp(o->id, k->id))
			return o == k;
	return false;
}

static void status(struct daemon *d, struct ctl *c, json_t *msg)
{
	const char *what = text_of(msg, "vm", NULL);
	json_t *list = json_array();
	struct kept *k;
	struct vm *vm;
	bool several;

	if (what && !vm_find(d, what, &several) && !kept_find(d, what)) {
		json_decref(list);
		known(d, c, msg);
		return;
	}
	TAILQ_FOREACH(vm, &d->vms, link)
		if (!what || !strcmp(vm->name, what) || !strcmp(vm->id, what) ||
		    vm == vm_find(d, what, &several))
			json_array_append_new(list, vm_status(vm));
	/* One line for a VM that is nothing here but kept. */
	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		if (!vm_by_id(d, k->id) && first_of(d, k) &&
		    (!what || kept_find(d, what) == k || !strcmp(k->id, what)))
			json_array_append_new(list, kept_status(d, k));
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
