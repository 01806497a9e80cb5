/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `twinvm status` shows (docs/STATUS.md): fields and their meaning are a contract with
 * scripts. */
#include "daemon/autoprotect.h"
#include "daemon/daemon.h"
#include "daemon/ready.h"
#include "daemon/rehearsals.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct field list[] = {
	FIELD(struct vm, name, TEXT, "", "the VM's name"),
	FIELD(struct vm, id, TEXT, "", "the VM's id: 32 hexadecimal digits"),
	FIELD_ENUM(struct vm, role, &session_role_words, "of this host: primary or backup"),
	FIELD_AS("peer", struct vm, saved.peer.name, TEXT, "", "the other host"),
	FIELD_AS("generation", struct vm, saved.generation, U64, "",
		 "grows with every change of primary"),
	FIELD_AS("mode", struct vm, saved.mode, TEXT, "",
		 "what begins an epoch: adaptive, remus, kemari"),
	FIELD_AS("arbiter", struct vm, saved.arbiter, TEXT, "", "URL of the arbiter, or none"),
	FIELD_AS("pid", struct vm, saved.qemu.pid, PID, "",
		 "of the VM's QEMU (on the backup: the standby's; 0: not started)"),
	FIELD(struct vm, rehearsal_due, BOOL, "",
	      "no test failover or drill has passed for rehearsal_reminder_days"),
	FIELD_AS("warning", struct vm, warning.text, TEXT, "",
		 "what is wrong on this host although the VM may be protected; empty: nothing"),
};
const struct fields status_vm_fields = FIELDS("status", list);

/* What is known of some VMs only, or at some times. */
struct times {
	double state_since, last_commit_time, last_contact_time, rtt_ms, epoch_target_ms,
		arbiter_since;
	double link_bytes_s, link_headroom, rehearsed_time;
	double verify_time, verify_mismatched_pages, verify_mismatched_blocks;
	char epoch_why[24], arbiter_state[16];
};
#define T(member, kind, unit, meaning) FIELD_SPARSE(struct times, member, kind, unit, meaning)
static const struct field times_list[] = {
	T(state_since, F64, "s since 1970", "when `state` became what it is"),
	T(last_commit_time, F64, "s since 1970",
	  "of the session's last committed epoch: when its state was taken, so that the lag is "
	  "the time since then (it moves on while the VM stands still); on the backup: when it "
	  "was committed, to a tenth of a second"),
	T(last_contact_time, F64, "s since 1970", "the peer's last sign of life in this session"),
	T(rtt_ms, F64, "ms", "round trip to the peer"),
	T(epoch_target_ms, F64, "ms", "primary: how long an epoch is now while nothing waits"),
	T(epoch_why, TEXT, "",
	  "primary: what sets that: timer, work (it does much), idle (it does little), pause budget"),
	T(arbiter_state, TEXT, "",
	  "by its last answer in this session: reachable, unreachable, no record (of this "
	  "session)"),
	T(arbiter_since, F64, "s since 1970", "when `arbiter_state` became what it is"),
	T(link_bytes_s, F64, "bytes/s",
	  "primary: what the link to the backup carried when sending waited for nothing else: in "
	  "the newest half second or more of this session during which data waited all the time "
	  "(in the first copy, usually)"),
	T(rehearsed_time, F64, "s since 1970",
	  "when a test failover or a drill passed last, as far as this host knows"),
	T(verify_time, F64, "s since 1970", "primary: when it was last compared with its backup"),
	T(verify_mismatched_pages, F64, "pages", "of memory that differed then, repaired or not"),
	T(verify_mismatched_blocks, F64, "blocks", "of disks that differed then, repaired or not"),
	T(link_headroom, F64, "0 to 1",
	  "primary: the share of that which this session leaves: 1 less what arrived in the last second"),
};
const struct fields status_times_fields = FIELDS("status", times_list);

static double or_unknown(double v)
{
	return v > 0 ? v : NAN;
}

/*
 * NAN when one of them is not known. Of what arrived, not of what was encoded: an epoch of some MiB is
 * encoded in a moment, and then fills a slow link for seconds.
 */
static double headroom(double used_bytes_s, double link_bytes_s)
{
	double free = 1 - used_bytes_s / link_bytes_s;

	return free < 0 ? 0 : free;
}

/* So long before the last report, in s since 1970. */
static double ago_s(const struct vm *vm, double ago_ms)
{
	return shown_wall_s(vm->now.stats_ns - (int64_t)(ago_ms * (double)TV_NS_PER_MS));
}

/* The last comparison that was made, if nothing was refused or cut short since. */
static void verify_of(const struct vm *vm, struct times *t)
{
	const struct rehearsal *r = rehearsals_last(vm->d, vm->id, REHEARSAL_VERIFY, false);
	json_t *pages = r ? json_object_get(r->figures, "mismatched_pages") : NULL;

	t->verify_time = t->verify_mismatched_pages = t->verify_mismatched_blocks = NAN;
	if (!pages)
		return;
	t->verify_time = r->ended;
	t->verify_mismatched_pages = json_number_value(pages);
	t->verify_mismatched_blocks =
		json_number_value(json_object_get(r->figures, "mismatched_blocks"));
}

static void times_of(const struct vm *vm, const struct session_stats *s, struct times *t)
{
	bool runs = vm->phase == VM_RUNNING && s->state[0];

	*t = (struct times){.state_since = shown_since(vm),
			    .last_commit_time = shown_commit(vm),
			    .last_contact_time = runs && s->contact_for_ms > 0
							 ? ago_s(vm, s->contact_for_ms)
							 : NAN,
			    .rtt_ms = runs ? or_unknown(s->rtt_ms) : NAN,
			    .epoch_target_ms = runs ? or_unknown(s->epoch_target_ms) : NAN,
			    .link_bytes_s = runs ? or_unknown(s->link_bytes_s) : NAN,
			    .rehearsed_time = or_unknown(vm->rehearsed),
			    .arbiter_since = NAN};
	verify_of(vm, t);
	t->link_headroom = headroom(vm->vitals.before.at_ns ? vm->vitals.link_used_bytes_s : NAN,
				    t->link_bytes_s);
	if (!runs)
		return;
	tv_copy(t->epoch_why, sizeof(t->epoch_why), s->epoch_why);
	tv_copy(t->arbiter_state, sizeof(t->arbiter_state), s->arbiter_state);
	if (s->arbiter_state[0])
		t->arbiter_since = ago_s(vm, s->arbiter_for_ms);
}

#define MAX_SOCKETS 64

/* Where the consoles, agents and monitors of a VM that was a standby are: what is in its QEMU's own
 * folder, whose user chooses the names. Never NULL but without memory. */
static json_t *sockets(const struct vm *vm)
{
	json_t *found = json_array();
	char path[sizeof(vm->saved.dir) + NAME_MAX + 8];
	struct dirent *de;
	struct stat st;
	DIR *dir = NULL;

	snprintf(path, sizeof(path), "%s/vm", vm->saved.dir);
	if (vm->role == SESSION_PRIMARY && vm->saved.dir[0])
		dir = opendir(path);
	while (dir && json_array_size(found) < MAX_SOCKETS && (de = readdir(dir))) {
		if (fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISSOCK(st.st_mode) || !tv_is_utf8(de->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/vm/%s", vm->saved.dir, de->d_name);
		json_array_append_new(found,
				      json_pack("{s:s, s:s}", "name", de->d_name, "path", path));
	}
	if (dir)
		closedir(dir);
	return found;
}

/* NULL: no memory. */
static json_t *show(const struct vm *vm, const struct session_stats *s, json_t *kept)
{
	json_t *o = fields_write(&status_vm_fields, vm);

	if (fields_add(&session_stats_public, s, o) || json_object_set(o, "kept", kept) ||
	    json_object_set_new(o, "sockets", sockets(vm))) {
		json_decref(o);
		o = NULL;
	}
	json_decref(kept);
	return o;
}

/* What only a VM has that this host has a part in. */
static json_t *add_more(const struct vm *vm, const struct session_stats *s, json_t *o)
{
	json_t *disks = vm->phase == VM_RUNNING && vm->now.stats.state[0] ? vm->disks : NULL;
	struct times t;
	json_t *ready = ready_status(vm);
	struct outlook look;

	times_of(vm, s, &t);
	outlook_of(vm, s, &look);
	if (fields_add(&status_times_fields, &t, o) || fields_add(&outlook_fields, &look, o) ||
	    vitals_add(vm, o) || (disks && json_object_set(o, "disks", disks)) ||
	    json_object_set_new(o, "rehearsals", rehearsals_status(vm->d, vm->id)) ||
	    (ready && json_object_set(o, "ready", ready))) {
		json_decref(o);
		o = NULL;
	}
	json_decref(ready);
	return o;
}

static void add_warning(char *to, size_t room, const char *text)
{
	size_t n = strlen(to);

	snprintf(to + n, room - n, "%s%s", n && text[0] ? "; " : "", text);
}

static void add_suspended(const struct vm *vm, struct session_stats *s)
{
	s->suspended = vm->saved.suspended;
	if (!s->suspended)
		return;
	tv_copy(s->run_state, sizeof(s->run_state), "paused");
	tv_copy(s->reason, sizeof(s->reason), SESSION_SUSPENDED);
	if (strcmp(vm->saved.reason, SESSION_SUSPENDED) != 0)
		add_warning(s->reason, sizeof(s->reason), vm->saved.reason);
}

/* A start of it here was refused, as another host has it. */
static void add_refused(struct vm *vm)
{
	const struct elsewhere *x = vm->role == SESSION_BACKUP ? elsewhere_of(vm->d, vm->id) : NULL;
	struct tv_err e;

	if (!x || !x->refused[0])
		return;
	tv_fail(&e, 0, "a start here was refused: %s", x->refused);
	add_warning(vm->warning.text, sizeof(vm->warning.text), e.text);
}

json_t *vm_status(struct vm *vm)
{
	struct session_stats s;

	shown_note(vm);
	shown_stats(vm, &s);
	/* Nobody is attached who would know more than this daemon. */
	if (vm->role == SESSION_PRIMARY && (vm->phase != VM_RUNNING || !s.qemu[0]))
		add_suspended(vm, &s);
	durable_warning(vm->d, vm->warning.text, sizeof(vm->warning.text));
	add_refused(vm);
	if (vm->rehearsal_due)
		add_warning(vm->warning.text, sizeof(vm->warning.text),
			    "no test failover or drill has passed for rehearsal_reminder_days");
	if (vm->phase == VM_RUNNING)
		add_warning(vm->warning.text, sizeof(vm->warning.text), s.warning);
	return add_more(vm, &s, show(vm, &s, kept_json(vm->d, vm->id)));
}

json_t *kept_status(struct daemon *d, const struct kept *k)
{
	struct vm vm = {.role = SESSION_PRIMARY,
			.saved = {.generation = k->generation, .qemu = k->qemu}};
	struct session_stats s = {0};

	tv_copy(vm.id, sizeof(vm.id), k->id);
	tv_copy(vm.name, sizeof(vm.name), k->name);
	durable_warning(d, vm.warning.text, sizeof(vm.warning.text));
	shown_set(&s, "stopped", k->why);
	return show(&vm, &s, kept_json(d, k->id));
}

json_t *unprotected_status(struct daemon *d, const char *name, const struct hv_vm_id *qemu,
			   const char *why)
{
	struct vm vm = {.role = SESSION_PRIMARY, .saved = {.qemu = *qemu}};
	struct session_stats s = {0};

	tv_copy(vm.name, sizeof(vm.name), name);
	durable_warning(d, vm.warning.text, sizeof(vm.warning.text));
	shown_set(&s, "alone", why);
	return show(&vm, &s, json_array());
}

json_t *elsewhere_status(struct daemon *d, const struct elsewhere *x)
{
	struct vm vm = {.role = SESSION_PRIMARY, .saved = {.generation = x->generation}};
	struct session_stats s = {0};
	struct tv_err e;

	tv_copy(vm.id, sizeof(vm.id), x->id);
	tv_copy(vm.name, sizeof(vm.name), x->name);
	tv_copy(vm.saved.peer.name, sizeof(vm.saved.peer.name), x->host);
	tv_copy(vm.saved.arbiter, sizeof(vm.saved.arbiter), x->arbiter);
	durable_warning(d, vm.warning.text, sizeof(vm.warning.text));
	elsewhere_why(x, d->conf.host, &e);
	shown_set(&s, "stopped", x->refused[0] ? x->refused : e.text);
	return show(&vm, &s, kept_json(d, x->id));
}
