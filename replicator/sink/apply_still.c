/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The apply thread: the standby's memory, and the still that learns of each write beforehand. */
#include "replicator/sink/apply_int.h"

/* ---- the standby's memory, as checkpoint/ sees it ---- */

static uint64_t mem_block_bytes(void *arg, uint32_t block)
{
	return hv_standby_block_bytes(((struct apply *)arg)->sb, block);
}

static uint8_t *mem_map(void *arg, uint32_t block)
{
	return hv_standby_map(((struct apply *)arg)->sb, block);
}

static int mem_read(void *arg, uint32_t block, uint64_t offset, void *p, size_t n)
{
	return hv_standby_read(((struct apply *)arg)->sb, block, offset, p, n);
}

static int mem_write(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n)
{
	return hv_standby_write(((struct apply *)arg)->sb, block, offset, p, n);
}

static void mem_before(void *arg, uint32_t block, uint64_t offset)
{
	sink_still_before_page(((struct apply *)arg)->still, block, offset);
}

void apply_mem_init(struct apply *a)
{
	a->mem = (struct ckpt_mem){.block_bytes = mem_block_bytes,
				   .map = mem_map,
				   .read = mem_read,
				   .write = mem_write,
				   .before = mem_before,
				   .arg = a,
				   .blocks = hv_standby_blocks(a->sb)};
}

void apply_disk_before(void *arg, unsigned disk, uint64_t offset, uint64_t bytes)
{
	sink_still_before_disk(((struct apply *)arg)->still, disk, offset, bytes);
}

/* ---- a still ---- */

struct reading { /* of the standby's memory, of which this host may lose a page */
	struct sink_still *still;
	const struct sink_still_source *src; /* NULL: a step */
};

static int read_some(void *arg)
{
	struct reading *r = arg;

	if (!r->src)
		return sink_still_step(r->still);
	sink_still_begin(r->still, r->src);
	return 0;
}

/* Its session ends of that (hv_standby_lost), but not because of a still. */
static int guarded(struct reading *r)
{
	int rc = hv_standby_guard(read_some, r);

	if (rc < 0)
		sink_still_fail(r->still, rc, "this host has lost a page of the standby's memory");
	return rc;
}

void apply_freeze(struct apply *a, struct sink_still *s)
{
	struct sink_still_source src = {.mem = &a->mem,
					.ram_fd = a->sb ? hv_standby_ram_fd(a->sb) : -1,
					.rep = a->rep,
					.disks = a->rep ? a->conf.standby.n_replicas : 0,
					.room = a->room,
					.epoch = a->applied.epoch,
					.suspended = a->suspended};

	sink_still_leave(&a->still);
	a->still = s;
	if (a->dec && a->sb && !a->failed)
		src.state = ckpt_dec_state(a->dec, &src.state_bytes);
	(void)guarded(&(struct reading){s, &src});
}

bool apply_idle(struct apply *a)
{
	if (a->still && sink_still_is_over(a->still))
		sink_still_leave(&a->still);
	return a->still && guarded(&(struct reading){a->still, NULL}) > 0;
}

void apply_end_still(struct apply *a, enum apply_kind kind)
{
	if (kind != APPLY_PROMOTE && kind != APPLY_KILL)
		return;
	sink_still_fail(a->still, TV_E_GONE, "the session on the backup has ended");
	sink_still_leave(&a->still);
}
