/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hv/dump share. */
#ifndef HV_DUMP_INT_H
#define HV_DUMP_INT_H

#include "hv/dump/dump.h"

#define DUMP_PIECE_BYTES (1u << 20)

/* ---- walk.c ---- */
/* data NULL: zeroes. at: in the block. Not 0: the walk ends with it. */
typedef int dump_piece(void *arg, const struct hv_dump_block *b, uint64_t at, const uint8_t *data,
		       size_t n);
/* All of a block, in order, in pieces of at most DUMP_PIECE_BYTES. *done counts on, for d->more. */
int dump_walk(const struct hv_dump *d, const struct hv_dump_block *b, uint64_t *done,
	      dump_piece *piece, void *arg, struct tv_err *e) TV_MUST_CHECK;
bool dump_is_zero(const uint8_t *p, size_t n);

/* ---- cpus.c ---- */
struct dump_segment {
	uint32_t selector, limit, flags;
	uint64_t base;
};
struct dump_cpu {	   /* x86-64 */
	uint64_t regs[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
	uint64_t rip, rflags;
	struct dump_segment segs[6]; /* es cs ss ds fs gs */
	struct dump_segment ldt, tr, gdt, idt;
	uint64_t cr[5]; /* cr[1]: 0 */
};
/* From the sections "cpu" of a device state; returns how many were read, at most room. */
unsigned dump_cpus(const uint8_t *state, size_t bytes, struct dump_cpu *out, unsigned room);

#endif
