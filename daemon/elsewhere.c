/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs that another host runs, or may run: what this host must not start by itself (may_start.c). One
 * file each in state_dir/elsewhere, written before another host can get the VM, and removed when it is
 * this host's alone again or its protection has ended. It outlives the VM's entry and the host: an old
 * primary that was switched off knows of its VM by this note only. It is also read where twinvmd does
 * not run (start_hook.c).
 *
 * A VM is known by its UUID, which libvirt gives every domain. One that a peer offers has the UUID that
 * the peer says: of one host's notes the newest KEEP_PER_HOST stay. Only a VM that has run here is marked
 * as this host's own: what a peer offers may take the place of such a domain's definition, and of no
 * other (own_noted in replicator/session/notes.c, lv/standby.c).
 */
#include "daemon/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_PER_HOST 512

#define E(name, member, kind) FIELD_AS(name, struct elsewhere, member, kind, "", "")
static const struct field list[] = {
	E("id", id, TEXT),
	E("name", name, TEXT),
	E("uuid", uuid, TEXT),
	E("host", host, TEXT),
	E("arbiter", arbiter, TEXT),
	E("session", session, TEXT),
	E("runs", runs, BOOL),
	E("generation", generation, U64),
	{.name = "released", /* like the next one */
	 .kind = FIELD_BOOL,
	 .unit = "",
	 .offset = offsetof(struct elsewhere, released),
	 .room_bytes = sizeof(bool),
	 .meaning = "",
	 .optional = true},
	{.name = "own", /* not in files of older daemons */
	 .kind = FIELD_BOOL,
	 .unit = "",
	 .offset = offsetof(struct elsewhere, own),
	 .room_bytes = sizeof(bool),
	 .meaning = "",
	 .optional = true},
};
static const struct fields file_fields = FIELDS("a note of a VM elsewhere", list);

bool elsewhere_is_uuid(const char *text)
{
	for (unsigned i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	}
	return !text[36];
}

static void file_of(const struct daemon *d, const char *vm_id, char *out, size_t room)
{
	snprintf(out, room, "%s/elsewhere/%s.json", d->conf.state_dir, vm_id);
}

static int load_one(const char *path, struct elsewhere *out)
{
	json_t *o = json_load_file(path, 0, NULL);
	struct tv_err e = {0};
	int rc;

	*out = (struct elsewhere){0};
	rc = o ? fields_read(&file_fields, o, out, &e) : tv_fail(&e, -EINVAL, "no JSON");
	json_decref(o);
	if (!rc && (strlen(out->id) != 32 || !elsewhere_is_uuid(out->uuid)))
		rc = tv_fail(&e, -EINVAL, "its ids are invalid");
	if (rc)
		tv_log(TV_ERROR, "%s is damaged (%s): ignored", path, e.text);
	return rc;
}

void elsewhere_each(const char *state_dir, void (*cb)(const struct elsewhere *x, void *arg),
		    void *arg)
{
	char folder[256], path[600];
	struct elsewhere x;
	struct dirent *de;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/elsewhere", state_dir);
	dir = opendir(folder);
	while (dir && (de = readdir(dir))) {
		size_t n = strlen(de->d_name);

		snprintf(path, sizeof(path), "%s/%s", folder, de->d_name);
		if (n == 37 && !strcmp(de->d_name + 32, ".json") && !load_one(path, &x))
			cb(&x, arg);
	}
	if (dir)
		closedir(dir);
}

static void add(const struct elsewhere *x, void *arg)
{
	struct elsewhere *mine = malloc(sizeof(*mine));
	struct daemon *d = arg;

	if (!mine)
		abort(); /* as vm_new */
	*mine = *x;
	TAILQ_INSERT_HEAD(&d->elsewhere, mine, link);
}

void elsewhere_load(struct daemon *d)
{
	elsewhere_each(d->conf.state_dir, add, d);
}

struct elsewhere *elsewhere_of(struct daemon *d, const char *vm_id)
{
	struct elsewhere *x;

	TAILQ_FOREACH(x, &d->elsewhere, link)
		if (!strcmp(x->id, vm_id))
			return x;
	return NULL;
}

struct elsewhere *elsewhere_find(struct daemon *d, const char *what)
{
	struct elsewhere *x;

	TAILQ_FOREACH(x, &d->elsewhere, link)
		if (!x->released &&
		    (!strcmp(x->uuid, what) || !strcmp(x->name, what) || !strcmp(x->id, what)))
			return x;
	return NULL;
}

void elsewhere_forget(struct daemon *d, const char *vm_id)
{
	struct elsewhere *x = elsewhere_of(d, vm_id);
	struct tv_err e;
	char path[300];

	if (!x)
		return;
	file_of(d, vm_id, path, sizeof(path));
	if (durable_remove(d, path, &e))
		tv_log(TV_WARN, "%s", e.text);
	TAILQ_REMOVE(&d->elsewhere, x, link);
	free(x);
}

static void make_room(struct daemon *d, const char *host)
{
	struct elsewhere *x, *oldest = NULL;
	unsigned n = 0;

	TAILQ_FOREACH(x, &d->elsewhere, link)
		if (!strcmp(x->host, host)) {
			n++;
			oldest = x;
		}
	if (n >= KEEP_PER_HOST)
		elsewhere_forget(d, oldest->id);
}

static char *text_of(const struct elsewhere *x)
{
	json_t *o = fields_write(&file_fields, x);
	char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	if (!text)
		abort(); /* as vm_new */
	return text;
}

void elsewhere_release(struct daemon *d, struct elsewhere *x)
{
	TV_FREE char *text = NULL;
	char path[300];

	x->released = true;
	text = text_of(x);
	file_of(d, x->id, path, sizeof(path));
	durable_write_later(d, path, text);
}

int elsewhere_note(const struct vm *vm, bool runs, struct tv_err *e)
{
	const struct vm_saved *s = &vm->saved;
	struct daemon *d = vm->d;
	struct elsewhere now = {.runs = runs, .generation = s->generation}, *x;
	TV_FREE char *text = NULL;
	char path[300];

	if (!elsewhere_is_uuid(s->uuid)) /* not libvirt's: nobody asks for it */
		return 0;
	if (runs && vm->highest > now.generation)
		now.generation = vm->highest;
	tv_copy(now.id, sizeof(now.id), vm->id);
	tv_copy(now.name, sizeof(now.name), vm->name);
	tv_copy(now.uuid, sizeof(now.uuid), s->uuid);
	tv_copy(now.host, sizeof(now.host), s->peer.name[0] ? s->peer.name : s->peer.address);
	tv_copy(now.arbiter, sizeof(now.arbiter), s->arbiter);
	tv_copy(now.session, sizeof(now.session), s->session);
	x = elsewhere_of(d, vm->id);
	now.own = vm->role == SESSION_PRIMARY || (x && x->own && !strcmp(x->uuid, now.uuid));
	text = text_of(&now);
	if (x) {
		TAILQ_REMOVE(&d->elsewhere, x, link);
		free(x);
	} else {
		make_room(d, now.host);
	}
	add(&now, d);
	file_of(d, vm->id, path, sizeof(path));
	if (e)
		return durable_write(d, path, text, e);
	durable_write_later(d, path, text);
	return 0;
}

bool elsewhere_is_left(const char *vm_id, const char *name, const struct elsewhere *x,
		       const struct fo_own *own, const char *self, struct tv_err *e)
{
	char whose[300] = "; whether that took over is not known any more";

	if (!vm_id[0] || (x && x->released) || !strcmp(own->host, self))
		return false;
	if (own->host[0])
		snprintf(whose, sizeof(whose),
			 ", which never took over: %.120s ran the VM (generation %llu). Start it "
			 "there",
			 own->host, (unsigned long long)own->highest);
	tv_fail(e, TV_E_REFUSED,
		"this definition of %.80s is the copy that twinvm made on %.80s for its standby%s. "
		"Remove it ('virsh undefine %.80s'); to run the copy all the same, take the element "
		"with vm=%.32s out of its <metadata> ('virsh edit')",
		name, self, whose, name, vm_id);
	return true;
}

void elsewhere_why(const struct elsewhere *x, const char *self, struct tv_err *e)
{
	if (x->runs)
		tv_fail(e, TV_E_REFUSED,
			"%s runs on %s (generation %llu); 'twinvm failover %s' there brings it "
			"home. If no host runs it: 'twinvm unprotect %s --kept' on %s",
			x->name, x->host, (unsigned long long)x->generation, x->name, x->name,
			self);
	else
		tv_fail(e, TV_E_REFUSED,
			"%s was protected by %s when it ended here (generation %llu), and nobody "
			"can say whether it runs there. If it does not: 'twinvm unprotect %s "
			"--kept' on %s",
			x->name, x->host, (unsigned long long)x->generation, x->name, self);
}
