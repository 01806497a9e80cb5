/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture thread: one epoch. Between hv_epoch_begin and hv_epoch_end, while QEMU saves its
 * devices: barrier (netbuffer: one system call or two per NIC), harvest and copy of dirty pages. No
 * allocation, no log, no blocking call, with one exception that is rule 6's: when more is dirty
 * than the staging buffer holds, the VM stays paused while the first part is encoded and sent. That
 * is a longer epoch and never a larger buffer.
 *
 * Most epochs are one command of QEMU's, which resumes the VM by itself, also when we die
 * (hv/attach/pipe.c). What a wish or a planned switch asks for then, that it be stopped, is done
 * right after. The last epoch of a switch leaves the VM stopped, so it takes `stop` and a save in
 * the stopped VM: a VM that ran on for a moment would be ahead of what the backup gets. Somebody
 * else's `cont` in there, or in any epoch of three commands, is found by hv_epoch_end: that epoch
 * is torn. Its barrier is set, so it cannot be taken again under its number: the session ends, the
 * VM runs alone by record, and is copied anew. The backup never gets the end of such an epoch.
 *
 * Failure: whatever fails between pause and resume, the VM is resumed first, and the failure is
 * reported after that.
 *
 * For the trace the pause only reads the clock, seven times, without a system call (vDSO), into variables
 * that leave with the report: less than a microsecond in all. The loop writes them down.
 */
#include "replicator/source/capture_int.h"

#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>

/* HOT. What was done since the last call took as long as is added to *sum_ns. */
static void lap(struct cap_stamps *t, int64_t *sum_ns)
{
	int64_t now = tv_now_ns();

	*sum_ns += now - t->taken_ns;
	t->taken_ns = now;
}

int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur, struct cap_stamps *t)
{
	int n = hv_harvest(c->vm, cur, s->runs, s->max_runs, s->max_pages), rc;

	if (t)
		lap(t, &t->harvest_ns);
	if (n < 0)
		return n;
	s->nruns = (unsigned)n;
	for (int i = 0; i < n; i++)
		s->npages += s->runs[i].pages;
	rc = n ? hv_copy(c->vm, s->runs, s->nruns, s->pages) : 0;
	if (t)
		lap(t, &t->copy_ns);
	return rc;
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
	struct cap_stamps t;
	int rc;
};

/* HOT. All dirty pages, into as many slots as that takes; the last one stays in out->slot. */
static int harvest(struct cap *c, uint64_t epoch, struct paused *out)
{
	struct hv_cursor cur = {0};
	struct compare *compare = out->slot->compare;
	int rc = cap_fill(c, out->slot, &cur, &out->t);

	out->pages += out->slot->npages;
	while (!rc && !cur.done) {
		struct slot *next;

		/* More dirty pages than staging: the VM waits while they are sent (rule 6). */
		encoder_slot_put(c->en, out->slot);
		next = encoder_slot_get(c->en, NULL, NULL);
		if (!next)
			return -ECANCELED;
		lap(&out->t, &out->t.room_ns);
		out->slot = next;
		next->compare = compare;
		next->epoch = epoch;
		rc = cap_fill(c, next, &cur, &out->t);
		out->pages += next->npages;
	}
	return rc;
}

/* HOT. The VM is paused: everything that is the epoch's. */
static int take(struct cap *c, uint64_t epoch, struct paused *out)
{
	/* No vCPU runs, and QEMU has stopped all that sends: what the guest sent is in the sockets,
	 * and is this epoch's. */
	int rc = c->conf.barrier(c->conf.arg, epoch), r;

	out->t.barrier_ns = out->t.taken_ns = tv_now_ns();
	if (!rc)
		rc = hv_round_begin(c->vm);
	if (!rc)
		rc = harvest(c, epoch, out);
	r = hv_epoch_end(c->vm, QMP_TIMEOUT_MS, &out->state_bytes);
	out->t.saved_ns = tv_now_ns();
	return rc ? rc : r;
}

/*
 * HOT: everything between stop and resume. The VM runs again when it returns, whatever happened;
 * unless it stays stopped for a planned switch and the epoch is whole, or is to be stopped, or an
 * operator had suspended it.
 */
static void capture_paused(struct cap *c, uint64_t epoch, enum cap_cmd cmd, struct paused *out)
{
	bool stay = cmd == CAP_LAST_EPOCH, still = cmd == CAP_STILL_EPOCH;
	int paused, r;

	out->slot->epoch = epoch;
	out->slot->first = true;
	cap_pausing(c, true);
	paused = still ? hv_still_begin(c->vm, QMP_TIMEOUT_MS)
		       : hv_epoch_begin(c->vm, stay, QMP_TIMEOUT_MS);
	out->t.stopped_ns = tv_now_ns();
	out->rc = paused ? paused : take(c, epoch, out);
	r = still ? 0 : cap_end_pause(c, paused, stay && !out->rc);
	out->t.running_ns = tv_now_ns();
	/* Only now: a disk write that waits for a commit could keep QEMU from its monitor. */
	cap_pausing(c, false);
	if (!out->rc)
		out->rc = r;
}

static int read_state(struct cap *c, struct slot *s, size_t bytes, struct tv_err *e)
{
	if (bytes > CKPT_MAX_STATE_BYTES)
		return tv_fail(
			e, -EFBIG,
			"its devices have a state of %zu MiB, more than %u: a virtio graphics "
			"card with large screens is the usual reason, give it smaller ones",
			bytes >> 20, CKPT_MAX_STATE_BYTES >> 20);
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

/*
 * A mirror's failure was sent before QEMU's answer to the stop: read now, it spoils the epoch. QEMU
 * ends the mirror of a disk that is unplugged (blockdev_auto_del), maybe after this epoch's devices
 * were looked at.
 */
static int check_disks(struct cap *c, struct tv_err *e)
{
	int rc = cap_has_disks(c) ? hv_disks_synced(c->vm, e) : 0;
	struct tv_err changed = {0};

	if (!rc)
		rc = hv_events(c->vm, cap_on_vm_event, c);
	if (!rc && !hv_disks_ok(c->vm))
		rc = tv_fail(e, -EIO, "a disk's mirror job has ended");
	if (rc != -EIO || hv_devices_look(c->vm, &changed) != TV_E_CHANGED)
		return rc;
	*e = changed;
	return TV_E_CHANGED;
}

struct waiting {
	struct cap *c;
	const struct cap_order *o;
};

static bool is_overtaken(void *arg)
{
	struct waiting *w = arg;

	return cap_is_overtaken(w->c, w->o);
}

/* Before the pause: a slot is never waited for inside, but by rule 6. NULL: there is no epoch. */
static struct slot *get_slot(struct cap *c, const struct cap_order *o)
{
	struct waiting w = {c, o};
	struct cap_event ev = {.kind = CAP_EV_OVERTAKEN, .epoch = o->n};
	struct slot *s = encoder_slot_get(c->en, is_overtaken, &w);

	if (s)
		return s;
	if (cap_is_overtaken(c, o))
		cap_emit(c, &ev);
	else
		cap_fail(c, -ECANCELED, NULL, "capturing an epoch");
	return NULL;
}

/* QEMU may show with an epoch that one command cannot be used. */
static void note_way(struct cap *c)
{
	const char *why = hv_epoch_way(c->vm);

	if (why && !c->three_commands)
		tv_log(TV_WARN, "%s: an epoch takes three commands: %s", c->conf.vm.name, why);
	c->three_commands = why;
}

/*
 * A memory error: QEMU's word for it, which was sent before its answer to the epoch's last command and
 * is read now, or a page that could not be copied. The barrier is set and some of the epoch may be
 * sent, but its end is not, and no other epoch follows: the VM continues on the backup from an epoch
 * of before, or without a session. The slot stays taken.
 */
static bool is_spoiled(struct cap *c, const struct cap_order *o, int *rc, struct tv_err *e)
{
	struct cap_event ev = {.kind = CAP_EV_OVERTAKEN, .epoch = o->n};

	if (*rc == TV_E_POISON)
		*rc = hv_unreadable(c->vm, e);
	if (*rc == TV_E_POISON)
		cap_poison(c, HV_EV_POISON, e);
	if (c->poisoned)
		cap_emit(c, &ev);
	return c->poisoned;
}

void cap_epoch(struct cap *c, const struct cap_order *o)
{
	struct cap_event ev = {
		.kind = CAP_EV_CAPTURED, .epoch = o->n, .still = o->cmd == CAP_STILL_EPOCH};
	struct paused p = {0};
	struct tv_err e = {0};

	if (is_spoiled(c, o, &p.rc, &e)) /* ordered before the loop knew */
		return;
	p.slot = get_slot(c, o);
	if (!p.slot)
		return;
	if (compare_attach(c->conf.compare, o->n))
		p.slot->compare = c->conf.compare;
	ev.pause_start_ns = tv_now_ns();
	capture_paused(c, o->n, o->cmd, &p);
	c->conf.page->in_pause = c->stopped;
	ev.pause_ns = tv_now_ns() - ev.pause_start_ns;
	ev.stop_ns = p.t.stopped_ns - ev.pause_start_ns;
	ev.pages = p.pages;
	if (p.rc == -EALREADY || p.rc == -EAGAIN) {
		if (p.slot->compare)
			compare_undo(p.slot->compare);
		encoder_slot_drop(c->en, p.slot);
		ev.kind = p.rc == -EALREADY ? CAP_EV_NOT_RUNNING : CAP_EV_OVERTAKEN;
		cap_emit(c, &ev);
		return;
	}
	note_way(c);
	if (!p.rc)
		p.rc = read_state(c, p.slot, p.state_bytes, &e);
	if (!p.rc)
		p.rc = hv_devices_check(c->vm, p.slot->state, p.state_bytes, &e);
	if (!p.rc)
		p.rc = check_disks(c, &e);
	if (is_spoiled(c, o, &p.rc, &e))
		return;
	if (!p.rc && !cap_media_ok(c))
		return; /* as below */
	if (p.rc == -ESTALE)
		tv_fail(&e, p.rc,
			"another program let the VM run, or reset it, while it was "
			"captured: it is copied anew");
	if (p.rc) {
		cap_fail(c, p.rc, &e, "capturing an epoch");
		return; /* the slot stays taken: the session ends */
	}
	p.slot->last = true;
	p.slot->still = ev.still;
	p.slot->captured_ns = ev.pause_start_ns;
	ev.stamps = p.t;
	ev.stamps.state_bytes = p.state_bytes;
	ev.stamps.checked_ns = tv_now_ns();
	cap_emit(c, &ev); /* before the loop can learn of the epoch's end any other way */
	encoder_slot_put(c->en, p.slot);
}
