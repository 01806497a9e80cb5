/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: disk writes from the mirrors to the connection. They are sent as they come, before
 * the epoch that they belong to has ended; the epoch's end waits for the last of them
 * (src_on_piece).
 */
#include "replicator/source/source_int.h"

#include <errno.h>

/* Small on purpose: what is sent while it is still in a processor's cache costs half
 * (bench/disk.sh). */
#define QUEUE_BYTES (1u << 20)
/* Uncommitted disk data: three epochs of it fit into what a backup keeps by default, several
 * times. */
#define HOLD_SHARE 8

static void on_ready(void *arg)
{
	struct source *s = arg;

	if (!src_send_disks(s))
		return;
	/* The end of an epoch may have waited for this. */
	encoder_continue(s->en);
	if (disks_waiting(s->disks))
		src_schedule(s);
}

static void on_failed(const char *why, void *arg)
{
	struct source *s = arg;

	/* The disks are not mirrored any more: alone, by record if there is one. */
	src_fail_soon(s, -EIO, why);
}

int src_disks_init(struct source *s)
{
	struct disks_conf conf = {.compare = s->verify.disks,
				  .queue_bytes = QUEUE_BYTES,
				  .hold_bytes = s->job.conf.spool_bytes / HOLD_SHARE,
				  .ready = on_ready,
				  .failed = on_failed,
				  .arg = s};

	return disks_new(s->base, &conf, &s->disks);
}

int src_disk(void *arg, uint64_t bytes, int *fd)
{
	struct source *s = arg;
	int rc = disks_await_hashes(s->disks);

	*fd = -1;
	return rc ? rc : disks_add(s->disks, bytes, fd);
}

bool src_disks_wait(void *arg)
{
	struct source *s = arg;

	return disks_hashes_awaited(s->disks);
}

int src_disks_begun(void *arg, int timeout_ms)
{
	struct source *s = arg;

	return disks_await_begun(s->disks, timeout_ms);
}

void src_disks_copied(void *arg)
{
	struct source *s = arg;

	disks_copied(s->disks);
	disks_barrier(s->disks, 0);
}

void src_pausing(void *arg, bool on)
{
	struct source *s = arg;

	disks_pausing(s->disks, on);
}
