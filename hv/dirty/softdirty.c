/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty pages on kernels without asynchronous write protection (before Linux 6.7): soft-dirty bits.
 *
 * Theory of operation. /proc/PID/pagemap has a bit per page, "written since the last clear", and
 * writing 4 to /proc/PID/clear_refs clears it for the whole process, by write-protecting every page
 * (Documentation/admin-guide/mm/soft-dirty.rst). KVM's own mappings go away with it: the clear
 * announces an invalidation, and a guest's next write faults through the process' page table, which
 * sets the bit. What KVM or vhost write on a guest's behalf takes the same way.
 *
 * Reading and clearing are two steps, and a write between them is lost. So a round begins
 * (hv_round_begin) only while the VM is paused: no vCPU runs, QEMU has drained its disks, vhost is
 * stopped. It moves the bits into a bitmap of our own and clears them; from then on the VM may run,
 * and hv_harvest hands out the bitmap. A page written meanwhile is in the bitmap (its newer content
 * is copied) or will be in the next round's, or both.
 *
 * What this way cannot do, and what is refused for it:
 *   - discarded pages are not reported (hv_features.discard_reported is false: no balloons);
 *   - pages of files lose their bits when the kernel unmaps them: only private anonymous RAM is
 *     accepted, and memory files mapped shared (a promoted standby's RAM is one) where no page of
 *     them can be unmapped, which every round looks at again (softshared.c);
 *   - a huge page has one bit, so one write to it is 512 dirty pages: wherever a whole huge page's
 *     worth is dirty, the kernel is asked to split it (split_chunks), and it rarely is one again;
 *   - a page that the kernel migrates in the moment of a clear comes back writable and without its
 *     bit where a migration entry has none: before Linux 6.1 ("mm: remember young/dirty bit for
 *     page migrations"), and on CPUs with L1TF, whose swap entries have no room for it
 *     (swap_migration_ad_supported). What is written to it before the next clear would be missed,
 *     and nothing shows it: such hosts are refused (hv_soft_survives_migration);
 *   - anybody with our rights who writes to clear_refs takes our bits, and nothing shows it.
 * A private page that was never touched reads as zero and is not reported (as in dirty.c). A shared
 * one may be in its file all the same, so the first round takes what the file holds as well. Later
 * that is not needed: nobody but QEMU writes to the file then, and its writes set bits.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRIES 65536 /* pagemap entries read at once: 512 KiB for 256 MiB of RAM */
#define SOFT_DIRTY (UINT64_C(1) << 55)
#define POPULATED (UINT64_C(3) << 62) /* present or swapped */
#define WORD_BITS 64
#define MIGRATION_SAFE 601
#define SMAPS_LIMIT (64u << 20)
#define HUGE_BYTES (UINT64_C(2) << 20)

static uint64_t block_pages(const struct hv_block *b)
{
	return b->bytes >> TV_PAGE_SHIFT;
}

bool hv_soft_survives_migration(const char *root)
{
	TV_FREE char *release = NULL, *l1tf = NULL;
	char path[512];

	snprintf(path, sizeof(path), "%s/proc/sys/kernel/osrelease", root);
	if (tv_read_file(path, 4096, &release, NULL))
		return false;
	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/vulnerabilities/l1tf", root);
	if (tv_read_file(path, 4096, &l1tf, NULL))
		return false;
	return hv_soft_kernel_number(release) >= MIGRATION_SAFE &&
	       !strncmp(l1tf, "Not affected", 12);
}

int hv_soft_read(int pagemap_fd, uint64_t addr, uint64_t pages, uint64_t *entries)
{
	uint8_t *to = (uint8_t *)entries;
	size_t want = pages * sizeof(uint64_t), done = 0;

	while (done < want) {
		off_t at = (off_t)((addr >> TV_PAGE_SHIFT) * sizeof(uint64_t) + done);
		ssize_t r = pread(pagemap_fd, to + done, want - done, at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : TV_E_GONE; /* 0: the process has ended */
		done += (size_t)r;
	}
	return 0;
}

bool hv_soft_is_dirty(uint64_t entry)
{
	return (entry & SOFT_DIRTY) && (entry & POPULATED);
}

int hv_soft_clear(int clear_fd)
{
	ssize_t r;

	do {
		r = pwrite(clear_fd, "4", 1, 0);
	} while (r < 0 && errno == EINTR);
	return r == 1 ? 0 : r < 0 ? -errno : -EIO;
}

/* What a shared file holds, mapped or not: whoever filled it may not have been QEMU. */
static int collect_file(struct hv_vm *vm, unsigned block)
{
	uint64_t base = vm->dirty->file_at[block], end = base + vm->blocks[block].bytes;
	uint64_t at = base, from, to;
	int rc;

	while ((rc = hv_ramfile_data(vm->dirty->file_fds[block], at, end, &from, &to)) > 0) {
		for (uint64_t p = (from - base) >> TV_PAGE_SHIFT;
		     p < (to - base + TV_PAGE_BYTES - 1) >> TV_PAGE_SHIFT; p++)
			vm->dirty->pending[block][p / WORD_BITS] |= UINT64_C(1) << p % WORD_BITS;
		at = to;
	}
	return rc;
}

static int collect(struct hv_vm *vm, unsigned block)
{
	const struct hv_block *b = &vm->blocks[block];
	uint64_t *map = vm->dirty->pending[block], pages = block_pages(b);

	if (vm->dirty->soft_all && vm->dirty->file_fds[block] >= 0) {
		int rc = collect_file(vm, block);

		if (rc)
			return rc;
	}
	for (uint64_t at = 0; at < pages; at += ENTRIES) {
		uint64_t n = pages - at < ENTRIES ? pages - at : ENTRIES;
		int rc = hv_soft_read(vm->dirty->pagemap_fd, b->host.v + (at << TV_PAGE_SHIFT), n,
				      vm->dirty->entries);

		if (rc)
			return rc;
		for (uint64_t i = 0; i < n; i++)
			if (hv_soft_is_dirty(vm->dirty->entries[i] |
					     (vm->dirty->soft_all ? SOFT_DIRTY : 0)))
				map[(at + i) / WORD_BITS] |= UINT64_C(1) << (at + i) % WORD_BITS;
	}
	return 0;
}

bool hv_round_needs_pause(const struct hv_vm *vm)
{
	return vm->dirty->soft;
}

int hv_round_begin(struct hv_vm *vm)
{
	int rc = 0;

	if (!vm->dirty->soft)
		return hv_witness_round(vm);
	if (!vm->paused && !vm->pipe.held && !vm->still)
		return -EBUSY;
	for (unsigned i = 0; i < vm->n_blocks && !rc; i++)
		rc = collect(vm, i);
	/* Only after collecting: what went wrong before that is seen, what does later is the next
	 * round's. */
	if (!rc)
		rc = hv_shared_watch_ok(&vm->dirty->watch);
	if (!rc)
		rc = hv_soft_clear(vm->dirty->clear_fd);
	if (!rc)
		vm->dirty->soft_all = false;
	return rc;
}

/* The first page from on that is in the bitmap, or end. */
static uint64_t next_set(const uint64_t *map, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t word = map[from / WORD_BITS] >> from % WORD_BITS;

		if (word) {
			from += (uint64_t)__builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

/* Takes the stretch of pages that starts at from out of the bitmap, max at most; how many. */
static uint64_t take_run(uint64_t *map, uint64_t from, uint64_t end, uint64_t max)
{
	uint64_t n = 0;

	while (from + n < end && n < max) {
		uint64_t *word = &map[(from + n) / WORD_BITS];
		uint64_t bit = UINT64_C(1) << (from + n) % WORD_BITS;

		if (!(*word & bit))
			break;
		*word &= ~bit;
		n++;
	}
	return n;
}

/* Adds one page of every 2 MiB that lie wholly in the run; what does not fit is left for later. */
static unsigned add_chunks(struct hv_vm *vm, const struct hv_run *run, unsigned n)
{
	uint64_t start = vm->blocks[run->block].host.v + run->offset;
	uint64_t end = start + ((uint64_t)run->pages << TV_PAGE_SHIFT);

	for (uint64_t at = (start + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	     at + HUGE_BYTES <= end && n < HV_IOVS; at += HUGE_BYTES)
		vm->dirty->iovs[n++] = (struct iovec){(void *)(uintptr_t)at, TV_PAGE_BYTES};
	return n;
}

/*
 * MADV_COLD on a part of a huge page splits it (mm/madvise.c: madvise_cold_or_pageout_pte_range);
 * on a small page it hints that this one page may be paged out earlier, which costs nothing here.
 * The bits are kept either way. Failure is no error: more is copied then.
 */
static void split_chunks(struct hv_vm *vm, unsigned n)
{
	if (n && syscall(SYS_process_madvise, vm->pidfd, vm->dirty->iovs, n, MADV_COLD, 0) < 0)
		return;
}

int hv_soft_harvest(struct hv_vm *vm, struct hv_cursor *cursor, struct hv_run *runs,
		    unsigned max_runs, uint64_t max_pages)
{
	unsigned n = 0, chunks = 0;

	while (cursor->block < vm->n_blocks && n < max_runs && max_pages) {
		const struct hv_block *b = &vm->blocks[cursor->block];
		uint64_t *map = vm->dirty->pending[cursor->block], pages = block_pages(b);
		uint64_t at = next_set(map, cursor->offset >> TV_PAGE_SHIFT, pages), got;

		if (at >= pages) {
			cursor->block++;
			cursor->offset = 0;
			continue;
		}
		got = take_run(map, at, pages, max_pages < HV_RUN_PAGES ? max_pages : HV_RUN_PAGES);
		runs[n++] = (struct hv_run){
			.block = cursor->block,
			.pages = (uint32_t)got,
			.offset = at << TV_PAGE_SHIFT,
		};
		/* Splitting takes a shared page's bits; there are no huge ones there, either. */
		if (vm->dirty->file_fds[cursor->block] < 0)
			chunks = add_chunks(vm, &runs[n - 1], chunks);
		max_pages -= got;
		cursor->offset = (at + got) << TV_PAGE_SHIFT;
	}
	split_chunks(vm, chunks);
	cursor->done = cursor->block >= vm->n_blocks;
	return (int)n;
}

/* Is all of the block private memory without a file? */
static bool is_anonymous(const struct hv_maps *maps, const struct hv_block *b)
{
	uint64_t at = b->host.v, end = at + b->bytes;

	while (at < end) {
		const struct hv_map *m = hv_maps_at(maps, at);

		/* "[heap]", "[anon:...]": a name, not a file */
		if (!m || m->shared || (*m->path && *m->path != '['))
			return false;
		at = m->end;
	}
	return true;
}

/* Opens the memory file of a shared block; negative: it is not one mapping of one such file. */
static int open_shared(struct hv_vm *vm, unsigned i, const struct hv_maps *maps)
{
	const struct hv_block *b = &vm->blocks[i];
	const struct hv_map *m = hv_maps_at(maps, b->host.v);

	if (!m || !m->shared || m->end < b->host.v + b->bytes)
		return -1;
	vm->dirty->file_at[i] = m->offset + (b->host.v - m->start);
	return hv_ramfile_open(vm->id.pid, m, O_RDONLY);
}

/* Finds out which blocks are shared; refuses what is neither that nor private without a file. */
static int look_at_blocks(struct hv_vm *vm, const struct hv_maps *maps, bool *shared,
			  struct tv_err *e)
{
	*shared = false;
	for (unsigned i = 0; i < vm->n_blocks; i++) {
		if (is_anonymous(maps, &vm->blocks[i]))
			continue;
		vm->dirty->file_fds[i] = open_shared(vm, i, maps);
		if (vm->dirty->file_fds[i] < 0 || !vm->features.soft_dirty_shared)
			return tv_fail(e, TV_E_REFUSED,
				       "the RAM block %s is %s, whose writes this kernel's "
				       "soft-dirty bits can lose: use private RAM%s, or Linux 6.7 "
				       "or newer",
				       vm->blocks[i].name,
				       vm->dirty->file_fds[i] < 0 ? "a file" : "shared memory",
				       vm->dirty->file_fds[i] < 0 ? " or a memfd (share=on)" : "");
		*shared = true;
	}
	return 0;
}

/* Is the mapping locked that a shared block lies in? */
static bool is_locked(const struct hv_maps *maps, const char *smaps, const struct hv_block *b)
{
	return hv_shared_is_locked(smaps, hv_maps_at(maps, b->host.v)->start);
}

/* Begins to watch what shared memory's bits depend on, and refuses where they cannot be relied
 * on. */
static int watch_shared(struct hv_vm *vm, const struct hv_maps *maps, struct tv_err *e)
{
	TV_FREE char *smaps = NULL;
	struct hv_shared_facts facts;
	bool all_locked = true;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)vm->id.pid);
	rc = tv_read_file(path, SMAPS_LIMIT, &smaps, NULL);
	if (rc)
		return tv_fail(e, rc, "cannot read %s: %s", path, tv_strerror(rc));
	for (unsigned i = 0; i < vm->n_blocks; i++)
		all_locked = all_locked &&
			     (vm->dirty->file_fds[i] < 0 || is_locked(maps, smaps, &vm->blocks[i]));
	rc = hv_shared_watch_start(&vm->dirty->watch, "", !all_locked, &facts, e);
	for (unsigned i = 0; i < vm->n_blocks && !rc; i++) {
		struct hv_shared_block b = {.name = vm->blocks[i].name};

		if (vm->dirty->file_fds[i] < 0)
			continue;
		b.locked = is_locked(maps, smaps, &vm->blocks[i]);
		b.unnamed = hv_shared_is_unnamed(vm->dirty->file_fds[i]);
		rc = hv_shared_judge(&facts, &b, e);
	}
	/*
	 * A page that is being migrated in the moment of a clear, that QEMU had only read so far,
	 * and that was mapped writable all the same (before the first clear that is done), would
	 * stay writable without a bit. So the first clear is one that nobody relies on.
	 */
	if (!rc && (rc = hv_soft_clear(vm->dirty->clear_fd)))
		tv_fail(e, rc, "cannot clear QEMU's soft-dirty bits: %s", tv_strerror(rc));
	return rc;
}

static int make_bitmaps(struct hv_vm *vm)
{
	for (unsigned i = 0; i < vm->n_blocks; i++) {
		uint64_t words = block_pages(&vm->blocks[i]) / WORD_BITS + 1;

		vm->dirty->pending[i] = malloc(words * sizeof(uint64_t));
		if (!vm->dirty->pending[i])
			return -ENOMEM;
		memset(vm->dirty->pending[i], 0, words * sizeof(uint64_t)); /* faults it in, too */
	}
	return 0;
}

int hv_soft_setup(struct hv_vm *vm, struct tv_err *e)
{
	struct hv_maps maps;
	bool shared;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)vm->id.pid);
	vm->dirty->clear_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (vm->dirty->clear_fd < 0)
		return tv_fail(e, -errno, "cannot open %s: %s", path, strerror(errno));
	vm->dirty->entries = malloc(ENTRIES * sizeof(*vm->dirty->entries));
	if (!vm->dirty->entries || make_bitmaps(vm))
		return tv_fail(e, -ENOMEM, "no memory to track dirty pages");
	memset(vm->dirty->entries, 0xff, ENTRIES * sizeof(*vm->dirty->entries));
	/* Somebody before us may have cleared bits: in the first round all that is there counts. */
	vm->dirty->soft_all = true;
	rc = hv_maps_read(vm->id.pid, &maps);
	if (rc)
		return tv_fail(e, rc, "cannot read QEMU's memory map: %s", tv_strerror(rc));
	rc = look_at_blocks(vm, &maps, &shared, e);
	if (!rc && shared)
		rc = watch_shared(vm, &maps, e);
	hv_maps_dispose(&maps);
	return rc;
}

void hv_soft_teardown(struct hv_vm *vm)
{
	tv_close_fd(&vm->dirty->clear_fd);
	hv_shared_watch_stop(&vm->dirty->watch);
	free(vm->dirty->entries);
	vm->dirty->entries = NULL;
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++) {
		free(vm->dirty->pending[i]);
		vm->dirty->pending[i] = NULL;
	}
}
