/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Replicators register: sources of VMs that run here, and sinks, that is, other hosts that offer a
 * VM. Whose it is, is decided by the arbiter's record, or by what this host remembers (fo_judge). A
 * stale host is refused and sent the higher generation, or, when it is this host, its VM is stopped
 * and kept before the other one's replica is accepted. A host that nothing confirms is refused, and
 * nothing changes for that.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "hv/hv_standby.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REPLACED "replaced by a newer synchronisation"

/* Until it has ended, what it reports does not matter. */
static void turn_away(struct ctl *c, enum session_op op, const void *body)
{
	ctl_set_arg(c, &ctl_deaf, NULL);
	ctl_send(c, session_message(op, body));
}

static void refuse(struct ctl *c, const char *text)
{
	struct session_text body = {0};

	tv_copy(body.text, sizeof(body.text), text);
	turn_away(c, SESSION_OP_REFUSE, &body);
}

static struct events_about about(const struct session_register *as)
{
	return (struct events_about){.vm = as->name,
				     .vm_id = as->vm_id,
				     .role = session_role_name(SESSION_BACKUP),
				     .peer = as->peer,
				     .generation = as->generation};
}

static void refuse_stale(struct daemon *d, struct ctl *c, const struct session_register *as,
			 uint64_t highest)
{
	struct session_fenced body = {highest};
	struct events_about of = about(as);

	events_add(d, EVENTS_REFUSED, &of, json_pack("{sI}", "highest", (json_int_t)highest),
		   "%s offers %s with generation %llu, which is lower than %llu: it is stale",
		   as->peer, as->name, (unsigned long long)as->generation,
		   (unsigned long long)highest);
	turn_away(c, SESSION_OP_FENCED, &body);
}

/* Nothing confirms that the VM is the peer's. */
static void refuse_stranger(struct daemon *d, struct ctl *c, const struct session_register *as,
			    const struct fo_own *own, const struct fo_offer *o)
{
	struct events_about of = about(as);
	const char *self = d->conf.host;
	struct tv_err e;

	if (o->recorded)
		tv_fail(&e, 0,
			"%s offers generation %llu of this VM; by the arbiter's record it is %s's, "
			"generation %llu",
			as->peer, (unsigned long long)o->generation, o->record.primary,
			(unsigned long long)o->record.generation);
	else if (o->arbiter)
		tv_fail(&e, 0,
			"%s offers generation %llu of a VM of which the arbiter has no record, and "
			"%s does not know it as its VM: end its protection on %s and protect it anew",
			as->peer, (unsigned long long)o->generation, self, as->peer);
	else
		tv_fail(&e, 0,
			"%s knows this VM as %s's, generation %llu, and %s offers generation %llu; "
			"there is no arbiter to ask: if it is right, remove %s/generations/%s on %s",
			self, own->host[0] ? own->host : "another host",
			(unsigned long long)own->highest, as->peer,
			(unsigned long long)o->generation, d->conf.state_dir, as->vm_id, self);
	events_add(d, EVENTS_REFUSED, &of, NULL, "%s is refused: %s", as->name, e.text);
	refuse(c, e.text);
}

/* The older session, or this host's own instance of the VM, must end before c is admitted. */
static void wait_for_end(struct vm *vm, struct ctl *c, const struct session_register *as)
{
	struct ctl *older = waiting_add(vm, c, as);

	if (older)
		refuse(older, REPLACED);
}

static void learn(struct vm *vm, const struct session_register *as)
{
	struct vm_saved *s = &vm->saved;

	vm->now.replicator = as->pid;
	vm->now.child = 0;
	vm->now.awaited = false;
	door_registered(vm->d, as->pid, s->peer.address, sizeof(s->peer.address));
	tv_copy(s->peer.name, sizeof(s->peer.name), as->peer);
	s->peer.port = as->peer_port;
	tv_copy(s->session, sizeof(s->session), as->session);
	tv_copy(s->arbiter, sizeof(s->arbiter), as->arbiter);
	if (as->mode[0])
		tv_copy(s->mode, sizeof(s->mode), as->mode);
	if (as->epoch_ms > 0 && as->epoch_ms <= 60000)
		s->epoch_ms = as->epoch_ms;
	s->generation = as->generation;
	if (vm->highest < s->generation)
		vm->highest = s->generation;
}

static void begin_session(struct vm *vm, struct ctl *c)
{
	ctl_set_arg(c, &supervise_rep_ops, vm);
	vm->now.rep = c;
	vm->phase = VM_RUNNING;
	vm->now.done = false;
}

/* Its daemon died and this one took its place; the standby is as it was. */
static void adopt(struct vm *vm, struct ctl *c, const struct session_register *as)
{
	struct fo_candidate peer = vm->saved.peer;
	struct session_go go;

	begin_session(vm, c);
	learn(vm, as);
	tv_copy(vm->saved.peer.address, sizeof(vm->saved.peer.address), peer.address);
	vm_save_later(vm);
	go.slot = vm->saved.slot;
	ctl_send(c, session_message(SESSION_OP_GO, &go));
}

/* Red: no VM is taken. Yellow: only if an operator has named this host. */
static bool is_sick(struct daemon *d, const struct session_register *as, struct tv_err *e)
{
	enum fo_health health = health_of_host();
	const char *why, *self = d->conf.host;

	if (fo_is_well(health) || (health == FO_YELLOW && as->by_operator))
		return false;
	health_state(&why);
	tv_fail(e, 0,
		"the hardware of %s is %s: %s; it is no backup%s before 'twinvm health --clear' on %s",
		self, fo_health_name(health), why, health == FO_RED ? "" : " by itself", self);
	return true;
}

static void admit(struct daemon *d, struct ctl *c, const struct session_register *as)
{
	struct session_go go = {kept_free_slot(d, as->vm_id)};
	struct slot_names names;
	struct tv_err e;
	struct vm *vm;

	if (maintenance_is(d)) {
		maintenance_refusal(d, &e);
		refuse(c, e.text);
		return;
	}
	if (is_sick(d, as, &e)) {
		refuse(c, e.text);
		return;
	}
	if (go.slot < 0) {
		refuse(c, "too many stopped instances of this VM are kept here: see 'twinvm "
			  "status', end them, or forget them with 'twinvm unprotect VM --kept'");
		return;
	}
	/* Before anything is promised: a host that comes with a lower one later is stale. */
	if (generation_note(d, as->vm_id, as->generation, as->peer, "", &e)) {
		refuse(c, e.text);
		return;
	}
	vm = vm_new(d, as->vm_id, as->name, SESSION_BACKUP);
	slot_names(as->vm_id, (unsigned)go.slot, &names);
	begin_session(vm, c);
	learn(vm, as);
	vm->saved.slot = go.slot;
	vm->highest = generation_seen(d, as->vm_id);
	if (elsewhere_is_uuid(as->uuid))
		tv_copy(vm->saved.uuid, sizeof(vm->saved.uuid), as->uuid);
	vm->now.first_note = !elsewhere_of(d, as->vm_id);
	(void)!elsewhere_note(vm, true, NULL);
	snprintf(vm->saved.dir, sizeof(vm->saved.dir), "%s/%s", d->conf.run_dir, names.id);
	if (vm_save(vm, &e)) {
		refuse(c, e.text);
		vm_drop(vm);
		return;
	}
	events_vm(vm, EVENTS_STANDBY_BEGUN, NULL, "%s is the backup of %s, which runs on %s",
		  d->conf.host, vm->name, vm->saved.peer.name);
	ctl_send(c, session_message(SESSION_OP_GO, &go));
}

/* This host's own instance is stale. */
static void yield(struct vm *vm, struct ctl *c, const struct session_register *as)
{
	struct tv_err e;

	/* On disk first: should this daemon die now, the next one must not let it run on. */
	if (generation_note(vm->d, vm->id, as->generation, as->peer, "", &e)) {
		refuse(c, e.text);
		return;
	}
	vm->highest = as->generation;
	wait_for_end(vm, c, as);
	fencing_yield(vm);
}

static bool is_busy(const struct vm *vm)
{
	return vm->now.rep || vm->phase == VM_RECOVERING || vm->phase == VM_FENCING ||
	       (vm->role == SESSION_PRIMARY && vm->now.replicator);
}

/* The other host is this VM's primary: this host may become its backup. */
static void accept_backup(struct daemon *d, struct vm *vm, struct ctl *c,
			  const struct session_register *as)
{
	struct ctl *older = waiting_take(d, as->vm_id);

	if (older)
		refuse(older, REPLACED);
	if (vm && is_busy(vm)) {
		wait_for_end(vm, c, as);
		if (vm->role == SESSION_BACKUP && vm->now.rep)
			ctl_send(vm->now.rep, session_message(SESSION_OP_DISCARD, NULL));
		return;
	}
	/* What an earlier life of this host, or of this daemon, left. */
	if (vm && vm->role == SESSION_BACKUP && vm->saved.qemu.pid)
		hv_standby_reap(vm->saved.qemu.pid, vm->saved.qemu.start_ticks, vm->saved.dir);
	if (vm && vm->role == SESSION_PRIMARY)
		events_vm(vm, EVENTS_VM_ENDED, NULL, "%s has ended here; it runs on %s", vm->name,
			  as->peer);
	if (vm)
		vm_drop(vm);
	admit(d, c, as);
}

static bool names_arbiter(const struct session_register *as)
{
	return strcmp(as->arbiter, "none") != 0;
}

/* rec: NULL: there is none. */
static struct fo_offer offer_of(const struct session_register *as, const struct fo_record *rec)
{
	struct fo_offer o = {
		.generation = as->generation, .arbiter = names_arbiter(as), .recorded = rec};

	tv_copy(o.host, sizeof(o.host), as->peer);
	if (rec)
		o.record = *rec;
	return o;
}

/* Its session's name alone is no proof: it is in the arbiter's record for others to read. */
static bool is_session_of(const struct vm *vm, const struct session_register *as)
{
	return !strcmp(vm->saved.session, as->session) && !strcmp(vm->saved.peer.name, as->peer);
}

/* rec: the arbiter's record, NULL: there is none. */
static void judge(struct daemon *d, struct ctl *c, const struct session_register *as,
		  const struct fo_record *rec)
{
	struct vm *vm = vm_by_id(d, as->vm_id);
	bool primary = vm && vm->role == SESSION_PRIMARY;
	struct fo_own own = {.running = primary && vm_lives(vm),
			     .arbiter = vm && vm_has_arbiter(vm),
			     .generation = primary ? vm->saved.generation : 0};
	struct fo_offer offer = offer_of(as, rec);

	generation_read(d, as->vm_id, &own);
	switch (fo_judge(&own, &offer)) {
	case FO_STALE:
		refuse_stale(d, c, as, fo_fenced_by(&own, &offer));
		return;
	case FO_NOT_OWNER:
		refuse_stranger(d, c, as, &own, &offer);
		return;
	case FO_RUNS_HERE:
		refuse(c, "this host runs the VM itself");
		return;
	case FO_YIELD:
		yield(vm, c, as);
		return;
	case FO_ACCEPT:
		accept_backup(d, vm, c, as);
		return;
	}
}

static void looked(struct daemon *d, struct ctl *c, const struct session_register *as, int rc,
		   const struct fo_record *rec)
{
	struct tv_err e;

	if (!rc || rc == -ENOENT) {
		judge(d, c, as, rc ? NULL : rec);
		return;
	}
	tv_fail(&e, rc, "%s cannot ask the arbiter %s whose this VM is: see its log", d->conf.host,
		as->arbiter);
	refuse(c, e.text);
}

static void register_backup(struct daemon *d, struct ctl *c, const struct session_register *as)
{
	struct vm *vm = vm_by_id(d, as->vm_id);
	struct tv_err e = {0};

	if (!as->name[0] || !as->generation || as->generation > INT64_MAX || !as->arbiter[0]) {
		ctl_close_when_sent(c);
		return;
	}
	/* Since its handshake, perhaps. */
	if (config_admit(as->peer, &d->conf, &e) == -EKEYREVOKED) {
		refuse(c, e.text);
		return;
	}
	if (vm && vm->role == SESSION_BACKUP && is_session_of(vm, as) && !vm->now.rep) {
		adopt(vm, c, as);
		return;
	}
	if (!names_arbiter(as))
		judge(d, c, as, NULL);
	else if (looking_begin(d, c, as, looked, &e))
		refuse(c, e.text);
}

void register_waiting(struct daemon *d)
{
	struct session_register as;
	struct ctl *c;

	while ((c = waiting_next(d, &as)))
		register_backup(d, c, &as);
}

static void register_source(struct daemon *d, struct ctl *c, const struct session_register *as)
{
	struct vm *vm = vm_by_id(d, as->vm_id);
	struct session_text why = {"another host runs the VM"};

	if (!vm || vm->role != SESSION_PRIMARY || vm->now.rep ||
	    strcmp(vm->saved.session, as->session) != 0) {
		/* An unknown session: it must release its VM. */
		turn_away(c, SESSION_OP_LEAVE, NULL);
		return;
	}
	begin_session(vm, c);
	vm->now.awaited = false;
	vm->now.stats_ns = tv_now_ns();
	vm->now.replicator = as->pid;
	if (vm->highest > vm->saved.generation)
		ctl_send(c, session_message(SESSION_OP_FENCE, &why));
	else if (vm->saved.leaving)
		ctl_send(c, session_message(SESSION_OP_LEAVE, NULL));
	suspend_next(vm);
}

/* Not another process that this daemon would end in its place; a sink has its user's rights and no
 * more than its part. */
static bool is_who_it_says(const struct ctl *c, const struct session_register *as)
{
	pid_t pid;
	uid_t uid;

	return !ctl_peer(c, &pid, &uid) && pid == as->pid &&
	       (uid == geteuid() || as->role == SESSION_BACKUP);
}

void register_replicator(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct session_register as;
	struct tv_err e = {0};

	if (session_body(SESSION_OP_REGISTER, msg, &as, sizeof(as), &e) || strlen(as.vm_id) != 32) {
		tv_log(TV_WARN, "a replicator cannot register: %s",
		       e.text[0] ? e.text : "the VM's id is invalid");
		ctl_close_when_sent(c);
		return;
	}
	if (!is_who_it_says(c, &as)) {
		tv_log(TV_WARN, "process %d is not the replicator that registers: ignored",
		       (int)as.pid);
		ctl_close_when_sent(c);
		return;
	}
	if (as.role == SESSION_PRIMARY) {
		register_source(d, c, &as);
		return;
	}
	register_backup(d, c, &as);
}
