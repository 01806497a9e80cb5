/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMUs of this host that were stopped because another host runs their VM (a host that was frozen
 * or cut off, and came back): kept for inspection until the operator ends them or has the note
 * forgotten. Nothing here touches the processes. One file each in state_dir/kept, so that a daemon
 * that restarts still knows which names are in use.
 */
#include "daemon/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define K(name, member, kind, unit, meaning) \
	FIELD_AS(name, struct kept, member, kind, unit, meaning)
static const struct field file_list[] = {
	K("id", id, TEXT, "", "the VM's id"),
	K("name", name, TEXT, "", "the VM's name"),
	K("pid", qemu.pid, PID, "", "of the stopped QEMU"),
	K("start_ticks", qemu.start_ticks, U64, "clock ticks", "when that was started, since boot"),
	K("qmp", qemu.qmp_path, TEXT, "", "its QMP socket"),
	K("slot", slot, INT, "", "whose names it has on this host; -1: it never was a standby"),
	K("generation", generation, U64, "", "that it had"),
	K("reason", why, TEXT, "", "why it was stopped"),
};
const struct fields kept_fields = FIELDS("a stopped QEMU's file", file_list);

static void file_of(struct daemon *d, const struct kept *k, char *out, size_t room)
{
	snprintf(out, room, "%s/kept/%s-%d.json", d->conf.state_dir, k->id, (int)k->qemu.pid);
}

static void drop(struct daemon *d, struct kept *k)
{
	struct tv_err e;
	char path[300];

	file_of(d, k, path, sizeof(path));
	if (durable_remove(d, path, &e))
		tv_log(TV_WARN, "%s", e.text);
	TAILQ_REMOVE(&d->kept, k, link);
	free(k);
}

static bool lives(const struct kept *k)
{
	return k->qemu.pid > 0 && tv_pid_start_ticks(k->qemu.pid) == k->qemu.start_ticks;
}

void kept_add(struct vm *vm, const char *why)
{
	struct kept *k = calloc(1, sizeof(*k));
	TV_FREE char *text = NULL;
	char path[300];
	json_t *o;

	if (!k)
		abort();
	*k = (struct kept){
		.qemu = vm->saved.qemu, .slot = vm->saved.slot, .generation = vm->saved.generation};
	tv_copy(k->id, sizeof(k->id), vm->id);
	tv_copy(k->name, sizeof(k->name), vm->name);
	tv_copy(k->why, sizeof(k->why), why);
	TAILQ_INSERT_HEAD(&vm->d->kept, k, link);
	o = fields_write(&kept_fields, k);
	text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	file_of(vm->d, k, path, sizeof(path));
	if (!text)
		abort(); /* as above */
	durable_write_later(vm->d, path, text);
}

static void load_one(struct daemon *d, const char *path)
{
	json_error_t je;
	json_t *o = json_load_file(path, 0, &je);
	struct kept *k = calloc(1, sizeof(*k));
	struct tv_err e = {0};
	int rc;

	if (!k)
		abort();
	rc = o ? fields_read(&kept_fields, o, k, &e) : tv_fail(&e, -EINVAL, "%s", je.text);
	json_decref(o);
	if (rc) {
		tv_log(TV_ERROR, "%s is damaged (%s): ignored", path, e.text);
		free(k);
		return;
	}
	TAILQ_INSERT_HEAD(&d->kept, k, link);
}

void kept_load(struct daemon *d)
{
	char folder[256], path[600];
	struct dirent *ent;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/kept", d->conf.state_dir);
	dir = opendir(folder);
	while (dir && (ent = readdir(dir))) {
		size_t n = strlen(ent->d_name);

		if (n < 5 || strcmp(ent->d_name + n - 5, ".json") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, ent->d_name);
		load_one(d, path);
	}
	if (dir)
		closedir(dir);
	kept_prune(d);
}

void kept_prune(struct daemon *d)
{
	struct kept *k, *next;

	for (k = TAILQ_FIRST(&d->kept); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (lives(k))
			continue;
		tv_log(TV_INFO, "the stopped QEMU of %s (pid %d) has ended: its note goes", k->name,
		       (int)k->qemu.pid);
		drop(d, k);
	}
}

struct kept *kept_find(struct daemon *d, const char *what)
{
	struct kept *k;
	char *end;
	long pid = strtol(what, &end, 10);
	bool is_pid = *what && !*end;

	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		if (!strcmp(k->name, what) || !strcmp(k->id, what) ||
		    !strcmp(k->qemu.qmp_path, what) || (is_pid && k->qemu.pid == pid))
			return k;
	return NULL;
}

bool kept_is(struct daemon *d, pid_t pid)
{
	struct kept *k;

	TAILQ_FOREACH(k, &d->kept, link)
		if (k->qemu.pid == pid && lives(k))
			return true;
	return false;
}

unsigned kept_forget(struct daemon *d, const char *vm_id)
{
	struct kept *k, *next;
	unsigned n = 0;

	for (k = TAILQ_FIRST(&d->kept); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (strcmp(k->id, vm_id) != 0)
			continue;
		drop(d, k);
		n++;
	}
	return n;
}

json_t *kept_json(struct daemon *d, const char *vm_id)
{
	json_t *list = json_array();
	struct kept *k;

	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		if (!strcmp(k->id, vm_id))
			json_array_append_new(list, fields_write(&kept_fields, k));
	return list;
}

int kept_free_slot(struct daemon *d, const char *vm_id)
{
	unsigned taken = 0;
	struct kept *k;

	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link)
		if (!strcmp(k->id, vm_id) && k->slot >= 0)
			taken |= 1u << k->slot;
	for (int i = 0; i < SLOTS_MAX; i++)
		if (!(taken & 1u << i))
			return i;
	return -1;
}
