/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: the disks' part of a comparison: which blocks are wanted next of compare_disk.c. A
 * block that the guest writes to while it is read is wanted again, TRIES times; what is written in
 * every one of them is counted, and left out.
 */
#include "replicator/source/source_int.h"

#include <string.h>
#include <unistd.h>

#define TRIES 32
#define RETRIES 4096 /* of what is repaired, in all */

unsigned src_vdisks(const struct source *s)
{
	return (unsigned)json_array_size(s->verify.d.list);
}

static json_int_t bytes_of(const struct source *s, unsigned disk)
{
	return json_integer_value(json_object_get(json_array_get(s->verify.d.list, disk), "bytes"));
}

static uint64_t blocks_of(const struct source *s, unsigned disk)
{
	return ((uint64_t)bytes_of(s, disk) + CKPT_BLOCK_BYTES - 1) / CKPT_BLOCK_BYTES;
}

const char *src_vdisks_name(const struct source *s, unsigned disk)
{
	const char *name =
		json_string_value(json_object_get(json_array_get(s->verify.d.list, disk), "name"));

	return name ? name : "";
}

void src_vdisks_init(struct source *s, json_t *desc)
{
	struct src_vdisks *d = &s->verify.d;

	*d = (struct src_vdisks){.list = json_incref(json_object_get(desc, "disks"))};
	for (unsigned i = 0; i < src_vdisks(s); i++)
		d->all_blocks += blocks_of(s, i);
}

int src_vdisks_begin(struct source *s, struct tv_err *e)
{
	struct src_vdisks *d = &s->verify.d;
	int rc = cdisk_connect(s->verify.disks, s->job.conf.run_dir, src_vdisks(s), &d->listen_fd,
			       e);

	if (rc)
		return rc;
	d->step = VDISKS_ASKED;
	cap_post(s->cap, CAP_EXPORT, (uint64_t)d->listen_fd);
	return 0;
}

static int send_again(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes)
{
	return disks_repair(arg, disk, offset, data, bytes);
}

int src_vdisks_exported(struct source *s, const struct cap_event *ev, struct tv_err *e)
{
	struct src_vdisks *d = &s->verify.d;
	int rc = ev->rc;

	tv_close_fd(&d->listen_fd);
	d->step = rc ? VDISKS_NONE : VDISKS_READS;
	if (rc)
		return tv_fail(e, rc, "the disks could not be compared: %s", ev->e.text);
	d->exported = true;
	rc = cdisk_begin(s->verify.disks, s->verify.key, send_again, s->disks);
	return rc ? tv_fail(e, rc, "no memory to compare disks") : 0;
}

/* The listening socket of an order that is still under way is closed when that is answered. */
void src_vdisks_end(struct source *s)
{
	struct src_vdisks *d = &s->verify.d;

	cdisk_end(s->verify.disks);
	if (d->step == VDISKS_READS && d->exported && s->vm.attached)
		cap_post(s->cap, CAP_UNEXPORT, 0);
	d->exported = false;
	if (d->step == VDISKS_READS)
		d->step = VDISKS_NONE;
	json_decref(d->list);
	d->list = NULL;
}

/* Those of an epoch in which they were written to, or not reached, come first. */
static void add_again(struct src_vdisks *d, struct cdisk_want *w)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < d->nagain; i++)
		if (d->again[i].disk == w->disk && w->n < CDISK_BLOCKS)
			w->blocks[w->n++] = d->again[i].block;
		else
			d->again[kept++] = d->again[i];
	d->nagain = kept;
}

static void put(struct src_vdisks_list *l, unsigned disk, uint64_t block)
{
	if (l->n < VDISKS_REPAIRS) { /* one that has no room stays a mismatch */
		l->disk[l->n] = disk;
		l->block[l->n++] = block;
	}
}

void src_vdisks_repair(struct source *s, unsigned disk, uint64_t block)
{
	put(&s->verify.d.repair, disk, block);
}

/* The last ones of a list, of one disk. */
static void want_list(struct source *s, struct src_vdisks_list *l, bool repair)
{
	struct cdisk_want w = {.disk = l->disk[l->n - 1], .repair = repair};

	while (l->n && w.n < CDISK_BLOCKS && l->disk[l->n - 1] == w.disk)
		w.blocks[w.n++] = l->block[--l->n];
	s->verify.d.now = repair ? VDISKS_REPAIR : VDISKS_RECHECK;
	cdisk_want(s->verify.disks, &w);
}

bool src_vdisks_want(struct source *s, uint64_t most)
{
	struct src_vdisks *d = &s->verify.d;
	struct cdisk_want w = {.disk = d->nagain ? d->again[0].disk : d->disk};

	if (d->repaired.n || d->repair.n) {
		want_list(s, d->repaired.n ? &d->repaired : &d->repair, !d->repaired.n);
		return true;
	}
	d->now = VDISKS_COMPARE;
	while (!d->nagain && d->disk < src_vdisks(s) && d->block >= blocks_of(s, d->disk)) {
		d->disk++;
		d->block = 0;
		w.disk = d->disk;
	}
	if (!d->nagain && d->disk >= src_vdisks(s))
		return false;
	memcpy(d->tried, d->again, sizeof(d->tried));
	d->ntried = d->nagain;
	add_again(d, &w);
	while (w.n < CDISK_BLOCKS && w.n < most && w.disk == d->disk &&
	       d->block < blocks_of(s, d->disk))
		w.blocks[w.n++] = d->block++;
	if (w.n)
		cdisk_want(s->verify.disks, &w);
	return true;
}

static unsigned tries_of(const struct src_vdisks *d, unsigned disk, uint64_t block)
{
	for (unsigned i = 0; i < d->ntried; i++)
		if (d->tried[i].disk == disk && d->tried[i].block == block)
			return d->tried[i].tries;
	return 0;
}

bool src_vdisks_take(struct source *s, uint64_t epoch, struct cdisk_out *out)
{
	struct src_vdisks *d = &s->verify.d;

	if (d->step != VDISKS_READS || !cdisk_take(s->verify.disks, epoch, out))
		return false;
	for (unsigned i = 0; i < out->nsent; i++)
		put(&d->repaired, out->disk, out->sent[i]);
	/* One that the guest writes to all the time stays a mismatch. */
	for (unsigned i = 0; i < out->nagain && d->now != VDISKS_COMPARE && ++d->retries < RETRIES;
	     i++)
		put(d->now == VDISKS_REPAIR ? &d->repair : &d->repaired, out->disk, out->again[i]);
	for (unsigned i = 0; i < out->nagain && d->now == VDISKS_COMPARE; i++) {
		struct src_vdisk_again a = {.disk = out->disk,
					    .block = out->again[i],
					    .tries = tries_of(d, out->disk, out->again[i]) +
						     out->written[i]};

		if (a.tries == TRIES)
			s->verify.got.busy_blocks++;
		else
			d->again[d->nagain++] = a;
	}
	return true;
}
