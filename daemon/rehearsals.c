/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The history of rehearsals: see rehearsals.h. A file for each VM, written whole and renamed into place
 * (durable.c), and read once: what is then in memory is what status shows. The file is checked as it is
 * read: an entry that is damaged is passed over, and a file that is no history at all counts as none.
 */
#include "daemon/daemon.h"
#include "daemon/rehearsals_store.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_VMS 512

struct rehearsals {
	TAILQ_HEAD(past_list, past) vms;
	unsigned n;
};

static bool is_id(const char *name)
{
	return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)(t.tv_nsec / TV_NS_PER_MS) / 1e3;
}

static void *allocate(size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		abort(); /* as vm_new */
	return p;
}

static void free_past(struct rehearsals *all, struct past *h)
{
	while (h->n)
		past_remove_at(h, h->n - 1);
	TAILQ_REMOVE(&all->vms, h, link);
	all->n--;
	free(h);
}

/* ---- on disk ---- */
static void path_of(const struct daemon *d, const char *vm_id, char *out, size_t room)
{
	snprintf(out, room, "%s/rehearsals/%s", d->conf.state_dir, vm_id);
}

static struct past *load(struct daemon *d, const char *vm_id)
{
	struct past *h = allocate(sizeof(*h));
	TV_FREE char *text = NULL;
	const char *unwritten;
	char path[300];
	unsigned bad = 0;
	int rc;

	tv_copy(h->id, sizeof(h->id), vm_id);
	h->next = 1;
	path_of(d, vm_id, path, sizeof(path));
	unwritten = durable_unwritten(d, path);
	rc = unwritten ? 0 : tv_read_file(path, REHEARSALS_FILE_BYTES, &text, NULL);
	if (!rc)
		bad = past_read(unwritten ? unwritten : text, h);
	if (rc && rc != -ENOENT)
		tv_log(TV_WARN, "%s: %s; taken as if nothing had been rehearsed", path,
		       tv_strerror(rc));
	else if (bad)
		tv_log(TV_WARN, "%s: %u entries are damaged and left out", path, bad);
	return h;
}

static struct past *of(struct daemon *d, const char *vm_id)
{
	struct rehearsals *all = d->rehearsals;
	struct past *h;

	if (!is_id(vm_id))
		return NULL;
	if (!all) {
		all = d->rehearsals = allocate(sizeof(*all));
		TAILQ_INIT(&all->vms);
	}
	TAILQ_FOREACH(h, &all->vms, link)
		if (!strcmp(h->id, vm_id))
			return h;
	if (all->n >= MAX_VMS)
		free_past(all, TAILQ_FIRST(&all->vms));
	h = load(d, vm_id);
	TAILQ_INSERT_TAIL(&all->vms, h, link);
	all->n++;
	return h;
}

/* A peer may offer any number of VMs, one after the other: the oldest file goes. */
static void make_room(const struct daemon *d)
{
	char folder[256], path[600], oldest[600] = "";
	struct dirent *ent;
	struct stat st;
	time_t first = 0;
	unsigned n = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/rehearsals", d->conf.state_dir);
	dir = opendir(folder);
	while (dir && (ent = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, ent->d_name);
		if (!is_id(ent->d_name) || stat(path, &st))
			continue;
		if (!n++ || st.st_mtime < first) {
			first = st.st_mtime;
			tv_copy(oldest, sizeof(oldest), path);
		}
	}
	if (dir)
		closedir(dir);
	if (n >= MAX_VMS)
		(void)unlink(oldest);
}

/* later: what has happened is written as soon as it can be; else only if it can be now. */
static int save_if(struct daemon *d, const struct past *h, bool later)
{
	TV_FREE char *text = past_write(h);
	struct tv_err e;
	char path[300];

	if (!text)
		abort(); /* as vm_new */
	path_of(d, h->id, path, sizeof(path));
	if (access(path, F_OK))
		make_room(d);
	if (!later)
		return durable_write(d, path, text, &e);
	durable_write_later(d, path, text);
	return 0;
}

static void save(struct daemon *d, const struct past *h)
{
	(void)save_if(d, h, true);
}

/* ---- the door ---- */
/* Takes over what is too large to be kept. */
static void take_figures(struct rehearsal *to, json_t *figures)
{
	size_t n = strlen(to->reason);

	if (!figures)
		return;
	json_decref(to->figures);
	to->figures = NULL;
	if (json_is_object(figures) && past_bytes_of(figures) <= REHEARSAL_FIGURES_BYTES) {
		to->figures = figures;
		return;
	}
	json_decref(figures);
	snprintf(to->reason + n, sizeof(to->reason) - n, "%sits figures are too long to be kept",
		 n ? "; " : "");
}

/* The event's sentence: what, of which VM, and how it ended. */
static void tell(struct daemon *d, const struct past *h, const char *name,
		 const struct rehearsal *r)
{
	const struct events_about about = {
		.vm = name, .vm_id = h->id, .generation = r->generation, .epoch = r->epoch};
	enum events_kind kind = r->result == REHEARSAL_RUNNING	? EVENTS_REHEARSAL_BEGUN
				: r->result == REHEARSAL_PASSED ? EVENTS_REHEARSAL_PASSED
								: EVENTS_REHEARSAL_FAILED;
	json_t *data = json_pack("{ss ss ss so}", "kind", rehearsal_kind_words.name((int)r->kind),
				 "result", rehearsal_result_words.name((int)r->result), "by", r->by,
				 "note", events_text(r->note));

	if (data && r->figures)
		(void)!json_object_set(data, "figures", r->figures);
	if (r->result == REHEARSAL_RUNNING)
		events_add(d, kind, &about, data, "%s: a %s has begun (by: %s)", name,
			   rehearsal_kind_words.name((int)r->kind), r->by);
	else
		events_add(d, kind, &about, data, "%s: the %s %s%s%s%s", name,
			   rehearsal_kind_words.name((int)r->kind),
			   r->result == REHEARSAL_CUT_SHORT || r->result == REHEARSAL_REFUSED
				   ? "was "
				   : "",
			   rehearsal_result_words.name((int)r->result), r->reason[0] ? ": " : "",
			   r->reason);
}

static struct rehearsal *add(struct past *h, struct rehearsal *r)
{
	struct rehearsal *to = past_append(h);

	*to = *r;
	to->id = h->next++;
	to->figures = NULL;
	to->started = now_s();
	to->ended = NAN;
	to->result = REHEARSAL_RUNNING;
	past_make_plain(to);
	take_figures(to, r->figures);
	r->figures = NULL;
	r->id = to->id;
	return to;
}

uint64_t rehearsals_begin(struct daemon *d, const char *vm_id, const char *name,
			  struct rehearsal *r)
{
	struct past *h = of(d, vm_id);
	const struct rehearsal *to;

	if (!h || r->kind >= REHEARSAL_KINDS) {
		json_decref(r->figures);
		r->figures = NULL;
		return 0;
	}
	r->reason[0] = 0;
	to = add(h, r);
	save(d, h);
	tell(d, h, name, to);
	return to->id;
}

static struct rehearsal *running(struct past *h, uint64_t id)
{
	for (unsigned i = 0; h && i < h->n; i++)
		if (h->list[i].id == id && h->list[i].result == REHEARSAL_RUNNING)
			return &h->list[i];
	return NULL;
}

static void end(struct daemon *d, struct past *h, const char *name, struct rehearsal *to,
		struct rehearsal *r)
{
	to->result = r->result == REHEARSAL_RUNNING || r->result >= REHEARSAL_RESULTS
			     ? REHEARSAL_FAILED
			     : r->result;
	to->ended = now_s();
	to->generation = r->generation ? r->generation : to->generation;
	to->epoch = r->epoch ? r->epoch : to->epoch;
	tv_copy(to->reason, sizeof(to->reason), r->reason);
	if (r->note[0])
		tv_copy(to->note, sizeof(to->note), r->note);
	past_make_plain(to);
	take_figures(to, r->figures);
	r->figures = NULL;
	save(d, h);
	tell(d, h, name, to);
}

int rehearsals_end(struct daemon *d, const char *vm_id, const char *name, uint64_t id,
		   struct rehearsal *r)
{
	struct past *h = of(d, vm_id);
	struct rehearsal *to = running(h, id);

	if (!to) {
		json_decref(r->figures);
		r->figures = NULL;
		return -ENOENT;
	}
	end(d, h, name, to, r);
	return 0;
}

void rehearsals_refused(struct daemon *d, const char *vm_id, const char *name, struct rehearsal *r)
{
	struct past *h = of(d, vm_id);

	r->result = REHEARSAL_REFUSED;
	if (h && r->kind < REHEARSAL_KINDS)
		end(d, h, name, add(h, r), r);
	json_decref(r->figures);
	r->figures = NULL;
}

static void cut_short(struct daemon *d, struct past *h, enum rehearsal_kind kind, const char *why)
{
	struct rehearsal r = {.result = REHEARSAL_CUT_SHORT};
	const struct vm *vm = vm_by_id(d, h->id);

	tv_copy(r.reason, sizeof(r.reason), why);
	for (unsigned i = 0; i < h->n; i++)
		if (h->list[i].kind == kind && h->list[i].result == REHEARSAL_RUNNING)
			end(d, h, vm ? vm->name : h->id, &h->list[i], &r);
}

void rehearsals_each(struct daemon *d, void (*cb)(struct daemon *d, const char *vm_id, void *arg),
		     void *arg)
{
	char folder[256];
	struct dirent *ent;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/rehearsals", d->conf.state_dir);
	dir = opendir(folder);
	while (dir && (ent = readdir(dir)))
		if (of(d, ent->d_name))
			cb(d, ent->d_name, arg);
	if (dir)
		closedir(dir);
}

struct cut {
	enum rehearsal_kind kind;
	const char *why;
};

static void cut_one(struct daemon *d, const char *vm_id, void *arg)
{
	const struct cut *c = arg;
	struct past *h = of(d, vm_id);

	if (h)
		cut_short(d, h, c->kind, c->why);
}

void rehearsals_cut_short(struct daemon *d, const char *vm_id, enum rehearsal_kind kind,
			  const char *why)
{
	struct cut c = {kind, why};

	if (vm_id)
		cut_one(d, vm_id, &c);
	else
		rehearsals_each(d, cut_one, &c);
}

const struct rehearsal *rehearsals_last(struct daemon *d, const char *vm_id,
					enum rehearsal_kind kind, bool passed)
{
	const struct past *h = of(d, vm_id);

	return h ? past_newest(h, kind, REHEARSAL_PASSED, !passed) : NULL;
}

const struct rehearsal *rehearsals_running(struct daemon *d, const char *vm_id,
					   enum rehearsal_kind kind)
{
	const struct past *h = of(d, vm_id);

	return h ? past_newest(h, kind, REHEARSAL_RUNNING, false) : NULL;
}

double rehearsals_since(struct daemon *d, const char *vm_id, double now)
{
	struct past *h = of(d, vm_id);

	if (!h)
		return now;
	if (!h->since) {
		h->since = h->n && h->list[0].started < now ? h->list[0].started : now;
		if (save_if(d, h, false)) {
			h->since = 0; /* that is worth no warning of a full disk: tried again */
			return now;
		}
	}
	return h->since;
}

json_t *rehearsals_json(struct daemon *d, const char *vm_id, unsigned limit, bool figures)
{
	const struct past *h = of(d, vm_id);
	json_t *to = json_array();

	for (unsigned i = h ? h->n : 0; i-- > 0 && (!limit || json_array_size(to) < limit);)
		(void)!json_array_append_new(to, rehearsal_json(&h->list[i], figures));
	return to;
}

json_t *rehearsals_status(struct daemon *d, const char *vm_id)
{
	const struct past *h = of(d, vm_id);
	const struct rehearsal *last, *passed, *now;
	json_t *to = json_object(), *one;

	for (int k = 0; h && k < REHEARSAL_KINDS; k++) {
		last = past_newest(h, (enum rehearsal_kind)k, REHEARSAL_PASSED, true);
		passed = past_newest(h, (enum rehearsal_kind)k, REHEARSAL_PASSED, false);
		now = past_newest(h, (enum rehearsal_kind)k, REHEARSAL_RUNNING, false);
		if (!last && !now)
			continue;
		one = json_object();
		if (last)
			(void)!json_object_set_new(one, "last", rehearsal_json(last, false));
		if (passed)
			(void)!json_object_set_new(one, "passed", json_real(passed->ended));
		if (now)
			(void)!json_object_set_new(one, "running", rehearsal_json(now, false));
		(void)!json_object_set_new(to, rehearsal_key((enum rehearsal_kind)k), one);
	}
	return to;
}

void rehearsals_stop(struct daemon *d)
{
	while (d->rehearsals && !TAILQ_EMPTY(&d->rehearsals->vms))
		free_past(d->rehearsals, TAILQ_FIRST(&d->rehearsals->vms));
	free(d->rehearsals);
	d->rehearsals = NULL;
}
