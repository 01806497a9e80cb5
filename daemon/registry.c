/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMs this host has a part in, in memory and as one JSON file each in state_dir/vms. */
#include "daemon/freeze.h"
#include "daemon/daemon.h"
#include "netbuffer/netbuffer.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the file ---- */
#define NEEDED(field_name, member, field_kind) \
	FIELD_AS(field_name, struct vm, member, field_kind, "", "")
/* A file of an older version may lack it. */
#define OPTIONAL(field_name, member, field_kind)                                           \
	{                                                                                  \
		.name = (field_name), .kind = FIELD_##field_kind,                          \
		.offset = offsetof(struct vm, member),                                     \
		.room_bytes = sizeof(((struct vm *)0)->member), .unit = "", .meaning = "", \
		.optional = true                                                           \
	}
static const struct field list[] = {
	NEEDED("id", id, TEXT),
	NEEDED("name", name, TEXT),
	FIELD_ENUM(struct vm, role, &session_role_words, ""),
	NEEDED("pid", saved.qemu.pid, PID),
	NEEDED("start_ticks", saved.qemu.start_ticks, U64),
	NEEDED("qmp", saved.qemu.qmp_path, TEXT),
	NEEDED("generation", saved.generation, U64),
	OPTIONAL("number", saved.qemu.number, INT),
	OPTIONAL("uuid", saved.qemu.uuid, TEXT),
	OPTIONAL("dir", saved.dir, TEXT),
	OPTIONAL("slot", saved.slot, INT),
	OPTIONAL("peer_name", saved.peer.name, TEXT),
	OPTIONAL("peer_host", saved.peer.address, TEXT),
	OPTIONAL("peer_port", saved.peer.port, PORT),
	OPTIONAL("mode", saved.mode, TEXT),
	OPTIONAL("arbiter", saved.arbiter, TEXT),
	OPTIONAL("session", saved.session, TEXT),
	OPTIONAL("epoch_ms", saved.epoch_ms, INT),
	OPTIONAL("wanted", reprotect.on, BOOL),
	OPTIONAL("was_protected", saved.was_protected, BOOL),
	OPTIONAL("uuid", saved.uuid, TEXT),
	OPTIONAL("suspended", saved.suspended, BOOL),
	OPTIONAL("leaving", saved.leaving, BOOL),
	OPTIONAL("away", saved.away, BOOL),
	OPTIONAL("reason", saved.reason, TEXT),
	OPTIONAL("state", saved.state, TEXT),
	OPTIONAL("state_since", saved.state_since, F64),
	OPTIONAL("last.name", saved.last.name, TEXT),
	OPTIONAL("last.address", saved.last.address, TEXT),
	OPTIONAL("last.port", saved.last.port, PORT),
};
static const struct fields file_fields = FIELDS("a VM's file", list);

static void file_of(const struct vm *vm, char *out, size_t room)
{
	snprintf(out, room, "%s/vms/%s.json", vm->d->conf.state_dir, vm->id);
}

static char *file_text(const struct vm *vm)
{
	json_t *o = fields_write(&file_fields, vm);
	char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	if (!text)
		abort(); /* as vm_new */
	return text;
}

int vm_save(const struct vm *vm, struct tv_err *e)
{
	TV_FREE char *text = file_text(vm);
	char path[300];

	file_of(vm, path, sizeof(path));
	return durable_write(vm->d, path, text, e);
}

void vm_save_later(const struct vm *vm)
{
	TV_FREE char *text = file_text(vm);
	char path[300];

	file_of(vm, path, sizeof(path));
	durable_write_later(vm->d, path, text);
}

int vm_unsave(const struct vm *vm, struct tv_err *e)
{
	char path[300];
	int rc;

	file_of(vm, path, sizeof(path));
	rc = durable_remove(vm->d, path, e);
	return rc ? tv_fail(e, rc,
			    "%s on %s cannot be removed (%s): %s is not protected any more, but a "
			    "restart of twinvmd would protect it again; remove the file",
			    path, vm->d->conf.host, tv_strerror(rc), vm->name)
		  : 0;
}

/* ---- the list ---- */
static void fill_in(struct vm *vm, struct daemon *d)
{
	vm->d = d;
	vm->trace_fd = vm->former_trace_fd = -1;
	tv_copy(vm->saved.mode, sizeof(vm->saved.mode), d->conf.mode);
	tv_copy(vm->saved.arbiter, sizeof(vm->saved.arbiter), "none");
	vm->saved.epoch_ms = d->conf.epoch_ms;
	vm->saved.generation = 1;
	vm->saved.slot = -1;
}

struct vm *vm_new(struct daemon *d, const char *id, const char *name, enum session_role role)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		abort(); /* a daemon without memory cannot supervise; its replicators keep running */
	fill_in(vm, d);
	vm->role = role;
	tv_copy(vm->id, sizeof(vm->id), id);
	tv_copy(vm->name, sizeof(vm->name), name);
	TAILQ_INSERT_TAIL(&d->vms, vm, link);
	return vm;
}

/* What lies about on this host for it. */
static void remove_files(const struct vm *vm)
{
	const char *run_dir = vm->d->conf.run_dir;
	struct tv_err e;
	char path[CAP_PAGE_PATH];

	if (vm_unsave(vm, &e))
		tv_log(TV_WARN, "%s", e.text);
	cap_page_path(run_dir, vm->id, path);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", run_dir, vm->id);
	rmdir(path); /* stays when a promoted VM's socket and log lie in it */
	if (vm->saved.dir[0]) {
		notes_forget(vm->saved.dir);
		rmdir(vm->saved.dir);
	}
}

void vm_drop(struct vm *vm)
{
	struct tv_err e = {0};

	/* After a replicator that died and a VM that has ended, no other process does this. */
	if (vm->role == SESSION_PRIMARY && nb_plug_clean(vm->id, false, &e))
		tv_log(TV_WARN, "%s: %s", vm->name, e.text);
	asked_drop(vm, vm_lives(vm));
	remove_files(vm);
	TAILQ_REMOVE(&vm->d->vms, vm, link);
	stash_close(vm);
	freeze_lost(vm);
	tv_close_fd(&vm->trace_fd);
	tv_close_fd(&vm->former_trace_fd);
	fence_command_drop(vm);
	proxies_end(vm->d, vm->id);
	if (vm->timer)
		event_free(vm->timer);
	waiting_release(vm);
	json_decref(vm->disks);
	free(vm->ready);
	free(vm);
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
	bool is_pid = *what && !*end && pid > 0;

	*several = false;
	TAILQ_FOREACH(vm, &d->vms, link) {
		if (strcmp(vm->name, what) != 0 && strcmp(vm->id, what) != 0 &&
		    strcmp(vm->saved.qemu.qmp_path, what) != 0 &&
		    (!*what || strcasecmp(vm->saved.qemu.uuid, what) != 0) &&
		    !(is_pid && (vm->saved.qemu.pid == pid || vm->saved.qemu.number == pid)))
			continue;
		*several = found != NULL;
		found = vm;
	}
	return found;
}

void vm_learn_standby(struct vm *vm)
{
	struct hv_vm_id *qemu = &vm->saved.qemu;
	struct standby_note n;

	if (!vm->saved.dir[0] || !standby_noted(vm->saved.dir, &n))
		return;
	qemu->pid = n.pid;
	qemu->start_ticks = n.start_ticks;
	tv_copy(qemu->qmp_path, sizeof(qemu->qmp_path), n.qmp);
}

bool vm_lives(const struct vm *vm)
{
	const struct hv_vm_id *qemu = &vm->saved.qemu;

	return qemu->pid > 0 && tv_pid_start_ticks(qemu->pid) == qemu->start_ticks;
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

/* ---- after a start ---- */
static void load_one(struct daemon *d, const char *path)
{
	json_error_t je;
	json_t *o = json_load_file(path, 0, &je);
	struct vm read = {0}, *vm;
	struct tv_err e = {0};
	int rc;

	fill_in(&read, d);
	rc = o ? fields_read(&file_fields, o, &read, &e) : tv_fail(&e, -EINVAL, "%s", je.text);
	json_decref(o);
	if (!rc && strlen(read.id) != 32)
		rc = tv_fail(&e, -EINVAL, "its id is not of 32 characters");
	if (rc) {
		tv_log(TV_ERROR, "%s is damaged (%s): ignored", path, e.text);
		return;
	}
	vm = vm_new(d, read.id, read.name, read.role);
	vm->saved = read.saved;
	vm->reprotect.on = read.reprotect.on;
	tv_copy(vm->saved.qemu.name, sizeof(vm->saved.qemu.name), vm->name);
	vm->highest = generation_seen(d, vm->id);
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
