/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of the bed's VM's RAM, kept up to date from dirty pages only, and compared with it. */
#ifndef LIB_HV_SHADOW_H
#define LIB_HV_SHADOW_H

#include "tests/tools/lib_hv_bed.h"

#define SHADOW_RUNS 4096
extern struct hv_run shadow_runs[SHADOW_RUNS]; /* of the last harvest */

struct shadow {
	uint8_t *mem[HV_MAX_BLOCKS];
};

void shadow_init(struct shadow *s, struct hv_vm *vm);
void shadow_dispose(struct shadow *s);
/* One round; runs must come in order. Returns how many pages. Times are added, and may be NULL. */
uint64_t shadow_harvest(struct hv_vm *vm, struct shadow *s, int64_t *scan_ns, int64_t *copy_ns);
/* The paused VM's whole RAM must be what the dirty pages made of the shadow. */
void shadow_must_equal(struct shadow *s, struct hv_vm *vm);
/* One epoch, from pause to resume. check: saving the state dirtied nothing, and all of RAM is
 * equal. Returns the pause in ns. */
int64_t shadow_epoch(struct hv_vm *vm, struct shadow *s, uint64_t *pages, size_t *bytes,
		     bool check);

#endif
