/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMs this host has a part in, in memory and as one JSON file each in state_dir/vms. */
#include "daemon/daemon.h"
#include "netbuffer/netbuffer.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct vm *vm_new(struct daemon *d, const char *id, const char *name, enum vm_role role)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		abort(); /* a daemon without a kilobyte of memory cannot supervise; its replicators
			    go on */
	vm->d = d;
	vm->role = role;
	snprintf(vm->id, sizeof(vm->id), "%s", id);
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	snprintf(vm->mode, sizeof(vm->mode), "%s", d->conf.mode);
	snprintf(vm->arbiter, sizeof(vm->arbiter), "none");
	vm->epoch_ms = d->conf.epoch_ms;
	vm->generation = 1;
	vm->slot = -1;
	TAILQ_INSERT_TAIL(&d->vms, vm, link);
	return vm;
}

static void file_of(const struct vm *vm, char *out, size_t room)
{
	snprintf(out, room, "%s/vms/%s.json", vm->d->conf.state_dir, vm->id);
}

void vm_drop(struct vm *vm)
{
	struct tv_err e = {0};
	char path[300];

	/* Of a replicator that died and a VM that has ended, nobody else would. */
	if (vm->role == VM_PRIMARY && nb_plug_clean(vm->id, false, &e))
		tv_log(TV_WARN, "%s: %s", vm->name, e.text);
	file_of(vm, path, sizeof(path));
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s/page", vm->d->conf.run_dir, vm->id);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", vm->d->conf.run_dir, vm->id);
	rmdir(path); /* stays when a promoted VM's socket and log lie in it */
	if (vm->dir[0]) {
		promotion_forget(vm->dir);
		rmdir(vm->dir);
	}
	TAILQ_REMOVE(&vm->d->vms, vm, link);
	stash_close(vm);
	fence_command_drop(vm);
	if (vm->timer)
		event_free(vm->timer);
	waiting_release(vm);
	json_decref(vm->stats);
	free(vm);
}

/* ---- one timer per VM ---- */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd;
	(void)what;
	vm->d->due(vm);
}

void vm_timer(struct vm *vm, int64_t ns)
{
	struct timeval tv = tv_timeval(ns);

	if (!vm->timer)
		vm->timer = evtimer_new(vm->d->base, on_timer, vm);
	event_add(vm->timer, &tv);
}

struct vm *vm_by_id(struct daemon *d, const char *id)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->id, id))
			return vm;
	return NULL;
}

struct vm *vm_find(struct daemon *d, const char *what, bool *several)
{
	struct vm *vm, *found = NULL;
	char *end;
	long pid = strtol(what, &end, 10);
	bool is_pid = *what && !*end;

	*several = false;
	TAILQ_FOREACH(vm, &d->vms, link) {
		if (strcmp(vm->name, what) != 0 && strcmp(vm->id, what) != 0 &&
		    strcmp(vm->qemu.qmp_path, what) != 0 && !(is_pid && vm->qemu.pid == pid))
			continue;
		*several = found != NULL;
		found = vm;
	}
	return found;
}

bool vm_lives(const struct vm *vm)
{
	return vm->qemu.pid > 0 && tv_pid_start_ticks(vm->qemu.pid) == vm->qemu.start_ticks;
}

void vm_save(const struct vm *vm)
{
	json_t *o = json_pack(
		"{ss ss ss si sI ss ss si ss ss si ss ss ss si sI sb sb ss s{ss ss si}}", "id",
		vm->id, "name", vm->name, "role", vm->role == VM_PRIMARY ? "primary" : "backup",
		"pid", (int)vm->qemu.pid, "start_ticks", (json_int_t)vm->qemu.start_ticks, "qmp",
		vm->qemu.qmp_path, "dir", vm->dir, "slot", vm->slot, "peer_name", vm->peer_name,
		"peer_host", vm->peer_host, "peer_port", (int)vm->peer_port, "mode", vm->mode,
		"arbiter", vm->arbiter, "session", vm->session, "epoch_ms", vm->epoch_ms,
		"generation", (json_int_t)vm->generation, "wanted", vm->reprotect.on,
		"was_protected", vm->was_protected, "reason", vm->reason, "last", "name",
		vm->last.name, "address", vm->last.address, "port", (int)vm->last.port);
	TV_FREE char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	char path[300];
	int rc;

	json_decref(o);
	file_of(vm, path, sizeof(path));
	rc = text ? tv_write_file(path, text, strlen(text)) : -ENOMEM;
	if (rc)
		tv_log(TV_ERROR, "%s: %s; a restart of twinvmd would not know of %s", path,
		       tv_strerror(rc), vm->name);
}

static void text_of(json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(out, room, "%s", s ? s : "");
}

static json_int_t int_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void load_one(struct daemon *d, const char *path)
{
	json_error_t je;
	json_t *o = json_load_file(path, 0, &je);
	char id[33], name[128], role[16];
	json_t *last = json_object_get(o, "last");
	struct vm *vm;

	text_of(o, "id", id, sizeof(id));
	text_of(o, "name", name, sizeof(name));
	text_of(o, "role", role, sizeof(role));
	if (!o || strlen(id) != 32) {
		tv_log(TV_ERROR, "%s is damaged (%s): ignored", path, je.text);
		json_decref(o);
		return;
	}
	vm = vm_new(d, id, name, !strcmp(role, "backup") ? VM_BACKUP : VM_PRIMARY);
	vm->qemu.pid = (pid_t)int_of(o, "pid");
	vm->qemu.start_ticks = (uint64_t)int_of(o, "start_ticks");
	snprintf(vm->qemu.name, sizeof(vm->qemu.name), "%s", name);
	text_of(o, "qmp", vm->qemu.qmp_path, sizeof(vm->qemu.qmp_path));
	text_of(o, "dir", vm->dir, sizeof(vm->dir));
	text_of(o, "peer_name", vm->peer_name, sizeof(vm->peer_name));
	text_of(o, "peer_host", vm->peer_host, sizeof(vm->peer_host));
	vm->peer_port = (uint16_t)int_of(o, "peer_port");
	text_of(o, "mode", vm->mode, sizeof(vm->mode));
	text_of(o, "arbiter", vm->arbiter, sizeof(vm->arbiter));
	text_of(o, "session", vm->session, sizeof(vm->session));
	text_of(o, "reason", vm->reason, sizeof(vm->reason));
	vm->epoch_ms = (int)int_of(o, "epoch_ms");
	vm->generation = (uint64_t)int_of(o, "generation");
	vm->slot = json_object_get(o, "slot") ? (int)int_of(o, "slot") : -1;
	text_of(last, "name", vm->last.name, sizeof(vm->last.name));
	text_of(last, "address", vm->last.address, sizeof(vm->last.address));
	vm->last.port = (uint16_t)int_of(last, "port");
	vm->highest = generation_seen(d, id);
	vm->reprotect.on = json_is_true(json_object_get(o, "wanted"));
	vm->was_protected = json_is_true(json_object_get(o, "was_protected"));
	json_decref(o);
}

void registry_load(struct daemon *d)
{
	char folder[256], path[600];
	struct dirent *ent;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/vms", d->conf.state_dir);
	dir = opendir(folder);
	while (dir && (ent = readdir(dir))) {
		size_t n = strlen(ent->d_name);

		if (n != 37 || strcmp(ent->d_name + 32, ".json") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, ent->d_name);
		load_one(d, path);
	}
	if (dir)
		closedir(dir);
}
