/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: stopping the VM
 *
 * That the VM be stopped, or run again, is a wish and no order in the queue: a lease can end and
 * come back any number of times while this thread waits for QEMU, and only the newest wish counts.
 * A wish is a number that grows with each of them; odd numbers are for stopped. The thread carries
 * out a number that it has not carried out yet whenever it is woken, before each order, and after
 * each.
 *
 * Wishes and orders. Each order carries the wish that was the newest when it was posted.
 *   - An order never overtakes a wish that was made before it: the loop stores the wish before it
 *     posts the order, so the thread that takes the order finds that wish, or a newer one, and
 *     carries it out first.
 *   - A wish may overtake an order that was posted before it. Only epochs depend on whether the VM
 *     runs. One with an older wish than the newest is not captured (CAP_EV_OVERTAKEN): nothing of
 *     it exists then, no barrier was set, and the engine asks anew when it may. Also when both
 *     stopping and resuming were wished for meanwhile, as CAP_LAST_EPOCH would undo the second.
 *   - A wish for stopping that comes while an epoch is being captured is found at the end of its
 *     pause: the epoch is whole. The VM does not run again in between, if the epoch took three
 *     commands; after one command QEMU has resumed it, and the wish is carried out next, as if it
 *     had been made a moment later. One that comes while an epoch waits for a slot ends the waiting.
 *
 * An operator's wish, to suspend the VM or to let it run, is a second number of the same kind. It is
 * carried out by this thread as well, so never inside an epoch, and what QEMU and other monitors
 * make of it is what they make of any `stop` and `cont`. While the first wish is for stopped, an
 * operator's resume leaves the VM stopped by us. A VM that he has suspended is not c->stopped: nothing
 * here resumes it but his next wish.
 *
 * Rule 3: a primary whose lease is over stops its VM. This process lets a VM run again in five places:
 *   - let_run(), which reads the newest wish before;
 *   - the end of an epoch of one command, which was ordered while the VM was to run;
 *   - resume(), for an even wish;
 *   - cap_end_pause(), which reads the newest wish immediately before;
 *   - hv_detach(), which is ordered when the record says that the VM runs here alone, or that
 *     protection had not begun.
 * So no order that was posted before a wish for stopping lets the VM run after it was carried out. A wish that is made between that reading and
 * QEMU's `cont` is carried out next, as if it had been made a moment later.
 *
 * Limits: a QMP call takes as long as QEMU takes (at most QMP_TIMEOUT_MS), and a wish waits for
 * that, or for the end of the first copy (decide.c ends that, with the encoder). Output does not
 * depend on it: it is released under a lease that runs (failover/primary.c).
 */
#include "replicator/source/capture_int.h"

#include <errno.h>

void cap_want_stopped(struct cap *c, bool stopped)
{
	uint64_t w = atomic_load(&c->wish) + 1; /* nobody else writes it */

	atomic_store(&c->wish, w % 2 == stopped ? w : w + 1);
	tv_box_wake(&c->orders);
	encoder_look(c->en);
}

bool cap_is_newest(const struct cap *c, uint64_t wish)
{
	return atomic_load(&c->wish) == wish;
}

bool cap_wants_stopped(const struct cap *c)
{
	return atomic_load(&c->wish) % 2;
}

bool cap_is_overtaken(const struct cap *c, const struct cap_order *o)
{
	return atomic_load(&c->wish) != o->wish || atomic_load(&c->operator) != o->operator;
}

void cap_pausing(struct cap *c, bool on)
{
	if (on) {
		atomic_store(&c->pausing, true);
		c->conf.page->pauses++;
	}
	c->conf.pausing(c->conf.arg, on);
	if (!on) {
		c->conf.page->pauses++;
		atomic_store(&c->pausing, false);
		if (atomic_load(&c->release_waits))
			tv_box_wake(&c->events);
	}
}

int cap_end_pause(struct cap *c, int pause_rc, bool stay)
{
	if (pause_rc == -EALREADY) /* a VM that an operator paused is the operator's to resume */
		return 0;
	if (!pause_rc && hv_is_paused(c->vm) && (stay || cap_wants_stopped(c))) {
		c->stopped = true;
		return 0;
	}
	return hv_resume(c->vm, QMP_TIMEOUT_MS);
}

/*
 * The disks know of it, as of an epoch's pause: `stop` drains them, and a write that waits for a
 * commit would keep QEMU from answering.
 */
static void stop(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_STOPPED, .wish = c->obeyed};

	if (c->stopped) {
		cap_emit(c, &ev);
		return;
	}
	c->conf.page->in_pause = 1;
	cap_pausing(c, true);
	ev.rc = hv_pause(c->vm, QMP_TIMEOUT_MS);
	cap_pausing(c, false);
	if (ev.rc == -EALREADY)
		ev.rc = 0; /* by an operator, or by us before */
	else if (!ev.rc)
		c->stopped = true;
	c->conf.page->in_pause = c->stopped;
	cap_emit(c, &ev);
}

static void resume(struct cap *c)
{
	int rc = c->stopped ? hv_resume(c->vm, QMP_TIMEOUT_MS) : 0;

	if (rc) {
		cap_fail(c, rc, NULL, "resuming the VM");
		return;
	}
	c->stopped = false;
	c->conf.page->in_pause = 0;
}

/* ---- an operator's ---- */
void cap_want_suspended(struct cap *c, bool suspended)
{
	uint64_t w = atomic_load(&c->operator) + 1; /* nobody else writes it */

	atomic_store(&c->operator, w % 2 == suspended ? w : w + 1);
	tv_box_wake(&c->orders);
	encoder_look(c->en);
}

bool cap_operator_waits(struct cap *c)
{
	return atomic_load(&c->operator) != c->operator_obeyed;
}

static int suspend(struct cap *c, struct tv_err *e)
{
	int rc;

	if (!c->vm)
		return hv_suspend_vm(&c->conf.vm, true, e);
	cap_pausing(c, true); /* as stop() */
	rc = hv_suspend(c->vm, e);
	cap_pausing(c, false);
	if (!rc)
		c->stopped = false;
	c->conf.page->in_pause = c->stopped;
	return rc;
}

static int let_run(struct cap *c, struct tv_err *e)
{
	int rc;

	if (!c->vm)
		return hv_suspend_vm(&c->conf.vm, false, e);
	if (!cap_wants_stopped(c))
		return hv_unsuspend(c->vm, e);
	/* It runs when the lease is back: resume(). The page first, as in stop(). */
	c->conf.page->in_pause = 1;
	rc = hv_keep_stopped(c->vm, QMP_TIMEOUT_MS);
	c->stopped = c->stopped || !rc;
	c->conf.page->in_pause = c->stopped;
	return rc;
}

void cap_obey_operator(struct cap *c)
{
	uint64_t want = atomic_load(&c->operator);
	struct cap_event ev = {.kind = CAP_EV_SUSPENDED, .still = want % 2};

	if (want == c->operator_obeyed)
		return;
	c->operator_obeyed = want;
	if (c->gone)
		ev.rc = tv_fail(&ev.e, TV_E_GONE, "the VM has ended");
	else
		ev.rc = ev.still ? suspend(c, &ev.e) : let_run(c, &ev.e);
	if (ev.rc && !ev.e.text[0])
		tv_fail(&ev.e, ev.rc, "its monitor: %s", tv_strerror(ev.rc));
	cap_emit(c, &ev);
}

void cap_obey(struct cap *c)
{
	uint64_t wish = atomic_load(&c->wish);

	cap_obey_operator(c);
	if (wish == c->obeyed || !c->vm || c->gone)
		return;
	c->obeyed = wish;
	c->only_attached = false;
	if (wish % 2)
		stop(c);
	else
		resume(c);
}
