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
 * Rule 3: a primary whose lease is over stops its VM. There are four places where this process
 * lets a VM run again: the end of an epoch of one command, which was ordered while it was to run;
 * resume() below, for an even wish; cap_end_pause(), which reads the newest wish immediately before;
 * and hv_detach(), which is ordered when the record says that the VM runs here alone, or that
 * protection had not begun. So no order that was posted before a wish for
 * stopping lets the VM run after it was carried out. A wish that is made between that reading and
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

bool cap_wants_stopped(const struct cap *c)
{
	return atomic_load(&c->wish) % 2;
}

bool cap_is_overtaken(const struct cap *c, const struct cap_order *o)
{
	return atomic_load(&c->wish) != o->wish;
}

void cap_pausing(struct cap *c, bool on)
{
	if (on)
		c->conf.page->pauses++;
	c->conf.pausing(c->conf.arg, on);
	if (!on)
		c->conf.page->pauses++;
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
	struct cap_event ev = {.kind = CAP_EV_STOPPED};

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

void cap_obey(struct cap *c)
{
	uint64_t wish = atomic_load(&c->wish);

	if (wish == c->obeyed || !c->vm || c->gone)
		return;
	c->obeyed = wish;
	c->only_attached = false;
	if (wish % 2)
		stop(c);
	else
		resume(c);
}
