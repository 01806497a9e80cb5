/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every time-out, from one setting: the heartbeat interval H (100 ms by default).
 *
 * Clocks are monotonic and local; nothing compares the clocks of two hosts. The primary stamps each
 * heartbeat with its own clock and the backup echoes the stamp, so both ends measure from an
 * instant that really was before the other side's: the primary's lease runs from when it SENT the
 * heartbeat, the backup's patience from when it last RECEIVED anything, which is never earlier. The
 * backup's limit being longer by H/2, a primary whose lease runs has a backup that has not asked
 * yet, as long as the two clocks' rates differ by less than one part in seven.
 *
 * Heartbeats travel in the stream every H, and as datagrams every H/4: a retransmission in the
 * stream (200 ms and more) or a full link must not look like a dead host, and up to thirteen
 * datagrams in a row may get lost before the backup asks.
 *
 * Power cut of the primary at 0, H = 100 ms:
 *     0 .. -100   last byte reached the backup (at most H before, less when epochs flow)
 *   250 ..  350   suspect_ns of silence: the backup asks the arbiter
 *   255 ..  360   compare-and-swap is durable: generation + 1 is the backup's
 *   280 ..  420   incomplete epoch dropped, device state loaded, NICs attached, announced, running
 *   The client's TCP retransmits at about 200 and 600 ms: the second one is answered.
 *
 * Power cut or freeze of the backup at 0:
 *   200 ..  300   lease_ns over: commits that arrive late release nothing any more
 *  1000 .. 1100   backup_lost_ns: the primary asks to run alone, records it, releases and runs on.
 *                 Three times the backup's patience: a false alarm here costs a whole new copy, and
 *                 until then only output waits.
 *   If the arbiter cannot be reached either: asked again every retry_ns, the VM is stopped
 *   hold_limit_ns after the loss, started again once the arbiter says that it runs alone.
 *
 * Connection closed by the peer's kernel (its process died, its host did not):
 *   the backup gives the primary's daemon reconnect_grace_ns to record that the VM runs alone or to
 *   come back with a new replicator, and only then asks the arbiter to promote.
 *
 * A VM that runs alone: tries to have it protected again come after 3H, doubled each time up to 50H
 * (refusals in a row: up to 300H); who is tried when is in keeper.c.
 *
 * Frozen primary that comes back after the backup promoted: its lease is long over when it wakes
 * (the clock ran on), so no frame leaves; its next question to the arbiter is lost and its VM
 * stopped.
 */
#include "failover/failover.h"

void fo_times_init(struct fo_times *t, int64_t heartbeat_ns)
{
	int64_t h = heartbeat_ns;

	*t = (struct fo_times){
		.heartbeat_ns = h,
		.beat_ns = h / 4,
		.lease_ns = 3 * h,
		.suspect_ns = 7 * h / 2,
		.backup_lost_ns = 10 * h,
		.reconnect_grace_ns = 20 * h,
		.hold_limit_ns = 30 * h,
		.retry_ns = 2 * h,
		.tick_ns = h / 8,
		.keep_first_ns = 3 * h,
		.keep_last_ns = 50 * h,
		.keep_refused_ns = 300 * h,
	};
}
