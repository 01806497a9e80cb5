/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which RAM blocks a VM has, and where they lie in the QEMU process. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_RAMBLOCK_H
#define HV_QEMU_RAMBLOCK_H

#include "hv/hv.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/features.h"
#include "hv/qemu/qmp.h"

/* One line of HMP `info ramblock`. */
struct hv_ramblock {
	char name[256];
	uint64_t page_bytes; /* of the backing: more than 4096 on hugetlbfs */
	uint64_t offset, used, total;
	uint64_t host; /* 0: not known (QEMU before 8.0) */
};

/*
 * Parses `info ramblock` of QEMU 7.2 (no addresses) and 8.0 and later. Blocks without a name are
 * not migratable and are left out; *listed counts them too. TV_E_PROTOCOL, -ENOSPC too many.
 */
int hv_ramblock_parse(const char *text, struct hv_ramblock *out, unsigned max, unsigned *n,
		      unsigned *listed, struct tv_err *e) TV_MUST_CHECK;

/*
 * Fallback without addresses from QEMU: main_host (gpa2hva 0) for the block called main_name, and
 * for every other block the one mapping that has exactly its size. TV_E_AMBIGUOUS names the block.
 */
int hv_ramblock_by_maps(struct hv_ramblock *b, unsigned n, const char *main_name,
			uint64_t main_host, const struct hv_maps *maps,
			struct tv_err *e) TV_MUST_CHECK;

/*
 * Addresses from QEMU's own list of RAM blocks (ramlist.c). -ENOTSUP when this binary does not
 * export the symbol or the list does not match `info ramblock` in every detail.
 */
int hv_ramlist_hosts(const struct hv_proc_fds *fds, struct hv_ramblock *b, unsigned n,
		     unsigned listed, const struct hv_maps *maps) TV_MUST_CHECK;

/* All of it: blocks of a VM with address and role; fds: of its process. Sets qemu->ram_way. page_bytes: the largest
 * backing page. */
int hv_ramblock_find(struct hv_qmp *q, const struct hv_proc_fds *fds, struct hv_qemu *qemu,
		     struct hv_block *out, unsigned max, unsigned *n, uint64_t *page_bytes,
		     struct tv_err *e) TV_MUST_CHECK;

#endif
