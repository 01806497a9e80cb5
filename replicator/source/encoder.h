/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Staging slots and the thread that encodes them (theory of operation: encoder.c). */
#ifndef REPLICATOR_SOURCE_ENCODER_H
#define REPLICATOR_SOURCE_ENCODER_H

#include "checkpoint/checkpoint.h"
#include "hv/hv.h"
#include "replicator/source/slot.h"
#include <event2/event.h>

enum piece_kind { PIECE_BEGIN, PIECE_RECORDS, PIECE_END, PIECE_SYNC_END };
struct piece {
	enum piece_kind kind;
	uint64_t epoch;
	struct tv_buf buf; /* PIECE_RECORDS */
	uint64_t records;  /* PIECE_END, PIECE_SYNC_END */
	uint64_t checksum, wire_bytes, pages;
	int64_t captured_ns;	       /* PIECE_END */
	int64_t encode_ns, encoded_ns; /* PIECE_END: when encoding began, and was done */
	bool still;		       /* PIECE_END */
	struct compare *compare;       /* PIECE_END: complete with this epoch; else NULL */
};

struct encoder;
/* deliver runs in the loop; false: not taken now, offer again after encoder_continue. failed: in
 * the loop too. All memory is taken and touched here. */
int encoder_new(struct event_base *base, uint64_t staging_bytes, uint64_t cache_bytes,
		bool (*deliver)(const struct piece *p, void *arg), void *arg,
		struct encoder **out) TV_MUST_CHECK;
/* Stops waiting on both sides: slot_get returns NULL from now on. */
void encoder_stop(struct encoder *en);
bool encoder_stopped(struct encoder *en);
void encoder_free(struct encoder *en);
/* HOT when a slot is free; waits otherwise. NULL after encoder_stop, or when gave_up (may be NULL)
 * is true. That is called under the encoder's lock: before, and whenever something has changed. */
struct slot *encoder_slot_get(struct encoder *en, bool (*gave_up)(void *arg), void *arg);
/* Any thread. What gave_up looks at has changed. */
void encoder_look(struct encoder *en);
/* HOT. Hands a filled slot on. */
void encoder_slot_put(struct encoder *en, struct slot *s);
/* Gives a slot back unused. */
void encoder_slot_drop(struct encoder *en, struct slot *s);
/* Any thread. The next record of that page has no base (ckpt_enc_forget): of the next epoch that is captured,
 * or of one before it. */
void encoder_forget(struct encoder *en, uint32_t block, uint64_t offset);
void encoder_continue(struct encoder *en);
void encoder_stats(struct encoder *en, struct ckpt_stats *out);

#endif
