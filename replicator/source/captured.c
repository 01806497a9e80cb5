/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: what the capture thread reports. */
#include "replicator/source/source_int.h"

#include <stdio.h>
#include <stdlib.h>

/* For status. */
static void note_qemu(struct source *s)
{
	json_t *desc = json_loads(s->description, 0, NULL);
	const char *version = json_string_value(json_object_get(desc, "version"));

	snprintf(s->qemu_version, sizeof(s->qemu_version), "%s", version ? version : "");
	json_decref(desc);
}

static void on_attached(struct source *s, const struct cap_event *ev)
{
	if (ev->rc) {
		free(ev->text);
		/* hv_attach has undone everything; a VM that was attached but not described is
		 * detached */
		s->attached = true;
		src_give_up(s, ev->rc == TV_E_REFUSED ? "refused" : "failed", ev->rc, ev->e.text);
		return;
	}
	s->attached = true;
	s->description = ev->text;
	note_qemu(s);
	if (s->leaving)
		cap_post(s->cap, CAP_DETACH, 0);
	else
		src_send_hello(s);
}

static void on_captured(struct source *s, const struct cap_event *ev)
{
	fo_primary_captured(&s->p, true);
	if (s->pace.last_start_ns)
		src_sample(&s->interval, ev->pause_start_ns - s->pace.last_start_ns);
	pace_captured(&s->pace, ev->pause_start_ns, ev->pause_ns);
	src_sample(&s->pause, ev->pause_ns);
	src_sample(&s->dirty, (int64_t)ev->pages);
	src_schedule(s);
}

static void on_vm_event(struct source *s, enum hv_event what)
{
	switch (what) {
	case HV_EV_SHUTDOWN:
		s->vm_shutdown = true;
		break;
	case HV_EV_STOP:
		s->vm_stopped = true;
		break;
	case HV_EV_RESUME:
		s->vm_stopped = false;
		src_schedule(s);
		break;
	default:
		break;
	}
}

static void on_vm_gone(struct source *s)
{
	if (s->leaving)
		return;
	/* A guest that was shut down must not come back to life on the backup. */
	if (s->vm_shutdown) {
		s->user_leave = true;
		src_set_why(s, TV_E_GONE, "the VM was shut down");
		s->leaving = true;
		s->outcome = "vm-gone";
		src_stop_epochs(s);
		cap_post(s->cap, CAP_DETACH, 0);
		return;
	}
	src_event(s, FO_PE_VM_DIED);
	if (!s->leaving)
		src_give_up(s, "vm-gone", TV_E_GONE, "the VM's QEMU process has ended");
}

void src_on_cap(const struct cap_event *ev, void *arg)
{
	struct source *s = arg;

	switch (ev->kind) {
	case CAP_EV_ATTACHED:
		on_attached(s, ev);
		break;
	case CAP_EV_NET_HELD:
		src_on_net_held(s, ev);
		break;
	case CAP_EV_PROGRESS:
		s->progress = ev->progress;
		break;
	case CAP_EV_SYNCED:
		if (s->leaving)
			break;
		nb_hold(s->nb); /* from epoch 1's barrier on */
		fo_primary_synced(&s->p);
		src_schedule(s);
		break;
	case CAP_EV_CAPTURED:
		on_captured(s, ev);
		break;
	case CAP_EV_NOT_RUNNING:
		/* No output comes from a paused VM; its RESUME event starts epochs again. */
		fo_primary_captured(&s->p, false);
		s->vm_stopped = true;
		break;
	case CAP_EV_VM:
		on_vm_event(s, ev->vm_event);
		break;
	case CAP_EV_VM_GONE:
		on_vm_gone(s);
		break;
	case CAP_EV_STOPPED:
		if (s->p.state == FO_P_FENCED && !s->leaving) {
			s->leaving = true;
			s->outcome = "fenced";
			if (s->nb) /* fenced before anything was held: nothing to drop */
				nb_drop(s->nb);
			src_stop_epochs(s);
			cap_post(s->cap, CAP_DETACH, 1);
		}
		break;
	case CAP_EV_FAILED:
		if (s->leaving || s->p.state == FO_P_ASKING || s->p.state == FO_P_HELD ||
		    s->p.state == FO_P_FENCED)
			break;
		src_set_why(s, ev->rc, ev->e.text);
		/* The VM runs, but cannot be captured: alone, by record if there is one. */
		src_event(s, FO_PE_PEER_LOST);
		break;
	case CAP_EV_DETACHED:
		src_on_detached(s, ev);
		break;
	}
}
