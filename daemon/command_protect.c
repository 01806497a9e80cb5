/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm protect: which VM, which backup, what is in the way; then a replicator is started. */
#include "daemon/away.h"
#include "daemon/cluster.h"
#include "daemon/commands.h"
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What the command asks for. */
struct wish {
	const char *mode, *arbiter; /* NULL: as before, or the configured ones */
	int epoch_ms;		    /* 0: likewise */
	bool by_itself;		    /* autoprotect.c asks, and no operator */
	const char *to;		    /* the peer, as it was named */
	struct config_peer peer;
	struct hv_vm_id qemu;
};

static struct vm *by_process(struct daemon *d, const struct hv_vm_id *id)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (vm->saved.qemu.pid == id->pid && vm->saved.qemu.start_ticks == id->start_ticks)
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
	/* A VM without -name needs a name all the same. */
	snprintf(name, sizeof(name), "pid%d", (int)id->pid);
	vm = vm_new(d, fresh, id->name[0] ? id->name : name, SESSION_PRIMARY);
	vm->saved.qemu = *id;
	return vm;
}

/* Why a VM that is known cannot be protected now; -EALREADY, or 0 when it can. */
static int in_the_way(const struct vm *vm, struct tv_err *e)
{
	if (vm->role == SESSION_BACKUP)
		return tv_fail(e, -EALREADY, "%s is the backup of %s: give the command on %s",
			       vm->d->conf.host, vm->name, vm->saved.peer.name);
	if (vm->phase == VM_FENCING)
		return tv_fail(e, -EALREADY,
			       "%s is being stopped here because another host runs it", vm->name);
	if (vm->waiter)
		return tv_fail(e, -EALREADY, "another twinvm command waits for %s", vm->name);
	if (vm->saved.leaving)
		return tv_fail(e, -EALREADY, "%s is being unprotected: try again when that is done",
			       vm->name);
	if (vm->phase == VM_RECOVERING)
		return tv_fail(e, -EALREADY,
			       "%s is being cleaned up after a replicator that died: it is "
			       "protected again by itself",
			       vm->name);
	if (!vm->saved.was_protected ||
	    (vm->phase == VM_RUNNING && !strcmp(vm->now.stats.state, "protected")))
		return tv_fail(e, -EALREADY, "%s is already protected (backup: %s)", vm->name,
			       vm->saved.peer.name);
	return 0;
}

static int check_arbiter(const struct daemon *d, const char *url, struct tv_err *e)
{
	struct fo_arbiter_conf ac = config_arbiter(&d->conf, NULL);
	const size_t room = sizeof(((struct vm *)0)->saved.arbiter);

	return strlen(url) < room
		       ? fo_arbiter_check_url(url, &ac, e)
		       : tv_fail(e, -EINVAL, "the arbiter's URL is longer than %zu characters",
				 room - 1);
}

static int read_wish(const struct daemon *d, json_t *msg, struct wish *w, struct tv_err *e)
{
	json_int_t epoch_ms = json_integer_value(json_object_get(msg, "epoch_ms"));
	enum pace_mode parsed;

	*w = (struct wish){.mode = command_text(msg, "mode", NULL),
			   .arbiter = command_text(msg, "arbiter", NULL)};
	if (pace_mode_parse(w->mode ? w->mode : d->conf.mode, &parsed) || epoch_ms < 0 ||
	    epoch_ms > 60000)
		return tv_fail(e, -EINVAL,
			       "mode is adaptive, remus or kemari, and --epoch 1 to 60000 ms");
	w->epoch_ms = (int)epoch_ms;
	w->by_itself = json_is_true(json_object_get(msg, "auto"));
	return check_arbiter(d, w->arbiter ? w->arbiter : d->conf.arbiter, e);
}

/* The one that was named, or that the VM has by the configuration. */
static int choose_peer(struct daemon *d, json_t *msg, const struct vm *vm, struct wish *w,
		       struct tv_err *e)
{
	const char *name = vm ? vm->name : command_text(msg, "vm", "");
	struct hv_vm_id id;

	w->to = command_text(msg, "to", NULL);
	if (w->to)
		return 0;
	if (!vm && !config_vm(&d->conf, name) && !find_qemu(d, name, &id, NULL))
		name = id.name;
	w->to = config_vm_backup(&d->conf, name);
	return w->to ? 0
		     : tv_fail(e, -EINVAL,
			       "say which host is to be the backup: --to HOST, or backup in [vm %s] "
			       "of %s",
			       name, d->conf.path);
}

/* Finds the VM, known (*vm) or not, and the host that is to protect it. */
static int find_both(struct daemon *d, json_t *msg, struct vm **vm, struct wish *w,
		     struct tv_err *e)
{
	const char *what = command_text(msg, "vm", "");
	struct vm *same;
	bool several;
	int rc;

	*vm = vm_find(d, what, &several);
	rc = *vm ? in_the_way(*vm, e) : 0;
	if (!rc)
		rc = choose_peer(d, msg, *vm, w, e);
	if (!rc && !strcmp(w->to, d->conf.host))
		rc = tv_fail(e, -EINVAL,
			     "--to %s is this host itself: name the host that is to be the backup",
			     d->conf.host);
	if (!rc)
		rc = config_peer(&d->conf, w->to, &w->peer, e);
	if (rc)
		return rc;
	rc = find_qemu(d,
		       !*vm	      ? what
		       : away_is(*vm) ? (*vm)->saved.uuid
				      : (*vm)->saved.qemu.qmp_path,
		       &w->qemu, e);
	if (rc == -ENOENT && !*vm && kept_find(d, what))
		return tv_fail(e, TV_E_REFUSED,
			       "%s was stopped here because another host runs it: see 'twinvm "
			       "status %s'",
			       what, what);
	if (rc)
		return rc;
	same = *vm ? NULL : by_process(d, &w->qemu);
	return same ? tv_fail(e, -EALREADY, "%s is already protected (backup: %s)", same->name,
			      same->saved.peer.name)
		    : 0;
}

/* A red host takes no VM. Yellow: the operator is warned, *warning is then its text. */
static int check_health(const struct daemon *d, const struct wish *w, char *warning, size_t room,
			struct tv_err *e)
{
	const struct config_peer *p = &w->peer;
	const struct fo_candidate host = reprotect_candidate(p);
	const char *why, *name = p->name[0] ? p->name : p->host;
	enum fo_health health = cluster_health(d, &host, &why);

	warning[0] = '\0';
	if (health == FO_RED || (health == FO_YELLOW && w->by_itself))
		return tv_fail(e, TV_E_REFUSED,
			       "the hardware of %s is %s: %s; name another host, or have it mended "
			       "and give 'twinvm health --clear' there",
			       name, fo_health_name(health), why);
	if (health == FO_YELLOW)
		snprintf(warning, room, "the hardware of %s is yellow: %s", name, why);
	return 0;
}

static void warn(struct ctl *c, const char *warning)
{
	if (warning[0])
		ctl_send(c, json_pack("{ss sf so}", "state", "syncing", "progress", 0.0, "warning",
				      events_text(warning)));
}

/* It is to be protected again anyway: by this host, then. True when the command waits for that. */
static bool joins_try(struct vm *vm, struct ctl *c, const struct wish *w)
{
	if (!vm || vm->phase != VM_RUNNING)
		return false;
	if (strcmp(vm->saved.peer.address, w->peer.host) != 0 ||
	    vm->saved.peer.port != w->peer.port)
		vm->asked = reprotect_candidate(&w->peer);
	command_waits(c, vm, false);
	return true;
}

/* A VM that has changed hosts keeps its arbiter: its record is there. */
static void set_up(struct vm *vm, const struct wish *w)
{
	const struct config *conf = &vm->d->conf;
	const struct config_vm *own = config_vm(conf, vm->name);
	struct vm_saved *s = &vm->saved;

	vm->by_operator = !w->by_itself;
	s->was_protected = false;
	s->peer = reprotect_candidate(&w->peer);
	if (vm->fresh || w->mode)
		tv_copy(s->mode, sizeof(s->mode),
			w->mode		      ? w->mode
			: own && own->mode[0] ? own->mode
					      : conf->mode);
	if (vm->fresh || w->arbiter)
		tv_copy(s->arbiter, sizeof(s->arbiter), w->arbiter ? w->arbiter : conf->arbiter);
	if (vm->fresh || w->epoch_ms)
		s->epoch_ms = w->epoch_ms	     ? w->epoch_ms
			      : own && own->epoch_ms ? own->epoch_ms
						     : conf->epoch_ms;
}

void command_protect(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct tv_err e = {0};
	char warning[320];
	struct wish w;
	struct vm *vm;
	bool fresh;
	int rc;

	rc = read_wish(d, msg, &w, &e);
	if (!rc)
		rc = find_both(d, msg, &vm, &w, &e);
	if (!rc)
		rc = check_health(d, &w, warning, sizeof(warning), &e);
	if (rc) {
		command_end(c, rc, "%s", e.text);
		return;
	}
	if (joins_try(vm, c, &w))
		return;
	fresh = !vm;
	vm = vm ? vm : entry_for(d, &w.qemu);
	vm->fresh = fresh;
	if (away_is(vm))
		away_back(vm, &w.qemu);
	set_up(vm, &w);
	reprotect_begun(vm);
	events_vm(vm, w.by_itself ? EVENTS_AUTOPROTECT : EVENTS_PROTECT_ASKED, NULL,
		  "%s is to be protected by %s%s%s", vm->name, w.to, warning[0] ? "; " : "",
		  warning);
	rc = vm_start_source(vm, &e);
	if (rc) {
		events_vm(vm, EVENTS_PROTECT_FAILED, NULL, "%s is not protected: %s", vm->name,
			  e.text);
		command_end(c, rc, "%s", e.text);
		if (fresh)
			vm_drop(vm);
		return;
	}
	warn(c, warning);
	command_waits(c, vm, false);
	vm_progress(vm, "syncing", 0.0);
}
