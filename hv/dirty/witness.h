/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discarded pages of shared RAM, seen by a mapping of our own. witness.c has the argument. Private
 * to hv/dirty. */
#ifndef HV_DIRTY_WITNESS_H
#define HV_DIRTY_WITNESS_H

#include "hv/hv.h"

struct hv_witness { /* of one RAM block; all zero: it has none */
	const uint8_t *map;
	int fd;		 /* of the block's file */
	uint64_t *known; /* a bit per page: it was mapped here when it was copied last */
};

/*
 * Gives each shared block of vm->blocks a witness. vm->dirty->uffd is there already. A negative
 * errno with a sentence; hv_witness_teardown is due then, too.
 */
int hv_witness_setup(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
void hv_witness_teardown(struct hv_vm *vm);
/* HOT. Begins a round: what was discarded since the last one counts as written. */
int hv_witness_round(struct hv_vm *vm) TV_MUST_CHECK;
/* HOT. Copies the pages of a run that was harvested, of a block that has a witness. */
int hv_witness_copy(struct hv_vm *vm, const struct hv_run *run, uint8_t *dst) TV_MUST_CHECK;

#endif
