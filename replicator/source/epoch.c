/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: epochs, from their trigger to their commit. */
#include "replicator/source/source_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- epochs ---- */
void src_stop_epochs(struct source *s)
{
	encoder_stop(s->en);
	disks_discard(s->disks);
}

void src_schedule(struct source *s)
{
	struct nb_stats ns;
	int64_t now, due, held;

	if (s->leaving || s->vm_stopped || !s->net_held)
		return;
	if (fo_primary_last_epoch(&s->p)) {
		cap_post(s->cap, CAP_LAST_EPOCH, fo_primary_capture(&s->p));
		return;
	}
	if (!fo_primary_may_capture(&s->p))
		return;
	nb_stats(s->nb, &ns);
	now = tv_now_ns();
	held = ns.oldest_held_ns > s->pace.last_start_ns ? ns.oldest_held_ns : 0;
	if (!held && disks_waiting(s->disks))
		held = s->pace.last_start_ns +
		       1; /* a disk write that waits is as urgent as a frame */
	due = pace_due_ns(&s->pace, held);
	if (due > now) {
		src_arm(s->due, due - now);
		return;
	}
	cap_post(s->cap, CAP_EPOCH, fo_primary_capture(&s->p));
}

void src_on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	src_schedule(arg);
}

static void on_first_held(void *arg, int64_t now_ns)
{
	(void)now_ns;
	src_schedule(arg);
}

/*
 * A port or a disk's mirror has failed. Those of a QEMU that dies fail first; its end, which
 * decides more (the backup takes over at once), is heard a moment later.
 */
void src_fail_soon(struct source *s, int rc, const char *why)
{
	if (s->leaving || s->part_failed.text[0])
		return;
	tv_fail(&s->part_failed, rc, "%s", why);
	s->part_rc = rc;
	src_arm(s->part_wait, PART_FAILED_WAIT_NS);
}

static void on_nb_failed(void *arg, const char *port, int rc)
{
	char why[256];

	snprintf(why, sizeof(why), "network port %s failed: %s", port, tv_strerror(rc));
	src_fail_soon(arg, rc, why);
}

void src_on_part_wait(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	if (s->leaving)
		return;
	src_set_why(s, s->part_rc, s->part_failed.text);
	/* The same cure as for a lost backup: alone, by record, without us in the path. */
	src_event(s, FO_PE_PEER_LOST);
}

/* Capture thread, VM paused. */
int src_barrier(void *arg, uint64_t epoch)
{
	struct source *s = arg;

	disks_barrier(s->disks, epoch);
	return nb_barrier(s->nb, epoch);
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

void src_committed(struct source *s, uint64_t epoch)
{
	disks_committed(s->disks, epoch);
	s->committed_state_ns = s->captured_at_ns[epoch % (MAX_IN_FLIGHT + 2)];
	if (epoch == 1)
		s->progress = 1;
	src_schedule(s);
}

bool src_on_piece(const struct piece *p, void *arg)
{
	struct source *s = arg;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__EpochBegin b = TWINVM__EPOCH_BEGIN__INIT;
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;
	Twinvm__SyncEnd sync = TWINVM__SYNC_END__INIT;

	struct disks_sum disk = {0};

	if (!s->connected || !s->conn)
		return true; /* the session is ending; nobody wants it any more */
	/* What the guest wrote to its disks until the epoch's end goes before its end. */
	if ((p->kind == PIECE_END || p->kind == PIECE_SYNC_END) &&
	    (!src_send_disks(s) || !disks_complete(s->disks, p->epoch, &disk)))
		return false; /* src_send_disks goes on */
	switch (p->kind) {
	case PIECE_RECORDS:
		if (repl_send_records(s->conn, p->buf.data, p->buf.bytes) == -EAGAIN) {
			s->bulk_blocked = true;
			return false;
		}
		return true;
	case PIECE_BEGIN:
		b.epoch = p->epoch;
		b.generation = s->job.generation;
		msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_BEGIN;
		msg.epoch_begin = &b;
		break;
	case PIECE_END:
		src_replay_epoch(s, p->epoch);
		end.epoch = p->epoch;
		end.generation = s->job.generation;
		end.records = p->records;
		end.checksum = p->checksum;
		end.wire_bytes = p->wire_bytes;
		end.disk_records = disk.records;
		end.disk_checksum = disk.checksum;
		msg.msg_case = TWINVM__CONTROL__MSG_EPOCH_END;
		msg.epoch_end = &end;
		fo_primary_sent(&s->p, p->epoch);
		s->captured_at_ns[p->epoch % (MAX_IN_FLIGHT + 2)] = p->captured_ns;
		s->flight_bytes[p->epoch % (MAX_IN_FLIGHT + 2)] = p->wire_bytes + disk.bytes;
		break;
	case PIECE_SYNC_END:
		sync.generation = s->p.generation;
		sync.records = p->records;
		sync.disk_records = disk.records;
		sync.disk_checksum = disk.checksum;
		msg.msg_case = TWINVM__CONTROL__MSG_SYNC_END;
		msg.sync_end = &sync;
		break;
	}
	src_send(s, &msg, false);
	return true;
}

/* ---- the capture thread's answers ---- */
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

static void begin_sync(struct source *s)
{
	s->p.in_flight_max = nb_max_in_flight(s->nb);
	s->net_held = true;
	cap_post(s->cap, CAP_SYNC, 0);
}

/* Below QEMU, by the kernel. When that fails QEMU's filters are tried. */
static void hold_taps(struct source *s, const struct cap_event *ev, const struct nb_conf *conf)
{
	struct nb_plug_tap taps[HV_MAX_NICS] = {0};

	for (unsigned i = 0; i < ev->ntaps; i++) {
		snprintf(taps[i].name, sizeof(taps[i].name), "%s", ev->taps[i].netdev);
		snprintf(taps[i].ifname, sizeof(taps[i].ifname), "%s", ev->taps[i].ifname);
		taps[i].ifindex = ev->taps[i].ifindex;
	}
	if (nb_plug_new(s->base, taps, ev->ntaps, s->job.vm_id, conf, &s->nb, &s->net_why)) {
		cap_post(s->cap, CAP_HOLD_NET, CAP_NET_FILTERS);
		return;
	}
	tv_log(TV_INFO, "output is held in the kernel, by a plug queue for each tap");
	for (unsigned i = 0; i < ev->ntaps; i++)
		src_replay_watch(s, ev->taps[i].ifname);
	begin_sync(s);
}

static void on_net_held(struct source *s, const struct cap_event *ev)
{
	struct nb_port ports[HV_MAX_NICS] = {0};
	struct nb_conf conf = {.generation = s->p.generation,
			       .first_held = on_first_held,
			       .failed = on_nb_failed,
			       .arg = s};
	struct tv_err e = {0};
	int rc;

	if (ev->text)
		tv_fail(&s->net_why, 0, "%s", ev->text);
	free(ev->text);
	if (ev->rc) {
		tv_fail(&e, ev->rc, "%s%s%s", ev->e.text,
			s->net_why.text[0] ? "; nor can it be held in the kernel: " : "",
			s->net_why.text);
		src_give_up(s, "refused", ev->rc, e.text);
		return;
	}
	if (ev->ntaps) {
		if (!s->leaving)
			hold_taps(s, ev, &conf);
		return;
	}
	if (ev->nports)
		tv_log(TV_INFO, "output is held by QEMU's filters, not in the kernel%s%s",
		       s->net_why.text[0] ? ": " : "", s->net_why.text);
	for (unsigned i = 0; i < ev->nports; i++) {
		snprintf(ports[i].name, sizeof(ports[i].name), "%s", ev->ports[i].netdev);
		ports[i].capture_fd = ev->ports[i].capture_fd;
		ports[i].inject_fd = ev->ports[i].inject_fd;
		ports[i].vnet_hdr = ev->ports[i].vnet_hdr;
		/* The daemon holds them too: were we to die, QEMU would let frames pass unheld. */
		s->stash[s->stash_n++] = fcntl(ev->ports[i].capture_fd, F_DUPFD_CLOEXEC, 0);
		s->stash[s->stash_n++] = fcntl(ev->ports[i].inject_fd, F_DUPFD_CLOEXEC, 0);
		src_replay_watch(s, ev->ports[i].ifname);
	}
	if (s->stash_n)
		report_send_fds(s->report, json_pack("{ss}", "op", "stash"), s->stash, s->stash_n);
	rc = nb_relay_new(s->base, ports, ev->nports, &conf, &s->nb, &e);
	if (rc) {
		src_give_up(s, "failed", rc, e.text);
		return;
	}
	begin_sync(s);
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
		on_net_held(s, ev);
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
