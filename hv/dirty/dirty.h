/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv/dirty: which pages of an attached VM were written, and their contents. Two ways: one
 * userfaultfd injected into QEMU and PAGEMAP_SCAN (dirty.c, Linux 6.7), or soft-dirty bits
 * (softdirty.c, before); hv_kernel_probe (probe.c) finds out which of them this kernel can do.
 *
 * Call order: hv_dirty_setup, then the calls of hv.h under "dirty pages" (hv_round_begin,
 * hv_harvest, hv_copy; all HOT), then hv_dirty_teardown. All memory that these use is allocated by
 * the setup and belongs to vm->dirty.
 */
#ifndef HV_DIRTY_DIRTY_H
#define HV_DIRTY_DIRTY_H

#include "hv/hv.h"
#include "hv/qemu/qemu.h"

/* Can it see what is discarded of a block that lies in the shared mapping m? */
bool hv_dirty_sees_discards(const struct hv_vm *vm, const struct hv_block *b,
			    const struct hv_map *m);
/*
 * Starts to track the writes to vm->blocks, as vm->features allows. two_step: see hv_opts. The VM
 * runs meanwhile. A negative errno or TV_E_REFUSED with a sentence; hv_dirty_teardown is due then,
 * too.
 */
int hv_dirty_setup(struct hv_vm *vm, bool two_step, struct tv_err *e) TV_MUST_CHECK;
/* Ends the tracking at once: QEMU keeps nothing of it. vm->dirty may be NULL. */
void hv_dirty_stop(struct hv_vm *vm);
/* The same, and frees vm->dirty. Unmapping what a witness has mapped takes up to 0.1 ms for each MiB. */
void hv_dirty_teardown(struct hv_vm *vm);

#endif
