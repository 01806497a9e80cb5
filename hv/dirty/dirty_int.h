/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hv/dirty share. Private to hv/dirty. */
#ifndef HV_DIRTY_DIRTY_INT_H
#define HV_DIRTY_DIRTY_INT_H

#include "hv/dirty/dirty.h"
#include "hv/dirty/kernel.h"
#include "hv/dirty/softshared.h"
#include "hv/dirty/witness.h"
#include "hv/qemu/qemu.h"
#include "hv/vm.h"

#include <sys/uio.h>

#define HV_IOVS 1024	/* IOV_MAX */
#define HV_REGIONS 4096 /* ranges one PAGEMAP_SCAN call may report */
/* So that a run's pages fit 32 bits and one copy call (dirty.c). */
#define HV_RUN_PAGES ((UINT64_C(1) << 30) / TV_PAGE_BYTES)

/* HOT: nothing is allocated after hv_dirty_setup. */
struct hv_dirty {
	bool two_step;
	int pagemap_fd, uffd;
	struct page_region *regions;
	struct iovec *iovs;
	uint8_t *virgin[HV_MAX_BLOCKS]; /* per 2 MiB: see dirty.c; NULL: all was reported */
	unsigned bad_block;		/* of the page that hv_copy could not read: unreadable.c */
	uint64_t bad_offset;
	int file_fds[HV_MAX_BLOCKS];	 /* of blocks in a shared memory file, else -1 */
	uint64_t file_at[HV_MAX_BLOCKS]; /* where the block starts in it */

	/* discarded pages of shared blocks (witness.c); -1 and all zero: nothing discards any */
	struct hv_witness witness[HV_MAX_BLOCKS];
	int own_uffd, own_pagemap_fd, discards_fd; /* discards_fd: -1: each round scans */

	/* soft-dirty bits instead of the userfaultfd (softdirty.c) */
	bool soft, soft_all; /* soft_all: the next round takes every page that holds something */
	struct hv_shared_watch watch; /* where a block is shared: softshared.c */
	int clear_fd;
	uint64_t *entries;		  /* of pagemap */
	uint64_t *pending[HV_MAX_BLOCKS]; /* a bit per page: written, not harvested yet */
};

/* ---- unreadable.c ---- */
/* Copying runs has failed with rc: TV_E_POISON when one of their pages cannot be read, noted in
 * vm->dirty; else rc. page: room for one. */
int hv_unreadable_find(struct hv_vm *vm, const struct hv_run *runs, unsigned n, void *page,
		       int rc) TV_MUST_CHECK;

/* ---- softdirty.c ---- */
int hv_soft_setup(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
void hv_soft_teardown(struct hv_vm *vm);
/* hv_harvest for vm->dirty->soft. */
int hv_soft_harvest(struct hv_vm *vm, struct hv_cursor *cursor, struct hv_run *runs,
		    unsigned max_runs, uint64_t max_pages) TV_MUST_CHECK;
/* Pagemap's entries of pages from addr on; TV_E_GONE when the process has ended. */
int hv_soft_read(int pagemap_fd, uint64_t addr, uint64_t pages, uint64_t *entries) TV_MUST_CHECK;
bool hv_soft_is_dirty(uint64_t entry);
/*
 * Does a page keep its bit while the kernel migrates it? root: before /proc and /sys, "" in
 * production. See softdirty.c.
 */
bool hv_soft_survives_migration(const char *root);
/* Clears the bits of the whole process behind an open clear_refs. */
int hv_soft_clear(int clear_fd) TV_MUST_CHECK;

/* ---- ramfile.c ---- */
/* Opens the shared memory file behind a mapping, with flags of open(2); a negative errno, -ENOTSUP
 * when it is another kind of file. */
int hv_ramfile_open(pid_t pid, const struct hv_map *m, int flags);
/* The first stretch [*start, *stop) of the file's [from, end) that holds something, in whole pages.
 * 1; 0: there is none. */
int hv_ramfile_data(int fd, uint64_t from, uint64_t end, uint64_t *start,
		    uint64_t *stop) TV_MUST_CHECK;

/* ---- inject.c ---- */
/*
 * Makes QEMU create a userfaultfd, takes it over and has QEMU close its own. *fd is ours. QEMU is
 * interrupted for about 0.1 ms. -EAGAIN no thread could be caught in a system call, -EPERM, or what
 * userfaultfd(2) returned in QEMU.
 */
int hv_inject_uffd(pid_t pid, int pidfd, int *fd, struct tv_err *e) TV_MUST_CHECK;

#endif
