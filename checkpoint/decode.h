/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What decode.c (whole epochs) and first_copy.c (first copy) share. */
#ifndef CHECKPOINT_DECODE_H
#define CHECKPOINT_DECODE_H

#include "checkpoint/page_record.h"

struct ckpt_walk {	      /* over the records of an epoch, at one of them */
	uint64_t pos, number; /* of the record after this one; of this one, from 1 */
	struct ckpt_rec r;
	const uint8_t *payload;
};

struct ckpt_dec {
	struct ckpt_mem mem;
	struct ckpt_stats stats;
	uint64_t zero_hash;
	uint8_t *page;	  /* decoded contents of one page */
	uint8_t *base;	  /* contents of the receiver that are not at hand in one piece */
	uint8_t *scratch; /* a difference */

	struct ckpt_spool *spool;
	struct ckpt_sum *sum;
	struct ckpt_check {	       /* of what has come of the epoch */
		struct ckpt_walk last; /* the record that was checked last; number 0: none */
		size_t state_done;
		int rc; /* a record is wrong: nothing after it is checked */
		struct tv_err e;
	} check;
	bool verified; /* what the spool holds may be applied */
	bool dead;     /* an apply failed half way */

	/* Device state: of the last applied epoch, and of the one being checked. */
	struct ckpt_state {
		uint8_t *data;
		size_t bytes, room;
	} now, next, spare; /* spare: now, once more */
	uint64_t now_hash, next_hash;
	struct ckpt_mended mended;

	struct tv_buf carry; /* a streamed record that has not come completely */
	uint64_t streamed;   /* records */
	int stream_failed;
};

/* rc with "record N (block B, offset O): why". */
int ckpt_dec_fail(struct tv_err *e, int rc, uint64_t number, const struct ckpt_rec *r,
		  const char *why);
/* Header of a page record against the replica: NULL or what is wrong. */
const char *ckpt_dec_check_place(const struct ckpt_dec *dec,
				 const struct ckpt_rec *r) TV_MUST_CHECK;
/* Decodes a checked page record beside the replica and checks its hash; *out until the next
 * call. */
int ckpt_dec_page(struct ckpt_dec *dec, const struct ckpt_rec *r, const uint8_t *payload,
		  const uint8_t **out) TV_MUST_CHECK;

#endif
