/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread: everything that pauses the VM and lets it run again, but the first copy. */
#include "replicator/source/capture_int.h"

#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>

int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur)
{
	int n = hv_harvest(c->vm, cur, s->runs, s->max_runs, s->max_pages);

	if (n < 0)
		return n;
	s->nruns = (unsigned)n;
	for (int i = 0; i < n; i++)
		s->npages += s->runs[i].pages;
	return n ? hv_copy(c->vm, s->runs, s->nruns, s->pages) : 0;
}

bool cap_has_disks(struct cap *c)
{
	unsigned n;

	hv_disks(c->vm, &n);
	return n;
}

struct paused { /* what the epoch's critical section leaves behind */
	struct slot *slot;
	uint64_t pages;
	size_t state_bytes;
	int rc;
};

/*
 * HOT: everything between stop and cont. The VM runs again when it returns, whatever happened;
 * unless it stays stopped for a planned switch and the epoch is whole.
 */
static void capture_paused(struct cap *c, uint64_t epoch, bool stay, struct slot *s,
			   struct paused *out)
{
	struct hv_cursor cur = {0};
	int rc, r;

	s->epoch = epoch;
	s->first = true;
	out->slot = s;
	c->conf.pausing(c->conf.arg, true);
	out->rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	if (out->rc)
		goto resume;
	/* No vCPU runs and QEMU has answered: what the guest sent is in the sockets, and is this
	 * epoch's. */
	out->rc = c->conf.barrier(c->conf.arg, epoch);
	if (out->rc)
		goto resume;
	out->rc = hv_state_begin(c->vm);
	if (out->rc)
		goto resume;
	rc = hv_round_begin(c->vm);
	if (!rc)
		rc = cap_fill(c, s, &cur);
	out->pages += s->npages;
	while (!rc && !cur.done) {
		/* More dirty pages than staging: the VM waits while they are sent (rule 6). */
		encoder_slot_put(c->en, s);
		s = encoder_slot_get(c->en);
		if (!s) {
			rc = -ECANCELED;
			break;
		}
		s->epoch = epoch;
		rc = cap_fill(c, s, &cur);
		out->pages += s->npages;
	}
	r = hv_state_end(c->vm, QMP_TIMEOUT_MS, &out->state_bytes);
	out->rc = rc ? rc : r;
resume:
	out->slot = s;
	/* A VM that an operator paused is the operator's to resume. */
	c->stopped = stay && !out->rc;
	r = out->rc == -EALREADY || c->stopped ? 0 : hv_resume(c->vm, QMP_TIMEOUT_MS);
	/* Only now: a disk write that waits for a commit could keep QEMU from its monitor. */
	c->conf.pausing(c->conf.arg, false);
	if (!out->rc)
		out->rc = r;
}

static int read_state(struct cap *c, struct slot *s, size_t bytes)
{
	if (bytes > CKPT_MAX_STATE_BYTES)
		return -EFBIG;
	if (bytes > s->state_room_bytes) {
		uint8_t *p = realloc(s->state, bytes + bytes / 4);

		if (!p)
			return -ENOMEM;
		s->state = p;
		s->state_room_bytes = bytes + bytes / 4;
	}
	s->state_bytes = bytes;
	return hv_state_read(c->vm, s->state, bytes);
}

void cap_do_epoch(struct cap *c, uint64_t epoch, bool stay)
{
	struct cap_event ev = {.kind = CAP_EV_CAPTURED, .epoch = epoch};
	struct slot *s =
		encoder_slot_get(c->en); /* before the pause: never wait inside for a free one */
	struct paused p = {0};
	struct tv_err e = {0};

	if (!s) {
		cap_fail(c, -ECANCELED, NULL, "capturing an epoch");
		return;
	}
	ev.pause_start_ns = tv_now_ns();
	c->conf.page->in_pause = 1;
	capture_paused(c, epoch, stay, s, &p);
	c->conf.page->in_pause = c->stopped;
	ev.pause_ns = tv_now_ns() - ev.pause_start_ns;
	ev.pages = p.pages;
	if (p.rc == -EALREADY) {
		encoder_slot_drop(c->en, p.slot);
		ev.kind = CAP_EV_NOT_RUNNING;
		cap_emit(c, &ev);
		return;
	}
	if (!p.rc)
		p.rc = read_state(c, p.slot, p.state_bytes);
	/* A mirror's failure was sent before QEMU's answer to the stop: read now, it spoils the
	 * epoch. */
	if (!p.rc && cap_has_disks(c)) {
		p.rc = hv_disks_synced(c->vm, &e);
		if (!p.rc)
			p.rc = hv_events(c->vm, cap_on_vm_event, c);
		if (!p.rc && !hv_disks_ok(c->vm))
			p.rc = -EIO;
	}
	if (p.rc) {
		cap_fail(c, p.rc, &e, "capturing an epoch");
		return; /* the slot stays taken: the session ends */
	}
	p.slot->last = true;
	p.slot->captured_ns = ev.pause_start_ns;
	cap_emit(c, &ev); /* before the loop can learn of the epoch's end any other way */
	encoder_slot_put(c->en, p.slot);
}

/*
 * The disks know of it, as of an epoch's pause: `stop` drains them, and a write that waits for a
 * commit would keep QEMU from answering.
 */
void cap_do_stop(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_STOPPED};

	if (c->stopped) {
		cap_emit(c, &ev);
		return;
	}
	c->conf.page->in_pause = 1;
	c->conf.pausing(c->conf.arg, true);
	ev.rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	c->conf.pausing(c->conf.arg, false);
	if (ev.rc == -EALREADY)
		ev.rc = 0; /* by an operator, or by us before */
	else if (!ev.rc)
		c->stopped = true;
	c->conf.page->in_pause = c->stopped;
	cap_emit(c, &ev);
}

void cap_do_resume(struct cap *c)
{
	int rc = c->stopped ? hv_resume(c->vm, QMP_TIMEOUT_MS) : 0;

	if (rc) {
		cap_fail(c, rc, NULL, "resuming the VM");
		return;
	}
	c->stopped = false;
	c->conf.page->in_pause = 0;
}
