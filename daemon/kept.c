/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMUs of this host that were stopped because another host runs their VM (a host that was frozen
 * or cut off, and came back): kept for inspection until the operator ends them or has the note
 * forgotten. One file each in state_dir/kept, so that a daemon that restarts still knows which names
 * are in use.
 *
 * Each costs a VM's memory, and perhaps its images, so they are bounded. Where the arbiter decided,
 * nothing that left this host is missing in the VM that runs: its output followed commits and its
 * lease (rules 1 and 3). Such a copy is ended when this host is part of a whole pair again. Without
 * an arbiter an operator may have started a second instance while this one worked, so it stays. In
 * both cases only the newest one of a VM stays.
 */
#include "daemon/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END_S 5 /* to end in good order */

#define K(name, member, kind, unit, meaning) \
	FIELD_AS(name, struct kept, member, kind, unit, meaning)
/* Not in files of older daemons. */
#define K_NEW(field_name, member, field_meaning)                                     \
	{                                                                            \
		.name = (field_name), .kind = FIELD_BOOL, .unit = "",                \
		.offset = offsetof(struct kept, member), .room_bytes = sizeof(bool), \
		.meaning = (field_meaning), .optional = true                         \
	}
static const struct field file_list[] = {
	K("id", id, TEXT, "", "the VM's id"),
	K("name", name, TEXT, "", "the VM's name"),
	K("pid", qemu.pid, PID, "", "of the stopped QEMU"),
	K("start_ticks", qemu.start_ticks, U64, "clock ticks", "when that was started, since boot"),
	K("qmp", qemu.qmp_path, TEXT, "", "its QMP socket"),
	K("slot", slot, INT, "", "whose names it has on this host; -1: it never was a standby"),
	K("generation", generation, U64, "", "that it had"),
	K("reason", why, TEXT, "", "why it was stopped"),
	K_NEW("by_record", by_record,
	      "the arbiter decided: nothing is lost with it, and it is "
	      "ended when the VM is protected again"),
	K_NEW("ending", ending, "it is being ended"),
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
	if (k->end)
		event_free(k->end);
	tv_close_fd(&k->pidfd);
	free(k);
}

static void save(const struct kept *k)
{
	json_t *o = fields_write(&kept_fields, k);
	char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	char path[300];

	json_decref(o);
	if (!text)
		abort(); /* no memory */
	file_of(k->d, k, path, sizeof(path));
	durable_write_later(k->d, path, text);
	free(text);
}

static bool lives(const struct kept *k)
{
	return k->qemu.pid > 0 && tv_pid_start_ticks(k->qemu.pid) == k->qemu.start_ticks;
}

/* ---- the end of one ---- */
static void note_ended(const struct kept *k, const char *more)
{
	const struct events_about about = {
		.vm = k->name, .vm_id = k->id, .generation = k->generation};

	events_add(k->d, EVENTS_KEPT_ENDED, &about, NULL,
		   "the stopped QEMU of %s (pid %d) has ended%s", k->name, (int)k->qemu.pid, more);
}

static void ended(struct kept *k)
{
	kept_remove_images(k);
	note_ended(k, "");
	drop(k->d, k);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct kept *k = arg;

	if (what & EV_READ) {
		ended(k);
		return;
	}
	/* a stopped process, or a QEMU that hangs */
	syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	event_add(k->end, NULL);
}

static void end(struct kept *k, const char *why)
{
	const struct timeval patience = {END_S, 0};

	if (k->end || !lives(k))
		return;
	tv_log(TV_INFO, "the stopped QEMU of %s (pid %d, generation %llu) is ended: %s", k->name,
	       (int)k->qemu.pid, (unsigned long long)k->generation, why);
	k->ending = true;
	save(k);
	k->pidfd = (int)syscall(SYS_pidfd_open, k->qemu.pid, 0);
	if (k->pidfd < 0 || !lives(k)) /* its number may be another's by now */
		return;
	k->end = event_new(k->d->base, k->pidfd, EV_READ, on_end, k);
	if (!k->end || event_add(k->end, &patience))
		abort();
	syscall(SYS_pidfd_send_signal, k->pidfd, SIGTERM, NULL, 0);
}

void kept_protected(struct daemon *d, const char *vm_id, uint64_t generation)
{
	struct kept *k;

	TAILQ_FOREACH(k, &d->kept, link)
		if (!strcmp(k->id, vm_id) && k->by_record && k->generation < generation)
			end(k, "the VM is protected again, and nothing of it is lost");
}

/* ---- notes ---- */
void kept_add(struct vm *vm, const char *why)
{
	struct kept *k = calloc(1, sizeof(*k)), *old;

	if (!k)
		abort();
	TAILQ_FOREACH(old, &vm->d->kept, link)
		if (!strcmp(old->id, vm->id))
			end(old, "a newer one of this VM is kept");
	*k = (struct kept){.d = vm->d,
			   .qemu = vm->saved.qemu,
			   .slot = vm->saved.slot,
			   .generation = vm->saved.generation,
			   .by_record =
				   vm->saved.arbiter[0] && strcmp(vm->saved.arbiter, "none") != 0,
			   .pidfd = -1};
	tv_copy(k->id, sizeof(k->id), vm->id);
	tv_copy(k->name, sizeof(k->name), vm->name);
	tv_copy(k->why, sizeof(k->why), why);
	TAILQ_INSERT_HEAD(&vm->d->kept, k, link);
	save(k);
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
	k->d = d;
	k->pidfd = -1;
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
	struct kept *k;
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
	TAILQ_FOREACH(k, &d->kept, link)
		if (k->ending)
			end(k, "as was begun before twinvmd restarted");
}

void kept_prune(struct daemon *d)
{
	struct kept *k, *next;

	for (k = TAILQ_FIRST(&d->kept); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (lives(k))
			continue;
		if (k->ending) {
			ended(k);
			continue;
		}
		note_ended(k, ": its note goes");
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
	struct kept_cost cost;
	struct kept *k;
	json_t *o;

	kept_prune(d);
	TAILQ_FOREACH(k, &d->kept, link) {
		if (strcmp(k->id, vm_id) != 0)
			continue;
		cost = kept_cost(k);
		o = fields_write(&kept_fields, k);
		if (!fields_add(&kept_cost_fields, &cost, o))
			json_array_append(list, o);
		json_decref(o);
	}
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
