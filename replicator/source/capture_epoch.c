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
 * Of an epoch that a timer asks for, pages may have been copied before the pause too (copy_ahead;
 * precopy.c decides): the pause then copies what was written since.
 *
 * Failure: whatever fails between pause and resume, the VM is resumed first, and the failure is
 * reported after that.
 *
 * For the trace the pause only reads the clock, seven times, without a system call (vDSO), into variables
 * that leave with the report: less than a microsecond in all. The loop writes them down.
 */
#include "replicator/source/capture_int.h"

#include "checkpoint/checkpoint.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <stdlib.h>

/* HOT. What was done since the last call took as long as is added to *sum_ns. */
static void lap(struct cap_stamps *t, int64_t *sum_ns)
{
	int64_t now = tv_now_ns();

	*sum_ns += now - t->taken_ns;
	t->taken_ns = now;
}

/* At most until there are that many pages in s. */
static int fill(struct cap *c, struct slot *s, struct hv_cursor *cur, struct cap_stamps *t,
		uint64_t most)
{
	struct hv_run *runs = s->runs + s->nruns;
	uint8_t *to = s->pages + (s->npages << TV_PAGE_SHIFT);
	/* A run has a page at least: there is as much room for these. */
	int n = hv_harvest(c->vm, cur, runs, (unsigned)most - s->nruns, most - s->npages), rc;

	if (t)
		lap(t, &t->harvest_ns);
	if (n < 0)
		return n;
	s->nruns += (unsigned)n;
	for (int i = 0; i < n; i++)
		s->npages += runs[i].pages;
	rc = n ? hv_copy(c->vm, runs, (unsigned)n, to) : 0;
	if (t)
		lap(t, &t->copy_ns);
	return rc;
}

int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur, struct cap_stamps *t)
{
	return fill(c, s, cur, t, s->max_pages);
}

bool cap_has_disks(struct cap *c)
{
	unsigned n;

	hv_disks(c->vm, &n);
	return n;
}

struct paused { /* what the epoch's critical section leaves behind */
	struct slot *slot;
	struct compare *compare;
	uint64_t pages;	       /* of all slots */
	uint64_t ahead, twice; /* of these, copied ahead of the pause, and in the pause again */
	int64_t ahead_ns;      /* when that was begun; 0: nothing was */
	size_t state_bytes;
	struct cap_stamps t;
	bool begun; /* the epoch has a barrier: its number is used */
	int rc;
};

/* HOT. All dirty pages, into as many slots as that takes; the last one stays in out->slot. */
static int harvest(struct cap *c, uint64_t epoch, struct paused *out)
{
	struct hv_cursor cur = {0};
	int rc = cap_fill(c, out->slot, &cur, &out->t);

	while (!rc && !cur.done) {
		/* More dirty pages than staging: the VM waits while they are sent (rule 6). */
		struct slot *full = out->slot, *next = encoder_slot_get(c->en, NULL, NULL);

		if (!next)
			return -ECANCELED;
		/* Records ascend over all of an epoch's slots. */
		slot_split(full, next, cur.block, cur.offset);
		out->twice += slot_twice(full);
		out->pages += full->npages;
		encoder_slot_put(c->en, full);
		lap(&out->t, &out->t.room_ns);
		out->slot = next;
		next->compare = out->compare;
		next->epoch = epoch;
		rc = cap_fill(c, next, &cur, &out->t);
	}
	out->pages += out->slot->npages;
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
	out->begun = !paused;
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
	struct slot *s = c->kept && !cap_is_overtaken(c, o)
				 ? c->kept
				 : encoder_slot_get(c->en, is_overtaken, &w);

	c->kept = s ? NULL : c->kept;
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

/*
 * What is dirty now is copied while the VM runs. Each page is protected again before it is copied, so
 * that whatever is written into it from then on, also in the middle of its copy, is found by the
 * harvest in the pause, which copies the page again: a page that this harvest does not find is, in the
 * pause, what was copied here. The tracking knows nothing more of the pages in the slot; so the slot
 * is kept when the epoch comes to nothing, and the next one begins with it.
 *
 * A failure ends the session: pages may have been found and not copied.
 */
static int copy_ahead(struct cap *c, struct paused *p)
{
	struct hv_cursor cur = {0};
	int rc;

	p->ahead_ns = tv_now_ns();
	rc = hv_round_begin(c->vm);
	if (!rc)
		rc = fill(c, p->slot, &cur, NULL, p->slot->max_pages / 2);
	slot_ahead_done(p->slot);
	return rc;
}

/* Not where somebody waits for the epoch, where a round of the tracking begins in a pause only, or where
 * pages of an epoch that came to nothing are in the slot. */
static bool is_copied_ahead(const struct cap *c, const struct cap_order *o, const struct slot *s)
{
	return o->cmd == CAP_TIMED_EPOCH && !s->nahead && !hv_round_needs_pause(c->vm) &&
	       precopy_wanted(&c->precopy, s->max_pages);
}

/* It has not begun: its number is the next one's, and so is what was copied ahead. */
static void give_back(struct cap *c, struct paused *p, struct cap_event *ev)
{
	if (p->compare)
		compare_undo(p->compare);
	if (p->slot->nahead)
		c->kept = p->slot;
	else
		encoder_slot_drop(c->en, p->slot);
	ev->kind = p->rc == -EALREADY ? CAP_EV_NOT_RUNNING : CAP_EV_OVERTAKEN;
	cap_emit(c, ev);
}

/* The VM runs again. The device state of an epoch that is whole, and its end. */
static void end_epoch(struct cap *c, const struct cap_order *o, struct paused *p,
		      struct cap_event *ev)
{
	struct slot *s = p->slot;
	struct tv_err e = {0};
	int rc = p->rc ? p->rc : read_state(c, s, p->state_bytes, &e);

	if (!rc)
		rc = hv_devices_check(c->vm, s->state, p->state_bytes, &e);
	if (!rc)
		rc = check_disks(c, &e);
	if (is_spoiled(c, o, &rc, &e))
		return;
	if (!rc && !cap_media_ok(c))
		return; /* as below */
	if (rc == -ESTALE)
		tv_fail(&e, rc,
			"another program let the VM run, or reset it, while it was "
			"captured: it is copied anew");
	if (rc) {
		cap_fail(c, rc, &e, "capturing an epoch");
		return; /* the slot stays taken: the session ends */
	}
	s->last = true;
	s->still = ev->still;
	s->captured_ns = ev->pause_start_ns;
	ev->stamps.state_bytes = p->state_bytes;
	ev->stamps.checked_ns = tv_now_ns();
	cap_emit(c, ev); /* before the loop can learn of the epoch's end any other way */
	encoder_slot_put(c->en, s);
}

/*
 * From the first epoch on: while the VM stands for this thread, the thread does not wait for other
 * guests' vCPUs. Not before: a first copy may take hours of a CPU, for which no guest waits.
 */
static void raise_priority(struct cap *c)
{
	if (!c->raised)
		job_raise_priority();
	c->raised = true;
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
	raise_priority(c);
	p.slot->compare = NULL;
	if (is_copied_ahead(c, o, p.slot))
		p.rc = copy_ahead(c, &p);
	if (p.rc) {
		end_epoch(c, o, &p, &ev);
		return;
	}
	p.ahead = p.slot->npages;
	if (p.ahead_ns && cap_is_overtaken(c, o)) {
		give_back(c, &p, &ev);
		return;
	}
	if (compare_attach(c->conf.compare, o->n))
		p.compare = p.slot->compare = c->conf.compare;
	ev.pause_start_ns = tv_now_ns();
	capture_paused(c, o->n, o->cmd, &p);
	c->conf.page->in_pause = c->stopped;
	ev.pause_ns = tv_now_ns() - ev.pause_start_ns;
	ev.stop_ns = p.t.stopped_ns - ev.pause_start_ns;
	if (!p.begun && (p.rc == -EALREADY || p.rc == -EAGAIN)) {
		give_back(c, &p, &ev);
		return;
	}
	note_way(c);
	p.twice += slot_twice(p.slot);
	ev.pages = p.pages - p.twice;
	precopy_note(&c->precopy, ev.pages, p.ahead, p.twice);
	ev.stamps = p.t;
	ev.stamps.ahead_ns = p.ahead_ns;
	ev.stamps.ahead_pages = p.ahead;
	end_epoch(c, o, &p, &ev);
}
