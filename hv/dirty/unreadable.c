/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM that the kernel does not read: a page that is taken away after a memory error
 * (mm/memory-failure.c: EFAULT for everybody), or one behind the end of a memory file that somebody
 * cut. Its contents are lost here, and only here: the backup has what it held at the last epoch.
 * Never to be taken for zeroes, and no reason to begin a session anew, which would read the same page.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

static int read_page(struct hv_vm *vm, uint64_t addr, void *to)
{
	struct iovec local = {to, TV_PAGE_BYTES}, there = {(void *)(uintptr_t)addr, TV_PAGE_BYTES};
	ssize_t r = process_vm_readv(vm->id.pid, &local, 1, &there, 1, 0);

	return r == TV_PAGE_BYTES ? 0 : r < 0 ? -errno : -EFAULT;
}

int hv_unreadable_find(struct hv_vm *vm, const struct hv_run *runs, unsigned n, void *page, int rc)
{
	for (unsigned i = 0; i < n; i++)
		for (uint64_t k = 0; k < runs[i].pages; k++) {
			uint64_t at = runs[i].offset + (k << TV_PAGE_SHIFT);

			if (read_page(vm, vm->blocks[runs[i].block].host.v + at, page) != -EFAULT)
				continue;
			vm->dirty->bad_block = runs[i].block;
			vm->dirty->bad_offset = at;
			return TV_E_POISON;
		}
	return rc;
}

int hv_unreadable(struct hv_vm *vm, struct tv_err *e)
{
	const struct hv_block *b = &vm->blocks[vm->dirty->bad_block];
	uint64_t at = vm->dirty->bad_offset;
	struct hv_maps maps;
	bool mapped;
	int rc = hv_maps_read(vm->id.pid, &maps);

	if (rc)
		return tv_fail(e, rc, "the maps of QEMU (pid %d): %s", (int)vm->id.pid,
			       tv_strerror(rc));
	mapped = hv_maps_at(&maps, b->host.v + at);
	hv_maps_dispose(&maps);
	if (!mapped)
		return tv_fail(e, -EFAULT, "QEMU has unmapped its RAM block %s", b->name);
	return tv_fail(e, TV_E_POISON,
		       "the page at 0x%llx of the VM's RAM block %s cannot be read: a memory error "
		       "of this host. A reboot of the VM gives it another page",
		       (unsigned long long)at, b->name);
}
