/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_dir/generations/VMID: whose a VM is, as far as this host knows: the host that had it last,
 * with which generation, and which generation this host had itself. Written before this host becomes
 * its backup or its primary, and when it learns that another host runs it; never for what a peer only
 * claims (failover/owner.c). It outlives the VM's entry: without an arbiter, a host that offers the VM
 * later is judged by it. (An older version wrote the generation only.)
 *
 * The files are tiny. A peer may offer any number of VMs, one after the other: of the VMs that one
 * host had and that have no entry here any more, the newest KEEP_PER_HOST are known.
 */
#include "daemon/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_PER_HOST 512
#define MAX_BYTES 1024

#define N(name, member, kind) FIELD_AS(name, struct fo_own, member, kind, "", "")
static const struct field list[] = {
	N("generation", highest, U64),
	N("host", host, TEXT),
	N("backup", backup, TEXT),
	N("ran", ran, U64),
};
static const struct fields note_fields = FIELDS("a VM's generation", list);

static bool is_id(const char *name)
{
	return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

static void path_of(const struct daemon *d, const char *vm_id, char *out, size_t room)
{
	snprintf(out, room, "%s/generations/%s", d->conf.state_dir, vm_id);
}

static int parse(const char *text, struct fo_own *own, struct tv_err *e)
{
	json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
	int rc = 0;

	if (json_is_integer(o) && json_integer_value(o) > 0)
		own->highest = (uint64_t)json_integer_value(o);
	else
		rc = fields_read(&note_fields, o, own, e);
	json_decref(o);
	return rc;
}

/* -ENOENT: nothing is known. */
static int load(const struct daemon *d, const char *path, struct fo_own *own, struct tv_err *e)
{
	const char *unwritten = durable_unwritten(d, path);
	TV_FREE char *text = NULL;
	int rc = unwritten ? 0 : tv_read_file(path, MAX_BYTES, &text, NULL);

	return rc ? tv_fail(e, rc, "%s", tv_strerror(rc))
		  : parse(unwritten ? unwritten : text, own, e);
}

void generation_on_disk(const char *state_dir, const char *vm_id, struct fo_own *own)
{
	TV_FREE char *text = NULL;
	char path[300];

	*own = (struct fo_own){0};
	snprintf(path, sizeof(path), "%.200s/generations/%s", state_dir, vm_id);
	if (!is_id(vm_id) || tv_read_file(path, MAX_BYTES, &text, NULL) || parse(text, own, NULL))
		*own = (struct fo_own){0};
}

void generation_read(const struct daemon *d, const char *vm_id, struct fo_own *own)
{
	struct fo_own known = {0};
	struct tv_err e = {0};
	char path[300];
	int rc;

	own->highest = own->ran = 0;
	own->host[0] = own->backup[0] = 0;
	if (!is_id(vm_id))
		return;
	path_of(d, vm_id, path, sizeof(path));
	rc = load(d, path, &known, &e);
	if (rc && rc != -ENOENT)
		tv_log(TV_WARN, "%s: %s; taken as if nothing were known", path, e.text);
	if (rc)
		return;
	own->highest = known.highest;
	own->ran = known.ran;
	tv_copy(own->host, sizeof(own->host), known.host);
	tv_copy(own->backup, sizeof(own->backup), known.backup);
}

uint64_t generation_seen(const struct daemon *d, const char *vm_id)
{
	struct fo_own own;

	generation_read(d, vm_id, &own);
	return own.highest;
}

/* ---- the limit ---- */
static bool has_entry(const struct daemon *d, const char *vm_id)
{
	const struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->id, vm_id))
			return true;
	return false;
}

/* Of that host's VMs without an entry: how many there are, and the path of the oldest. */
struct count {
	const char *host;
	unsigned n;
	struct timespec first;
	char oldest[600];
};

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static void count_one(const struct daemon *d, const char *path, struct count *c)
{
	struct fo_own own = {0};
	struct stat st;

	if (stat(path, &st) || load(d, path, &own, NULL) || strcmp(own.host, c->host) != 0)
		return;
	if (!c->n++ || is_before(&st.st_mtim, &c->first)) {
		c->first = st.st_mtim;
		tv_copy(c->oldest, sizeof(c->oldest), path);
	}
}

/* c: NULL: only how many notes there are at all, which costs little. */
static unsigned walk(const struct daemon *d, struct count *c)
{
	char folder[256], path[600];
	struct dirent *ent;
	unsigned n = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/generations", d->conf.state_dir);
	dir = opendir(folder);
	while (dir && (ent = readdir(dir))) {
		if (!is_id(ent->d_name))
			continue;
		n++;
		snprintf(path, sizeof(path), "%s/%s", folder, ent->d_name);
		if (c && !has_entry(d, ent->d_name))
			count_one(d, path, c);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void make_room(const struct daemon *d, const char *host)
{
	struct count c;

	if (walk(d, NULL) < KEEP_PER_HOST)
		return;
	do {
		c = (struct count){.host = host};
		walk(d, &c);
	} while (c.n >= KEEP_PER_HOST && !unlink(c.oldest));
}

/* The note as text; NULL: it is that already. */
static char *text_of(const struct daemon *d, const char *vm_id, const char *path,
		     uint64_t generation, const char *host, const char *backup)
{
	struct fo_own was, now = {.highest = generation};
	json_t *o;
	char *text;

	generation_read(d, vm_id, &was);
	tv_copy(now.host, sizeof(now.host), host);
	tv_copy(now.backup, sizeof(now.backup), backup);
	now.ran = !strcmp(host, d->conf.host) && generation > was.ran ? generation : was.ran;
	if (was.highest == generation && was.ran == now.ran && !strcmp(was.host, host) &&
	    !strcmp(was.backup, backup) && !durable_unwritten(d, path))
		return NULL;
	if (!was.highest)
		make_room(d, host);
	o = fields_write(&note_fields, &now);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (!text)
		abort(); /* as vm_new */
	return text;
}

int generation_note(struct daemon *d, const char *vm_id, uint64_t generation, const char *host,
		    const char *backup, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	char path[300];

	if (!is_id(vm_id))
		return tv_fail(e, -EINVAL, "'%.40s' is no VM's id", vm_id);
	path_of(d, vm_id, path, sizeof(path));
	text = text_of(d, vm_id, path, generation, host, backup);
	return text ? durable_write(d, path, text, e) : 0;
}

void generation_note_later(struct daemon *d, const char *vm_id, uint64_t generation,
			   const char *host, const char *backup)
{
	TV_FREE char *text = NULL;
	char path[300];

	if (!is_id(vm_id))
		return;
	path_of(d, vm_id, path, sizeof(path));
	text = text_of(d, vm_id, path, generation, host, backup);
	if (text)
		durable_write_later(d, path, text);
}
