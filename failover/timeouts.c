/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every time-out, from one setting: the heartbeat interval H (100 ms by default).
 *
 * Clocks are monotonic, run while their host is suspended (CLOCK_BOOTTIME), and are local; nothing
 * compares the clocks of two hosts. The primary stamps each heartbeat with its own clock and the
 * backup echoes the stamp, so both ends measure from an instant that really was before the other
 * side's: the primary's lease runs from when it SENT the heartbeat, the backup's patience from when
 * it last RECEIVED anything, which is never earlier. The backup's limit being longer by H/2, a
 * primary whose lease runs has a backup that has not asked yet, as long as the two clocks' rates
 * differ by less than one part in five. That margin is also the time in which the primary must stop
 * its VM: it looks every H/8 and QEMU's `stop` takes a millisecond or a few.
 *
 * Heartbeats travel in the stream every H, and as datagrams every H/4: a retransmission in the
 * stream (200 ms and more) or a full link must not look like a dead host, and up to nine datagrams
 * in a row may get lost before the backup asks. Datagrams are sent and echoed by threads that
 * nothing else holds up (replicator/link/beat.c); their arrival is what those threads measured.
 *
 * Power cut of the primary at 0, H = 100 ms:
 *     0 ..  -25   last byte reached the backup (at most H/4 before, less when epochs flow)
 *   225 ..  265   suspect_ns of silence: the backup asks the arbiter
 *   230 ..  280   compare-and-swap is durable: generation + 1 is the backup's
 *   250 ..  350   incomplete epoch dropped, device state loaded, NICs attached, announced, running
 *   The client's TCP retransmits at about 200 ms (tail loss probe) and at 400 to 450 ms: the second
 *   one is answered.
 *
 * Power cut or freeze of the backup at 0, or of the link between the two:
 *   175 ..  200   lease_ns over: commits that arrive late release nothing any more
 *   175 ..  215   the VM is stopped, and the primary asks to run alone (only with an arbiter: without
 *                 one no other host starts the VM, so it runs on)
 *   180 ..  230   compare-and-swap is durable: released, resumed, alone. A client saw a pause.
 *   225 ..  265   a backup that lives, behind a link that is lost, asks, and finds that the primary
 *                 runs alone: it removes its standby. It takes over only where the primary does not
 *                 ask; both measure from the same heartbeat, so 10 ms and more are between them, and
 *                 if an arbiter is slower than that, the compare-and-swap lets one of them win.
 *   600 ..  615   backup_lost_ns: without an arbiter the primary runs alone; with one that does not
 *                 answer it does not wait for the link any more
 *   If the arbiter cannot be reached: asked again every retry_ns, the VM stays stopped until the
 *   arbiter says that it runs alone, or that another host runs it, or the link is back.
 *
 * The link is back before the arbiter has answered, at 210 for instance: the VM is resumed and output
 * follows commits, since the lease runs; but the record may say alone by now, or soon, and then no
 * backup could take over. So the pair is recorded again before the VM counts as protected: 5 ms.
 *
 * The stream is stuck while datagrams pass (a firewall that forgot the flow, an MTU black hole, one
 * direction lost), or the backup's disk hangs, from 0 on; an epoch is captured and not committed:
 *     0 ..   12   progress is looked at every H/8. Progress is a commit, more bytes that the peer's
 *                 TCP has acknowledged (heartbeats not counted), or an apply thread that works, as
 *                 the echoes report. A slow link or a slow disk moves all the time.
 *  1000 .. 1030   commit_deadline_ns without any: the primary asks to run alone, records it,
 *                 releases. Its lease runs meanwhile, so that the VM is not stopped.
 *  1000 .. 1050   a backup whose apply thread has work and does not move echoes nothing any more:
 *                 from here on as after its power cut.
 * 10000           stream_stuck_ns (100 H, and 5 s or more): the backstop, by the kernel, on both
 *                 hosts: also the first copy, for which nothing is held, does not hang for ever.
 *
 * A replicator's loop hangs while its thread of heartbeats continues, from 0 on: both hosts are well
 * and the VM runs, so it is waited for as long as for a stuck stream. On the primary nothing is
 * released meanwhile: every release is the loop's, and looks at the lease with the clock read anew.
 *     0 ..   12   the last tick: heartbeats and echoes are allowed until commit_deadline_ns after it
 *  1000 .. 1015   the primary's loop: its heartbeats end; 1250 .. 1290 the backup asks, and takes over
 *  1000 .. 1030   the backup's loop: no commit, and nothing moves; the primary asks to run alone
 *
 * Connection closed by the peer's kernel (its process died, its host did not):
 *   the backup gives the primary's daemon reconnect_grace_ns to record that the VM runs alone or to
 *   come back with a new replicator, and only then asks the arbiter to promote. The primary asks to
 *   run alone at once, and stops its VM only if the answer does not come before the lease is over.
 *
 * On a slow host a handshake costs seconds of its CPU: one that is given up and tried again, both
 * ways, would take all of it. So these times grow with H, too (handshake_ns, look_ns).
 *
 * A primary connects, and then attaches to its VM: a second, or many through a slow libvirtd. A peer
 * with a good certificate may be mute for hello_ns (150 H, but 15 to 120 s); then it is refused.
 *
 * A VM that runs alone: tries to have it protected again come after 3H, doubled each time up to 50H
 * (refusals in a row: up to 300H). Losses add up until the VM was protected for 600H without one, so
 * that a loose cable does not cost a copy of the VM each time it moves. Who is tried when is in
 * reprotect.c.
 *
 * A watchdog is looked at every pet_ns (5 H, but 0.2 to 2 s; devices want to be petted within 10 s
 * and more); a replicator that has sent nothing for backup_lost_ns (it reports every H) is in
 * doubt.
 *
 * A replicator that hangs while its VM stands still for an epoch is ended after seven looks of
 * hung_look_ns each (H, but 0.1 to 1 s) without a report of it, all of them in one pause: 0.7 to 0.8 s
 * by default. Where there is an arbiter the backup, which gets no heartbeat, has mostly taken over
 * by then.
 *
 * A fence_command that has not ended after fence_ns (300 H, but 10 to 120 s: power switches are
 * slow whatever the heartbeat) is ended and has failed. No VM waits for it where there is an
 * arbiter.
 *
 * A question to an etcd cluster (one read, one compare-and-swap; a few ms each when all is well):
 *     0           the member that answered last is asked
 *    50           arbiter_next_ns: no answer yet, so the next member is asked too, and so on every
 *                 50 ms; at once when a member refuses. The first good answer counts. A member that
 *                 died together with the primary costs the promotion 50 ms, once.
 *   500           arbiter_answer_ns: no member answered; the core asks again after retry_ns. An
 * election in the cluster (1 to 2 s with etcd's own settings) is waited out this way. Below H = 60
 * ms the limits do not shrink further, as an etcd member syncs its disk before it answers, whatever
 * the heartbeat interval; above H = 1 s they do not grow.
 *
 * Membership: a host announces itself every announce_ns (30 H, but 1 to 10 s) and is forgotten
 * after four times that. Nothing about a running VM depends on it, only the choice of a backup.
 *
 * Frozen primary that comes back after the backup promoted: its lease is long over when it wakes
 * (the clock ran on), so no frame leaves and its VM is stopped; its next question to the arbiter is
 * lost, or it receives the backup's higher generation: fenced.
 *
 * The way there and back: an echo is at least a round trip old when it arrives, and the next one
 * comes a quarter of H later, so a round trip of 1.5 H leaves a lease a margin of H/4. With longer
 * ones none runs for long; without an arbiter (no lease), silence of backup_lost_ns is what counts.
 * A heartbeat interval of 1.25 round trips leaves a margin of 1.25 H.
 *
 * A QEMU that hangs (it is stopped, or its storage is dead) is reported after commit_deadline_ns and,
 * with hung_qemu = failover, killed after hung_ns (30 H, but 3 to 60 s: an answer of a busy QEMU takes
 * milliseconds, of one with slow storage a second or two).
 *
 * Planned switch: VM stopped at 0, its last epoch committed at about 10 ms, the backup asked,
 * compare-and-swap and load as above, running at about 60 ms. If it has not reported after
 * switch_ns, the primary asks the arbiter for its VM back.
 */
#include "failover/failover.h"

static int64_t within(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

void fo_times_init(struct fo_times *t, int64_t heartbeat_ns)
{
	int64_t h = heartbeat_ns;

	*t = (struct fo_times){
		.heartbeat_ns = h,
		.beat_ns = h / 4,
		.lease_ns = 2 * h,
		.suspect_ns = 5 * h / 2,
		.backup_lost_ns = 6 * h,
		.commit_deadline_ns = 10 * h,
		.hung_ns = within(30 * h, 3 * TV_NS_PER_S, 60 * TV_NS_PER_S),
		.handshake_ns = within(30 * h, 3 * TV_NS_PER_S, 60 * TV_NS_PER_S),
		.look_ns = within(10 * h, TV_NS_PER_S, 10 * TV_NS_PER_S),
		.hello_ns = within(150 * h, 15 * TV_NS_PER_S, 120 * TV_NS_PER_S),
		.stream_stuck_ns = 100 * h < 5 * TV_NS_PER_S ? 5 * TV_NS_PER_S : 100 * h,
		.reconnect_grace_ns = 20 * h,
		.switch_ns = 30 * h,
		.retry_ns = 2 * h,
		.tick_ns = h / 8,
		.reprotect_first_ns = 3 * h,
		.reprotect_last_ns = 50 * h,
		.reprotect_refused_ns = 300 * h,
		.reprotect_calm_ns = 600 * h,
		.pet_ns = within(5 * h, 200 * TV_NS_PER_MS, 2 * TV_NS_PER_S),
		.hung_look_ns = within(h, 100 * TV_NS_PER_MS, TV_NS_PER_S),
		.fence_ns = within(300 * h, 10 * TV_NS_PER_S, 120 * TV_NS_PER_S),
		.arbiter_next_ns = within(h / 2, 30 * TV_NS_PER_MS, 500 * TV_NS_PER_MS),
		.arbiter_answer_ns = within(5 * h, 300 * TV_NS_PER_MS, 5 * TV_NS_PER_S),
		.announce_ns = within(30 * h, TV_NS_PER_S, 10 * TV_NS_PER_S),
		.member_ns = 4 * within(30 * h, TV_NS_PER_S, 10 * TV_NS_PER_S),
	};
}

int64_t fo_times_for(const struct fo_times *t, bool arbiter, int64_t rtt_ns)
{
	const int64_t step_ns = 10 * TV_NS_PER_MS;

	if (rtt_ns <= (arbiter ? 3 : 8) * t->heartbeat_ns / 2)
		return 0;
	return (rtt_ns * 5 / 4 + step_ns - 1) / step_ns * step_ns;
}
