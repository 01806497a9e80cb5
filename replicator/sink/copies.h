/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies of the files that a VM only reads (desc["copies"]): which this host needs, and what is still
 * to be sent of them. Belongs to the apply thread; calls block. Private to replicator/sink.
 */
#ifndef REPLICATOR_SINK_COPIES_H
#define REPLICATOR_SINK_COPIES_H

#include "checkpoint/checkpoint.h"
#include "hv/hv_standby.h"

struct copies_conf {
	const char *dir, *vm_id;
	struct ckpt_room *room;
	uint64_t limit_bytes;		 /* of all that one VM's files may have */
	struct hv_standby_conf *standby; /* gets the copies' paths, in copies_next */
};
struct copies_want {
	unsigned file; /* its place in desc["copies"] */
	uint64_t offset, bytes;
	uint64_t done_bytes, all_bytes; /* of all files that are copied */
};
struct copies;

/* Checks what the peer described. TV_E_PROTOCOL; -EFBIG: more than limit_bytes, with a sentence. */
int copies_open(json_t *desc, const struct copies_conf *conf, struct copies **out,
		struct tv_err *e) TV_MUST_CHECK;
/* 1: the next part is wanted; 0: all are there. Not while a part is still to come. */
int copies_next(struct copies *c, struct copies_want *out, struct tv_err *e) TV_MUST_CHECK;
/* Bytes of the part that is wanted. 1: that was the last of it. TV_E_PROTOCOL: more than asked for. */
int copies_add(struct copies *c, const void *p, size_t n, struct tv_err *e) TV_MUST_CHECK;
/* No file of this VM's was here before. */
bool copies_are_new(const struct copies *c);
/* Removes all of this VM's files. NULL is allowed. */
void copies_remove(struct copies *c);
/* NULL is allowed. */
void copies_free(struct copies *c);

#endif
