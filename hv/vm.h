/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind hv.h share. Private to hv/. */
#ifndef HV_VM_H
#define HV_VM_H

#include "hv/hv.h"
#include "hv/dirty/kernel.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/features.h"
#include "hv/qemu/qmp.h"
#include "hv/dirty/softshared.h"

#include <sys/uio.h>

/* Everything that twinvm adds to a VM carries this prefix, so that hv_cleanup can find it. */
#define HV_PREFIX "twinvm"
/* For commands outside the hot path: QEMU's main loop can be busy for a while. */
#define HV_CMD_MS 5000
#define HV_IOVS 1024	/* IOV_MAX */
#define HV_REGIONS 4096 /* ranges one PAGEMAP_SCAN call may report */

struct hv_line { /* a QMP line made beforehand */
	char text[192];
	size_t bytes;
};

struct hv_vm {
	struct hv_vm_id id;
	struct hv_qmp *qmp;
	struct hv_qemu qemu;
	int pidfd, pagemap_fd, uffd;
	bool kvm, two_step;
	bool paused;		    /* by hv_pause, and hv_resume is due */
	volatile uint32_t *stopped; /* see hv_opts; may be NULL */
	struct hv_block blocks[HV_MAX_BLOCKS];
	unsigned n_blocks;

	/* device state: both are one memfd; QEMU shares write_fd's file position */
	int state_fd, write_fd;
	int64_t fdset; /* -1: none */
	size_t state_bytes;
	struct hv_line stop, save, cont;

	/* network */
	unsigned n_ports;
	int drain_fds[HV_MAX_NICS]; /* copies of the ports' inject_fd, to see that QEMU read all */

	/* disks */
	struct hv_disk disks[HV_MAX_DISKS];
	unsigned n_disks;
	bool mirrors, disk_failed;

	/* HOT: nothing is allocated later */
	struct page_region *regions;
	struct iovec *iovs;
	uint8_t *virgin[HV_MAX_BLOCKS];	 /* per 2 MiB: see dirty.c; NULL: all was reported */
	int file_fds[HV_MAX_BLOCKS];	 /* of blocks in a shared memory file, else -1 */
	uint64_t file_at[HV_MAX_BLOCKS]; /* where the block starts in it */

	/* soft-dirty tracking instead of all that (softdirty.c) */
	bool soft, soft_all; /* soft_all: the next round takes every page that holds something */
	bool soft_shared;    /* the kernel's self-test of it on shared memory went well */
	struct hv_shared_watch watch; /* where a block is shared: softshared.c */
	char soft_why[256];	      /* why not PAGEMAP_SCAN */
	int clear_fd;
	uint64_t *entries;		  /* of pagemap */
	uint64_t *pending[HV_MAX_BLOCKS]; /* a bit per page: written, not harvested yet */
};

/* ---- state.c ---- */
int hv_state_setup(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
void hv_state_teardown(struct hv_vm *vm);
/* Does a saved state begin as a standby expects it? */
bool hv_state_is_loadable(const uint8_t *state, size_t bytes);

/* ---- dirty.c ---- */
/* Registers all blocks with vm->uffd, opens pagemap, takes the memory that the hot path needs. */
int hv_dirty_setup(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
void hv_dirty_teardown(struct hv_vm *vm);

/* ---- softdirty.c ---- */
/* So that a run's pages fit 32 bits and one copy call (dirty.c). */
#define HV_RUN_PAGES ((UINT64_C(1) << 30) / TV_PAGE_BYTES)
int hv_soft_setup(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
void hv_soft_teardown(struct hv_vm *vm);
/* hv_harvest for vm->soft. */
int hv_soft_harvest(struct hv_vm *vm, struct hv_cursor *cursor, struct hv_run *runs,
		    unsigned max_runs, uint64_t max_pages) TV_MUST_CHECK;
/* Pagemap's entries of pages from addr on; TV_E_GONE when the process has ended. */
int hv_soft_read(int pagemap_fd, uint64_t addr, uint64_t pages, uint64_t *entries) TV_MUST_CHECK;
bool hv_soft_is_dirty(uint64_t entry);
/* osrelease "6.1.0-56-amd64" is 601; 0: unknown. */
unsigned hv_soft_kernel_number(const char *osrelease);
/*
 * Does a page keep its bit while the kernel migrates it? root: before /proc and /sys, "" in
 * production. See softdirty.c.
 */
bool hv_soft_survives_migration(const char *root);
/* Clears the bits of the whole process behind an open clear_refs. */
int hv_soft_clear(int clear_fd) TV_MUST_CHECK;

/* ---- ramfile.c ---- */
/* Opens the shared memory file behind a mapping; -1 when it is another kind of file. */
int hv_ramfile_open(pid_t pid, const struct hv_map *m);
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

/* ---- disk.c ---- */
/* Does an element of query-block stand for a medium that the guest can write? */
bool hv_disk_is_writable(json_t *dev);
/* Lists the disks. block: query-block. */
int hv_disks_setup(struct hv_vm *vm, json_t *block, struct tv_err *e) TV_MUST_CHECK;
/* Sees every event that hv_events reads. */
void hv_disks_event(struct hv_vm *vm, const char *name, json_t *ev);

/* ---- stop.c ---- */
/* Connects to the monitor of a VM that nobody is attached to. TV_E_GONE when it has ended. */
int hv_open_vm(const struct hv_vm_id *id, struct hv_qmp **out, struct tv_err *e) TV_MUST_CHECK;

/* ---- clean.c ---- */
/* Ends our mirror jobs and removes their targets; a failure goes to *rc unless one is there.
 * *stopped (may be NULL) is set while the VM is stopped for that; still set at the end: it may be
 * stopped. */
void hv_remove_mirrors(struct hv_qmp *q, volatile uint32_t *stopped, int *rc, struct tv_err *e);
/* The same for every object, chardev and fd set that carries HV_PREFIX, too; goes on after a
 * failure. */
int hv_remove_traces(struct hv_qmp *q, volatile uint32_t *stopped, struct tv_err *e) TV_MUST_CHECK;

#endif
