/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMs with `autoprotect = yes` are protected as soon as they run, by the same command that an operator
 * gives. They are looked for every few seconds among the QEMU processes of this host, for as long as one
 * of them is not protected. A try that fails is followed by another one, later and later; status has the
 * reason meanwhile.
 *
 * A VM that an operator has unprotected is left alone until it is started anew, also over a restart of
 * this daemon: state_dir/unprotected.json has its process. One that another host runs, or may, is never
 * protected from here: what was started here is an older copy of it then (elsewhere.c). That is known by
 * its UUID alone, so a VM without one is not protected by itself.
 */
#include "daemon/autoprotect.h"
#include "daemon/away.h"
#include "daemon/drills.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS (3 * TV_NS_PER_S)
#define FIRST_WAIT_NS (5 * TV_NS_PER_S)
#define LONGEST_WAIT_NS (300 * TV_NS_PER_S)
#define MAX_QEMUS 512

/* One that runs and is not protected. */
struct waiting_vm {
	LIST_ENTRY(waiting_vm) link;
	char name[128];
	struct hv_vm_id qemu;
	bool seen;   /* by this look */
	bool trying; /* protect has not answered yet */
	unsigned tries;
	int64_t due_ns;
	char why[640]; /* it is not protected */
};
static LIST_HEAD(waiting_vms, waiting_vm) list = LIST_HEAD_INITIALIZER(list);
static struct event *look_timer;
static json_t *held; /* name: {pid, start_ticks, boot}; NULL: not read yet */

/* ---- what an operator has unprotected ---- */
static void held_path(const struct daemon *d, char *out, size_t room)
{
	snprintf(out, room, "%s/unprotected.json", d->conf.state_dir);
}

static void boot_id(char out[40])
{
	TV_FREE char *text = NULL;

	out[0] = 0;
	if (!tv_read_file("/proc/sys/kernel/random/boot_id", 64, &text, NULL))
		tv_copy_n(out, 40, text, strcspn(text, "\n"));
}

static json_t *held_list(const struct daemon *d)
{
	char path[300];

	if (held)
		return held;
	held_path(d, path, sizeof(path));
	held = json_load_file(path, 0, NULL);
	if (!json_is_object(held)) {
		json_decref(held);
		held = json_object();
	}
	return held;
}

static void held_save(struct daemon *d)
{
	char *text = json_dumps(held, JSON_INDENT(1) | JSON_SORT_KEYS);
	char path[300];

	if (!text)
		abort(); /* as vm_new */
	held_path(d, path, sizeof(path));
	durable_write_later(d, path, text);
	free(text);
}

static bool is_same(const json_t *o, pid_t pid, uint64_t start_ticks)
{
	const char *boot = json_string_value(json_object_get(o, "boot"));
	char now[40];

	boot_id(now);
	return boot && !strcmp(boot, now) && json_integer_value(json_object_get(o, "pid")) == pid &&
	       (uint64_t)json_integer_value(json_object_get(o, "start_ticks")) == start_ticks;
}

static bool is_held(const struct daemon *d, const char *name, const struct hv_vm_id *qemu)
{
	return is_same(json_object_get(held_list(d), name), qemu->pid, qemu->start_ticks);
}

static void hold(struct daemon *d, const char *name, const struct hv_vm_id *qemu)
{
	char boot[40];

	boot_id(boot);
	json_object_set_new(held_list(d), name,
			    json_pack("{si sI ss}", "pid", (int)qemu->pid, "start_ticks",
				      (json_int_t)qemu->start_ticks, "boot", boot));
	held_save(d);
}

static void release(struct daemon *d, const char *name)
{
	if (json_object_get(held_list(d), name)) {
		json_object_del(held, name);
		held_save(d);
	}
}

static bool is_wanted(const struct daemon *d, const char *name)
{
	const struct config_vm *own = config_vm(&d->conf, name);

	return own && own->autoprotect;
}

/* ---- the list ---- */
static struct waiting_vm *find(const char *name)
{
	struct waiting_vm *w;

	LIST_FOREACH(w, &list, link)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}

static struct waiting_vm *waiting_for(const char *name, const struct hv_vm_id *qemu)
{
	struct waiting_vm *w = find(name);

	if (!w) {
		w = calloc(1, sizeof(*w));
		if (!w)
			abort(); /* as vm_new */
		tv_copy(w->name, sizeof(w->name), name);
		LIST_INSERT_HEAD(&list, w, link);
	}
	if (w->qemu.pid != qemu->pid || w->qemu.start_ticks != qemu->start_ticks) {
		w->tries = 0;
		w->due_ns = 0;
		w->why[0] = 0;
	}
	w->qemu = *qemu;
	w->seen = true;
	return w;
}

static void drop(struct waiting_vm *w)
{
	LIST_REMOVE(w, link);
	free(w);
}

/* Later and later; an event where the reason is a new one. */
static void failed(struct daemon *d, struct waiting_vm *w, const char *why)
{
	int64_t wait_ns = FIRST_WAIT_NS << (w->tries < 6 ? w->tries : 6);
	struct events_about about = {.vm = w->name};

	if (wait_ns > LONGEST_WAIT_NS)
		wait_ns = LONGEST_WAIT_NS;
	w->tries++;
	w->due_ns = tv_now_ns() + wait_ns;
	if (!strcmp(w->why, why))
		return;
	tv_copy(w->why, sizeof(w->why), why);
	events_add(d, EVENTS_AUTOPROTECT_FAILED, &about, NULL,
		   "%s runs and is not protected by itself: %s; it is tried again", w->name, why);
}

/* ---- a try ---- */
static void tried(struct daemon *d, int rc, const char *error, json_t *last, void *arg)
{
	char *name = arg;
	struct waiting_vm *w = find(name);

	(void)last;
	free(name);
	if (!w)
		return;
	w->trying = false;
	if (rc)
		failed(d, w, error);
	else
		drop(w);
}

/* Of two instances of a VM the one that was started here is the older copy. */
static int check_ours(struct daemon *d, const struct waiting_vm *w, struct tv_err *e)
{
	struct elsewhere *x;
	char uuid[37];

	hv_vm_uuid(w->qemu.pid, uuid);
	if (!uuid[0])
		return tv_fail(e, -EINVAL,
			       "it has no UUID, by which it would be known when another host runs "
			       "it: start it with -uuid, or protect it by hand");
	if (kept_find(d, w->name))
		return tv_fail(e, TV_E_REFUSED,
			       "an instance of it was stopped on %s, as another host runs it: see "
			       "'twinvm status %s'",
			       d->conf.host, w->name);
	x = elsewhere_find(d, uuid);
	if (!x || x->released)
		return 0;
	elsewhere_why(x, d->conf.host, e);
	return TV_E_REFUSED;
}

static void try_now(struct daemon *d, struct waiting_vm *w)
{
	const char *to = config_vm_backup(&d->conf, w->name);
	struct tv_err e = {0};
	char pid[16], *arg;
	int rc;

	rc = to ? check_ours(d, w, &e)
		: tv_fail(&e, -EINVAL,
			  "[vm %s] in %s has no backup, and there is not exactly one "
			  "peer",
			  w->name, d->conf.path);
	if (rc) {
		failed(d, w, e.text);
		return;
	}
	snprintf(pid, sizeof(pid), "%d", (int)w->qemu.pid);
	arg = strdup(w->name);
	if (!arg)
		abort(); /* as vm_new */
	w->trying = true;
	rc = inner_run(d,
		       json_pack("{ss ss ss sb}", "op", "protect", "vm", pid, "to", to, "auto", 1),
		       tried, arg);
	if (rc) {
		free(arg);
		w->trying = false;
		failed(d, w, tv_strerror(rc));
	}
}

/* ---- a look ---- */
static bool has_entry(struct daemon *d, const char *name)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->name, name)) {
			if (vm->role == SESSION_PRIMARY && !vm->saved.leaving)
				release(d, name);
			return true;
		}
	return false;
}

/* True: at least one of them is not known as a VM of this host. */
static bool any_missing(struct daemon *d)
{
	bool any = false;

	for (unsigned i = 0; i < d->conf.vm_count; i++)
		any |= d->conf.vms[i].autoprotect && !has_entry(d, d->conf.vms[i].name);
	return any;
}

/* Some process says that it is a VM of that name. */
static void look_at(struct daemon *d, const char *name)
{
	struct waiting_vm *w = find(name);
	struct hv_vm_id qemu = {0};
	struct tv_err e = {0};
	int rc;

	if (!is_wanted(d, name) || has_entry(d, name) || (w && (w->seen || w->trying)))
		return;
	rc = find_qemu(d, name, &qemu, &e);
	if (rc == -ENOENT) /* a standby, a clone, one that was stopped for good */
		return;
	if (rc)
		qemu = (struct hv_vm_id){0};
	w = waiting_for(name, &qemu);
	if (rc) {
		if (w->due_ns <= tv_now_ns())
			failed(d, w, e.text);
		return;
	}
	if (is_held(d, w->name, &qemu)) {
		tv_copy(w->why, sizeof(w->why),
			"an operator has unprotected it: it is protected again by itself when it is "
			"started anew");
		return;
	}
	if (w->due_ns <= tv_now_ns())
		try_now(d, w);
}

static void look(struct daemon *d)
{
	static struct hv_vm_id qemus[MAX_QEMUS]; /* large */
	struct waiting_vm *w, *next;
	unsigned n = 0;

	LIST_FOREACH(w, &list, link)
		w->seen = false;
	if (any_missing(d) && !hv_list(qemus, MAX_QEMUS, &n))
		for (unsigned i = 0; i < n; i++)
			look_at(d, qemus[i].name);
	for (w = LIST_FIRST(&list); w; w = next) {
		next = LIST_NEXT(w, link);
		if (!w->seen && !w->trying)
			drop(w);
	}
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(LOOK_NS);
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	look(d);
	event_add(look_timer, &tv);
}

void autoprotect_start(struct daemon *d)
{
	struct timeval tv = tv_timeval(LOOK_NS);

	look_timer = evtimer_new(d->base, on_look, d);
	event_add(look_timer, &tv);
}

/* ---- for commands ---- */
void autoprotect_hold(const struct vm *vm)
{
	if (is_wanted(vm->d, vm->name))
		hold(vm->d, vm->name, &vm->saved.qemu);
}

bool autoprotect_hold_waiting(struct daemon *d, const char *name)
{
	struct waiting_vm *w = find(name);

	if (!w)
		return false;
	hold(d, w->name, &w->qemu);
	return true;
}

bool autoprotect_waits(const struct daemon *d, const char *name)
{
	const struct waiting_vm *w = find(name);
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->name, name))
			return false;
	return w && w->why[0];
}

void autoprotect_status(struct daemon *d, const char *what, json_t *to)
{
	struct waiting_vm *w;
	char why[800];

	LIST_FOREACH(w, &list, link) {
		int64_t wait_ns = w->due_ns - tv_now_ns();

		if ((what && strcmp(what, w->name) != 0) || !autoprotect_waits(d, w->name))
			continue;
		if (is_held(d, w->name, &w->qemu) || wait_ns < 0)
			snprintf(why, sizeof(why), "%s", w->why);
		else
			snprintf(why, sizeof(why), "%s; next try in %.0f s", w->why,
				 (double)wait_ns / TV_NS_PER_S);
		json_array_append_new(to, unprotected_status(d, w->name, &w->qemu, why));
	}
}
