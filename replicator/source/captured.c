/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: what the capture thread reports. */
#include "replicator/source/source_int.h"

#include <stdlib.h>

/* For status. */
static void note_qemu(struct source *s)
{
	json_t *desc = json_loads(s->vm.description, 0, NULL);

	tv_copy(s->vm.qemu, sizeof(s->vm.qemu),
		json_string_value(json_object_get(desc, "version")));
	json_decref(desc);
}

static void on_hashing(struct source *s, const struct cap_event *ev)
{
	s->files.hashed_bytes = ev->bytes;
	s->files.to_hash_bytes = ev->all_bytes;
}

static void on_progress(struct source *s, const struct cap_event *ev)
{
	src_count_progress(s, ev->progress);
	src_disks_progress(s, ev);
}

/* Only now is there a connection: an open one without a Hello holds one of the backup's places. */
static void on_hashed(struct source *s, const struct cap_event *ev)
{
	struct tv_err e = {0};
	int rc = ev->rc;

	s->files = (struct src_files){0};
	if (s->end.leaving)
		return;
	if (rc)
		tv_copy(e.text, sizeof(e.text), ev->e.text);
	else
		rc = src_connect(s, &e);
	if (rc)
		src_end(s, SESSION_FAILED, rc, e.text, SRC_DETACH_RUNNING);
}

/* The daemon may have no other word of it. */
static void report_memory(struct source *s, enum session_memory what, const char *why)
{
	struct session_hardware h = {.what = what};

	tv_copy(h.text, sizeof(h.text), why);
	report_send(s->report, session_message(SESSION_OP_HARDWARE, &h));
}

static void on_attached(struct source *s, const struct cap_event *ev)
{
	/* Also when it failed: hv_attach has undone everything then, but a VM that was attached
	 * and could not be described is still to be detached. */
	s->vm.attached = true;
	if (ev->rc) {
		free(ev->text);
		src_end(s, ev->rc == TV_E_REFUSED ? SESSION_REFUSED : SESSION_FAILED, ev->rc,
			ev->e.text, SRC_DETACH_RUNNING);
		return;
	}
	s->vm.description = ev->text;
	note_qemu(s);
	src_disks_attached(s);
	if (s->end.leaving)
		cap_post(s->cap, CAP_DETACH, 0);
	else
		fo_primary_begin(&s->p); /* the Hello comes when the record is there */
}

static void on_synced(struct source *s)
{
	if (s->end.leaving)
		return;
	nb_hold(s->hold.nb); /* from epoch 1's barrier on */
	fo_primary_synced(&s->p);
	src_schedule(s);
}

/* Not by us: no epoch until it runs again; what is committed ages no further. */
static void stands_still(struct source *s)
{
	if (!s->vm.stopped)
		s->vm.stopped_ns = tv_now_ns();
	s->vm.stopped = true;
}

/*
 * What was captured before at_ns is good. The capture thread reports in the order in which it learns, so
 * of what it reports that is all that was captured. If no backup can continue from it, the guest gets
 * its error, as without protection.
 */
void src_poisoned(struct source *s, int64_t at_ns, const char *why)
{
	int64_t now = tv_now_ns();

	if (s->end.leaving || s->p.poisoned)
		return;
	s->numbers.poison_ns = at_ns < now ? at_ns : now;
	tv_log(TV_ERROR, "%s: %s", s->job.vm_name, why);
	fo_primary_poisoned(
		&s->p, now,
		ends_before(&s->numbers.ends, s->p.epoch_captured, s->p.epoch_committed, at_ns));
	snprintf(s->vm.poison.text, sizeof(s->vm.poison.text), "%s; %s", why,
		 s->p.state == FO_P_SWITCHING ? "the VM is to continue on its backup, from the "
						"last epoch before it"
					      : "no backup can continue the VM from before it");
	src_set_why(s, TV_E_POISON, s->vm.poison.text);
	src_send_stats(s);
}

/* By QEMU's word or a page that cannot be read. */
static void on_poison(struct source *s, const struct cap_event *ev)
{
	report_memory(s,
		      ev->unreadable			   ? SESSION_MEMORY_PAGE
		      : ev->vm_event == HV_EV_POISON_RESET ? SESSION_MEMORY_RESET
		      : ev->vm_event == HV_EV_POISON_QEMU  ? SESSION_MEMORY_QEMU
							   : SESSION_MEMORY_VM,
		      ev->e.text);
	src_poisoned(s, INT64_MAX, ev->e.text);
}

static void on_vm_event(struct source *s, enum hv_event what)
{
	enum vm_end before = s->vm.end;

	s->vm.end = vm_end_after(before, what);
	if (s->vm.end == VM_END_HOST && before != VM_END_HOST)
		tv_log(TV_WARN,
		       "%s: its QEMU is ended by a signal or an error, not by its guest: "
		       "it is to run on the backup",
		       s->job.vm_name);
	switch (what) {
	case HV_EV_STOP:
		stands_still(s);
		break;
	case HV_EV_RESUME:
	case HV_EV_LOST: /* an epoch finds out whether it runs */
		/* An event may be older than an operator's suspend; the run state, which is asked for
		 * now, is not. If it ran in between, its last epoch is not of what stands here. */
		s->operator.noted = false;
		s->vm.stopped = s->operator.suspended;
		src_schedule(s);
		break;
	default:
		break;
	}
}

/* The table of run states (hv_runstate.h) decides. */
static void on_state(struct source *s, const struct hv_run_state *state)
{
	const struct hv_run_state *before = s->vm.state;

	s->vm.looking = false;
	if (!state || s->end.leaving)
		return;
	s->vm.state = state;
	if (state->protection == HV_GOES_ON) {
		src_operator_runs(s);
		s->vm.stopped = false;
		src_schedule(s);
	} else {
		stands_still(s);
	}
	if (state != before) {
		if (state->why[0])
			src_log_state(s, tv_now_ns());
		src_send_stats(s);
	}
	if (state->protection == HV_ENDS && state != before) {
		src_set_why(s, TV_E_REFUSED, state->why);
		src_event(s, FO_PE_LEAVE);
	}
}

static void on_vm_gone(struct source *s)
{
	/* A VM that was switched off must not come back to life on the backup. What a guest makes of
	 * a memory error is not its decision. */
	if (vm_end_is_for_good(s->vm.end) && !s->p.poisoned) {
		src_end(s, SESSION_VM_GONE, TV_E_GONE,
			s->vm.end == VM_END_GUEST ? "the VM was shut down by its guest"
						  : "the VM was ended by an operator",
			SRC_DETACH_RUNNING);
		return;
	}
	src_event(s, FO_PE_VM_DIED);
	/* In a state where that changes nothing. */
	src_end(s, SESSION_VM_GONE, TV_E_GONE, "the VM's QEMU process has ended",
		SRC_DETACH_RUNNING);
}

static void on_stopped(struct source *s, const struct cap_event *ev)
{
	if (!ev->rc && cap_is_newest(s->cap, ev->wish))
		fo_primary_halted(&s->p, tv_now_ns());
	if (s->p.state != FO_P_FENCED || s->end.leaving)
		return;
	if (s->hold.nb) /* fenced before anything was held: nothing to drop */
		nb_drop(s->hold.nb);
	src_end(s, SESSION_FENCED, 0, "", SRC_DETACH_STOPPED);
}

static void on_suspended(struct source *s, const struct cap_event *ev)
{
	src_on_suspended(s, ev);
	if (ev->rc)
		return;
	if (ev->still)
		stands_still(s);
	else
		s->vm.stopped = false;
	src_schedule(s);
}

static void on_failed(struct source *s, const struct cap_event *ev)
{
	if (ev->rc == TV_E_POISON)
		report_memory(s, SESSION_MEMORY_PAGE, ev->e.text);
	if (s->end.leaving || s->p.state == FO_P_ASKING || s->p.state == FO_P_HELD ||
	    s->p.state == FO_P_FENCED || s->p.state == FO_P_DOUBTING ||
	    (s->p.state == FO_P_SWITCHING && s->p.poisoned)) /* it is stopped, not captured */
		return;
	src_set_why(s, ev->rc, ev->e.text);
	/* The VM runs, but cannot be captured: alone, by record if there is one. */
	src_event(s, FO_PE_PEER_LOST);
}

void src_on_cap(const struct cap_event *ev, void *arg)
{
	struct source *s = arg;

	switch (ev->kind) {
	case CAP_EV_HASHING:
		on_hashing(s, ev);
		break;
	case CAP_EV_HASHED:
		on_hashed(s, ev);
		break;
	case CAP_EV_ATTACHED:
		on_attached(s, ev);
		break;
	case CAP_EV_FILE:
		src_on_file_read(s, ev);
		break;
	case CAP_EV_NET_HELD:
		src_on_net_held(s, ev);
		break;
	case CAP_EV_EXPORTED:
		src_verify_exported(s, ev);
		break;
	case CAP_EV_PROGRESS:
		on_progress(s, ev);
		break;
	case CAP_EV_SYNCED:
		on_synced(s);
		break;
	case CAP_EV_CAPTURED:
		src_captured(s, ev);
		break;
	case CAP_EV_NOT_RUNNING:
		/* No output comes from a paused VM; its run state shows why. */
		fo_primary_captured(&s->p, false);
		src_count_aborted(s);
		stands_still(s);
		break;
	case CAP_EV_OVERTAKEN:
		fo_primary_captured(&s->p, false);
		src_count_aborted(s);
		src_schedule(s);
		break;
	case CAP_EV_UNPAUSED:
		fo_primary_try_release(&s->p, tv_now_ns());
		break;
	case CAP_EV_VM:
		if (hv_event_is_poison(ev->vm_event))
			on_poison(s, ev);
		else
			on_vm_event(s, ev->vm_event);
		break;
	case CAP_EV_STATE:
		on_state(s, ev->state);
		break;
	case CAP_EV_VM_GONE:
		if (!s->end.leaving)
			on_vm_gone(s);
		break;
	case CAP_EV_STOPPED:
		on_stopped(s, ev);
		break;
	case CAP_EV_SUSPENDED:
		on_suspended(s, ev);
		break;
	case CAP_EV_FAILED:
		on_failed(s, ev);
		break;
	case CAP_EV_DETACHED:
		src_on_detached(s, ev);
		break;
	}
}
