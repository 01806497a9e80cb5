/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv/dump: a VM's memory and device state, as files that others read: QEMU (-incoming), and tools
 * for ELF cores. Knows no QEMU process. What is read may shrink meanwhile: that is an error, as a
 * file that is too short is. Writes to out from its position on; what is there after a failure is
 * the caller's to remove.
 */
#ifndef HV_DUMP_H
#define HV_DUMP_H

#include "common/common.h"

struct hv_dump_block { /* in the order of QEMU's list */
	const char *name;
	int fd;			/* a file that may have holes, which are zeroes */
	uint64_t offset, bytes; /* whole pages */
	bool main;		/* main RAM; exactly one is */
};
struct hv_dump {
	const char *machine; /* QEMU's type, never an alias: "pc-q35-7.2" */
	const struct hv_dump_block *blocks;
	unsigned n_blocks;
	const uint8_t *state; /* of its devices, as xen-save-devices-state wrote it */
	size_t state_bytes;
	/* Called now and then with how much of all memory is done; false: -ECANCELED. May be NULL. */
	bool (*more)(void *arg, uint64_t done_bytes, uint64_t bytes);
	void *arg;
};
/* What QEMU of that machine type loads with -incoming. */
int hv_dump_stream(const struct hv_dump *d, int out, struct tv_err *e) TV_MUST_CHECK;
/*
 * An ELF core of main RAM by physical address, with the registers of each CPU, as QEMU's
 * dump-guest-memory makes it. out is a file: holes stay holes. -ENOTSUP: where main RAM lies is not
 * known of that machine. max_below_4g: the machine's option max-ram-below-4g; 0: not given.
 */
int hv_dump_elf(const struct hv_dump *d, uint64_t max_below_4g, int out,
		struct tv_err *e) TV_MUST_CHECK;

#endif
