/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMUs of this host that were stopped because another host runs their VM (a host that was frozen
 * or cut off, and came back): kept for inspection until their user ends them or says that the note
 * can go. Nothing here touches the processes. One file each in state_dir/kept, so that a daemon
 * that restarts still knows whose names are taken.
 */
#include "daemon/daemon.h"
#include "replicator/session/session.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void file_of(struct daemon *d, const struct kept *k, char *out, size_t room)
{
	snprintf(out, room, "%s/kept/%s-%d.json", d->conf.state_dir, k->id, (int)k->qemu.pid);
}

static void drop(struct daemon *d, struct kept *k)
{
	char path[300];

	file_of(d, k, path, sizeof(path));
	unlink(path);
	TAILQ_REMOVE(&d->kept, k, link);
	free(k);
}

static bool lives(const struct kept *k)
{
	return k->qemu.pid > 0 && tv_pid_start_ticks(k->qemu.pid) == k->qemu.start_ticks;
}

static json_t *to_json(const struct kept *k)
{
	return json_pack("{ss ss si sI ss si sI ss}", "id", k->id, "name", k->name, "pid",
			 (int)k->qemu.pid, "start_ticks", (json_int_t)k->qemu.start_ticks, "qmp",
			 k->qemu.qmp_path, "slot", k->slot, "generation", (json_int_t)k->generation,
			 "reason", k->why);
}

void kept_add(struct vm *vm, const char *why)
{
	struct kept *k = calloc(1, sizeof(*k));
	TV_FREE char *text = NULL;
	char path[300];
	json_t *o;

	if (!k)
		abort();
	*k = (struct kept){.qemu = vm->qemu, .slot = vm->slot, .generation = vm->generation};
	snprintf(k->id, sizeof(k->id), "%s", vm->id);
	snprintf(k->name, sizeof(k->name), "%s", vm->name);
	snprintf(k->why, sizeof(k->why), "%s", why);
	TAILQ_INSERT_HEAD(&vm->d->kept, k, link);
	o = to_json(k);
	text = json_dumps(o, JSON_INDENT(1));
	json_decref(o);
	file_of(vm->d, k, path, sizeof(path));
	if (!text || tv_write_file(path, text, strlen(text)))
		tv_log(TV_ERROR, "%s cannot be written: a restart of twinvmd would not know of it",
		       path);
}

static void load_one(struct daemon *d, const char *path)
{
	json_t *o = json_load_file(path, 0, NULL);
	const char *id, *name, *qmp, *why;
	json_int_t ticks, generation;
	int pid, slot;
	struct kept *k;

	if (json_unpack(o, "{ss ss si sI ss si sI ss}", "id", &id, "name", &name, "pid", &pid,
			"start_ticks", &ticks, "qmp", &qmp, "slot", &slot, "generation",
			&generation, "reason", &why)) {
		tv_log(TV_ERROR, "%s is damaged: ignored", path);
		json_decref(o);
		return;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		abort();
	k->qemu.pid = pid;
	k->qemu.start_ticks = (uint64_t)ticks;
	k->slot = slot;
	k->generation = (uint64_t)generation;
	snprintf(k->id, sizeof(k->id), "%s", id);
	snprintf(k->name, sizeof(k->name), "%s", name);
	snprintf(k->qemu.qmp_path, sizeof(k->qemu.qmp_path), "%s", qmp);
	snprintf(k->why, sizeof(k->why), "%s", why);
	json_decref(o);
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
			json_array_append_new(list, to_json(k));
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
