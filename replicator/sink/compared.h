/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A comparison of what the standby holds with the primary's hashes, by the apply thread. */
#ifndef REPLICATOR_SINK_COMPARED_H
#define REPLICATOR_SINK_COMPARED_H

#include "checkpoint/checkpoint.h"
#include "common/common.h"

enum compared_what { COMPARED_MEMORY, COMPARED_DISK, COMPARED_STATE, COMPARED_WHATS };
#define COMPARED_HASH_BYTES 8u
#define COMPARED_MAX_PAGES 16384u
#define COMPARED_MAX_BLOCKS 64u
#define COMPARED_MAX_PARTS 1024u

/* As the primary sent it; behind it lie nat numbers of 64 bits, then n hashes. */
struct compared_ask {
	uint32_t what, number;
	uint64_t first;
	uint32_t n, nat;
	uint8_t key[CKPT_HASH_KEY_BYTES];
};
/* NULL, or what is wrong with it by itself; the standby's own sizes are looked at in compared_run. */
const char *compared_invalid(const struct compared_ask *a, size_t hashes_bytes);

struct compared_with { /* the standby; rep and state may be NULL */
	const struct ckpt_mem *mem;
	struct ckpt_rep *rep;
	const uint8_t *state;
	size_t state_bytes;
};
/*
 * Compares what is there now: reads memory and images, nothing that was kept of what came. different
 * (room for ask->n): which hashes differ, ascending. Returns how many, or a negative code with a sentence:
 * nothing was compared. data: bytes of all of it, ask included.
 */
int compared_run(const void *data, size_t bytes, const struct compared_with *with,
		 uint32_t *different, struct tv_err *e) TV_MUST_CHECK;

#endif
