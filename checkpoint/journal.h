/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk records of one epoch between their arrival and their way into the images. Received bytes
 * are gathered into slabs of whole records; each record is handed to the owner once it is complete
 * (still in the processor's cache), and all of them again when the epoch is applied.
 */
#ifndef CHECKPOINT_JOURNAL_H
#define CHECKPOINT_JOURNAL_H

#include "checkpoint/disk_record.h"
#include "checkpoint/room.h"

#include <sys/queue.h>

struct ckpt_slab {
	STAILQ_ENTRY(ckpt_slab) next;
	size_t bytes;
	uint8_t data[];
};
STAILQ_HEAD(ckpt_slab_list, ckpt_slab);

/*
 * Memory that all journals of a replica share. What is free is kept: fresh memory costs a page
 * fault every 4 KiB, more than everything else that happens to a byte here.
 */
struct ckpt_slabs {
	struct ckpt_slab_list free;
	size_t slab_bytes;
	unsigned nfree, want;	   /* want: slabs that an epoch took lately */
	unsigned nfull, most_full; /* full ones of all journals; each has one more that it fills */
};
/* memory_bytes: of all journals, but for a slab of each; what is more goes to their files. */
void ckpt_slabs_init(struct ckpt_slabs *s, size_t memory_bytes);
void ckpt_slabs_dispose(struct ckpt_slabs *s);

struct ckpt_journal_ops {
	/* A header, before anything of its payload is kept. NULL or what is wrong with it. */
	const char *(*header)(void *arg, const struct ckpt_disk_rec *rec);
	/* A whole record. Not 0: it ends here. */
	int (*record)(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
		      struct tv_err *e);
	void *arg;
};

struct ckpt_journal;
/*
 * What the slabs have no room for is kept in an unlinked file of room (NULL: none). Both are the
 * caller's and outlive it. -ENOMEM.
 */
int ckpt_journal_new(struct ckpt_slabs *slabs, struct ckpt_room *room,
		     struct ckpt_journal **out) TV_MUST_CHECK;
void ckpt_journal_free(struct ckpt_journal *j);
/* Empties it. */
void ckpt_journal_clear(struct ckpt_journal *j);
/* Any split of the record bytes. TV_E_PROTOCOL; what record says; -ENOMEM, -ENOSPC, errors of the
 * file. After a failure only clear and free make sense. */
int ckpt_journal_add(struct ckpt_journal *j, const uint8_t *p, size_t n,
		     const struct ckpt_journal_ops *ops, struct tv_err *e) TV_MUST_CHECK;
/* Of whole records; and the checksum over their headers. */
uint64_t ckpt_journal_records(const struct ckpt_journal *j);
uint64_t ckpt_journal_sum(const struct ckpt_journal *j);
/* TV_E_PROTOCOL when what came ends inside a record. */
int ckpt_journal_whole(const struct ckpt_journal *j, struct tv_err *e) TV_MUST_CHECK;
/*
 * Every record again, in order. Those that were in a file meanwhile pass header and
 * recheck->record first.
 */
int ckpt_journal_each(struct ckpt_journal *j, const struct ckpt_journal_ops *ops,
		      const struct ckpt_journal_ops *recheck, struct tv_err *e) TV_MUST_CHECK;

#endif
