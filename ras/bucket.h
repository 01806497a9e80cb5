/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leaky buckets, one for each part that has failed lately, in a table of fixed size. */
#ifndef RAS_BUCKET_H
#define RAS_BUCKET_H

#include "ras/ras.h"

/*
 * What comes in leaks out one window later, in steps of a 24th: a bucket holds what came within one
 * window, and at most a 24th of a window more. Nothing restarts at a boundary.
 */
#define BUCKET_STEPS 25u

/*
 * One DRAM error is reported by the machine check and by the memory controller's driver. Each stream
 * has counts of its own, and the larger one counts: never the sum.
 */
enum bucket_stream { STREAM_MCE, STREAM_OTHERS, STREAM_COUNT };

struct bucket {
	bool used, pinned; /* pinned: the cause of a colour, not to be forgotten */
	bool taken;	   /* a page that is out of service */
	uint64_t hash;	   /* of key: a storm asks thousands of times a second */
	char key[RAS_TEXT_ROOM];
	char of[RAS_TEXT_ROOM]; /* a page's DIMM, "" */
	int64_t last_ns, step;	/* the last error; the step that the counts are of */
	uint32_t count[STREAM_COUNT][BUCKET_STEPS];
	uint64_t sum[STREAM_COUNT]; /* of the counts */
};
struct bucket_table {
	struct bucket *buckets;
	unsigned room;
	int64_t step_ns; /* a 24th of the window */
	uint64_t forgotten;
};

int bucket_table_init(struct bucket_table *t, unsigned room, int64_t window_ns) TV_MUST_CHECK;
void bucket_table_dispose(struct bucket_table *t);
void bucket_table_clear(struct bucket_table *t);
/*
 * The bucket of a part, a new one if there is none. In a full table the part that has the fewest
 * errors, of these the oldest, gives its bucket; a pinned one only if all are. Never NULL.
 */
struct bucket *bucket_get(struct bucket_table *t, const char *key, int64_t now_ns);
/* NULL: none. */
struct bucket *bucket_find(struct bucket_table *t, const char *key);
void bucket_add(struct bucket_table *t, struct bucket *b, enum bucket_stream stream, uint32_t n,
		int64_t now_ns);
/* How many errors are in it now; NULL: 0. */
uint32_t bucket_level(struct bucket_table *t, struct bucket *b, int64_t now_ns);
/* Pages of one DIMM that are out of service, or have at least so many errors. */
unsigned bucket_count_taken(const struct bucket_table *t, const char *of);
unsigned bucket_count_weak(struct bucket_table *t, const char *of, uint32_t least, int64_t now_ns);

#endif
