/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary holds, as keyed hashes, for a comparison with the backup: one part of memory at a
 * time, and the device state (theory of operation: compare.c).
 */
#ifndef REPLICATOR_SOURCE_COMPARE_H
#define REPLICATOR_SOURCE_COMPARE_H

#include "checkpoint/checkpoint.h"
#include "hv/hv.h"

#define COMPARE_PAGES 16384u  /* of one part, at most: 64 MiB */
#define COMPARE_PARTS 1024u   /* of a device state */
#define COMPARE_HASH_BYTES 8u /* of each page, block and part: the first of CKPT_HASH_BYTES */

struct compare;
struct compare_want {
	uint32_t block, pages;
	uint64_t first; /* page */
	/* Sent again in the same epoch, whole: places among these pages, ascending. */
	uint32_t repair[COMPARE_PAGES];
	uint32_t nrepair;
	bool state; /* the device state, too */
};
struct compare_out {
	uint64_t epoch; /* all of it is as it was at the end of that one */
	uint32_t block, pages;
	uint64_t first;
	const uint8_t *hashes; /* until the next compare_want */
	unsigned nparts;       /* of the device state; 0: it was not wanted */
	const struct hv_state_part *parts;
	const uint8_t *part_hashes;
	int rc; /* not 0: it could not be read */
};

/* -ENOMEM */
int compare_new(struct compare **out) TV_MUST_CHECK;
/* After the threads have ended. NULL is allowed. */
void compare_free(struct compare *c);

/* ---- loop ---- */
/* A comparison begins, with hashes under that key: only while none is wanted. -ENOMEM. */
int compare_begin(struct compare *c, const uint8_t key[CKPT_HASH_KEY_BYTES]) TV_MUST_CHECK;
/* Is nothing wanted, or has it been taken? */
bool compare_is_idle(const struct compare *c);
/* A part is wanted, at least one page of it; only while idle. */
void compare_want(struct compare *c, const struct compare_want *w);
/* The end of an epoch that it is complete with has been sent: what it has; idle from now on. */
void compare_take(struct compare *c, struct compare_out *out);

/* ---- the capture thread (c may be NULL: nothing is compared), between two rounds of hv_harvest ---- */
/* Is there more to be read of what is wanted? */
bool compare_is_due(const struct compare *c);
/* Reads a little. forget is called for each page that is to be sent whole. */
void compare_read(struct compare *c, struct hv_vm *vm,
		  void (*forget)(void *arg, uint32_t block, uint64_t offset), void *arg);
/* An epoch is about to be captured. True: it completes what was read (compare_page and
 * compare_state are called with what it takes); compare_undo: it came to nothing, and took no page. */
bool compare_attach(struct compare *c, uint64_t epoch);
void compare_undo(struct compare *c);

/* ---- the encoder's thread, of what an epoch has taken ---- */
void compare_page(struct compare *c, uint32_t block, uint64_t offset, const void *page);
void compare_state(struct compare *c, const void *state, size_t bytes);

#endif
