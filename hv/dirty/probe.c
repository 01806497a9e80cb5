/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this kernel can do, found out by doing it in our own process: protect some pages, write to
 * a few, and see whether PAGEMAP_SCAN reports exactly those; discard some, and see whether it
 * reports them too (kernels differ there).
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES (UINT64_C(2) << 20)
#define AREA_BYTES (3 * HUGE_BYTES)
#define SMALL_PAGES 64

struct area {
	int uffd, pagemap;
	uint8_t *mem;
	uint64_t bytes;
};

/* Pages of a that are reported as written, protected again by the way; negative on failure. */
static long scan(const struct area *a, struct page_region *found, unsigned room)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)a->mem,
		.end = (uintptr_t)a->mem + a->bytes,
		.vec = (uintptr_t)found,
		.vec_len = room,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int n = ioctl(a->pagemap, PAGEMAP_SCAN, &arg);

	return n < 0 ? -errno : n;
}

/* Is [offset, offset + bytes) of a inside what was found? */
static bool has(const struct area *a, const struct page_region *f, long n, uint64_t offset,
		uint64_t bytes)
{
	uint64_t start = (uintptr_t)a->mem + offset, end = start + bytes;

	for (long i = 0; i < n && start < end; i++)
		if (f[i].start <= start && f[i].end > start)
			start = f[i].end;
	return start >= end;
}

static int watch(struct area *a)
{
	struct uffdio_api api = {.api = UFFD_API, .features = HV_UFFD_FEATURES};
	struct uffdio_register reg = {
		.range = {(uintptr_t)a->mem, a->bytes},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	a->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (a->uffd < 0)
		return -errno;
	if (ioctl(a->uffd, UFFDIO_API, &api) || ioctl(a->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

/* Written pages are reported, once, and no others. */
static bool test_written(struct area *a)
{
	struct page_region f[SMALL_PAGES];
	long n;

	a->bytes = SMALL_PAGES * TV_PAGE_BYTES;
	memset(a->mem, 1, a->bytes);
	n = scan(a, f, SMALL_PAGES);
	if (!has(a, f, n, 0, a->bytes) || scan(a, f, SMALL_PAGES) != 0)
		return false;
	a->mem[3 * TV_PAGE_BYTES] = 2;
	a->mem[4 * TV_PAGE_BYTES] = 2;
	a->mem[40 * TV_PAGE_BYTES] = 2;
	n = scan(a, f, SMALL_PAGES);
	return n == 2 && f[0].start == (uintptr_t)a->mem + 3 * TV_PAGE_BYTES &&
	       f[0].end - f[0].start == 2 * TV_PAGE_BYTES &&
	       f[1].start == (uintptr_t)a->mem + 40 * TV_PAGE_BYTES &&
	       f[1].end - f[1].start == TV_PAGE_BYTES && scan(a, f, SMALL_PAGES) == 0;
}

static bool test_discard_small(struct area *a)
{
	struct page_region f[SMALL_PAGES];
	long n;

	if (madvise(a->mem + 8 * TV_PAGE_BYTES, 4 * TV_PAGE_BYTES, MADV_DONTNEED))
		return false;
	n = scan(a, f, SMALL_PAGES);
	return has(a, f, n, 8 * TV_PAGE_BYTES, 4 * TV_PAGE_BYTES);
}

/* A whole huge page goes at once; without huge pages, a whole page table full of small ones. */
static bool test_discard_huge(struct area *a, bool huge)
{
	uint64_t at = HUGE_BYTES - (uintptr_t)a->mem % HUGE_BYTES;
	struct page_region f[SMALL_PAGES];
	long n;

	a->bytes = AREA_BYTES;
	madvise(a->mem, AREA_BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	madvise(a->mem, AREA_BYTES, MADV_DONTNEED);
	memset(a->mem + at, 1, HUGE_BYTES);
	n = scan(a, f, SMALL_PAGES);
	if (!has(a, f, n, at, HUGE_BYTES))
		return false;
	madvise(a->mem + at, HUGE_BYTES, MADV_DONTNEED);
	n = scan(a, f, SMALL_PAGES);
	return has(a, f, n, at, HUGE_BYTES);
}

/* Soft-dirty bits of this process: written pages have one, others do not, after the clear. mem:
 * SMALL_PAGES that are mapped in small pages, the odd ones written to. */
static bool test_soft_bits(const struct area *a, uint8_t *mem)
{
	TV_CLOSE int clear_fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	uint64_t entries[SMALL_PAGES];
	volatile uint8_t *page = mem;
	bool ok;

	if (clear_fd < 0 || a->pagemap < 0 || hv_soft_clear(clear_fd))
		return false;
	/* Written: mapped before and not. Read: the same. */
	page[3 * TV_PAGE_BYTES] = 2;
	page[40 * TV_PAGE_BYTES] = 2;
	(void)page[5 * TV_PAGE_BYTES];
	(void)page[42 * TV_PAGE_BYTES];
	ok = !hv_soft_read(a->pagemap, (uintptr_t)mem, SMALL_PAGES, entries);
	for (unsigned i = 0; i < SMALL_PAGES; i++)
		ok = ok && hv_soft_is_dirty(entries[i]) == (i == 3 || i == 40);
	return ok;
}

static void map_odd_pages(uint8_t *mem)
{
	for (unsigned i = 1; i < SMALL_PAGES; i += 2)
		mem[i * TV_PAGE_BYTES] = 1;
}

static bool test_soft_dirty(struct area *a)
{
	/* Small pages, so that one write is one page. */
	madvise(a->mem, AREA_BYTES, MADV_NOHUGEPAGE);
	madvise(a->mem, AREA_BYTES, MADV_DONTNEED);
	map_odd_pages(a->mem);
	return test_soft_bits(a, a->mem);
}

/* A memory file that another process filled, mapped in part: what was not written through the
 * mapping has no bit. */
static bool test_soft_shared(const struct area *a)
{
	TV_CLOSE int fd = memfd_create(HV_PREFIX "-probe", MFD_CLOEXEC);
	static const uint8_t full[SMALL_PAGES * TV_PAGE_BYTES] = {1};
	uint8_t *mem;
	bool ok;

	if (fd < 0 || tv_write_all(fd, full, sizeof(full)))
		return false;
	mem = mmap(NULL, sizeof(full), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return false;
	map_odd_pages(mem);
	ok = test_soft_bits(a, mem);
	munmap(mem, sizeof(full));
	return ok;
}

static bool cpu_has_virt(void)
{
	TV_FREE char *text = NULL;

	if (tv_read_file("/proc/cpuinfo", 16u << 20, &text, NULL))
		return false;
	return strstr(text, " vmx") || strstr(text, " svm");
}

static void probe_memory(struct area *a, struct hv_features *out)
{
	int rc = watch(a);

	if (rc) {
		snprintf(out->why, sizeof(out->why),
			 "userfaultfd without WP_ASYNC (%s): needs Linux 6.7 or newer with "
			 "CONFIG_USERFAULTFD",
			 tv_strerror(rc));
		return;
	}
	out->uffd_wp_async = true;
	if (a->pagemap < 0 || !test_written(a)) {
		snprintf(out->why, sizeof(out->why),
			 "PAGEMAP_SCAN is missing or does not report written pages exactly: needs "
			 "Linux 6.7 or newer with CONFIG_PROC_PAGE_MONITOR");
		return;
	}
	out->pagemap_scan = true;
	out->discard_reported =
		test_discard_small(a) && test_discard_huge(a, true) && test_discard_huge(a, false);
	if (!out->discard_reported)
		snprintf(out->why, sizeof(out->why),
			 "this kernel does not report discarded pages: VMs with a balloon or free "
			 "page reporting cannot be protected; use a newer kernel");
}

int hv_kernel_probe(struct hv_features *out)
{
	struct area a = {.uffd = -1};

	*out = (struct hv_features){0};
	out->kvm_usable = !access("/dev/kvm", R_OK | W_OK) && cpu_has_virt();
	a.bytes = AREA_BYTES;
	a.mem = mmap(NULL, a.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a.mem == MAP_FAILED)
		return -errno;
	a.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	probe_memory(&a, out);
	tv_close_fd(&a.uffd);
	out->soft_dirty = test_soft_dirty(&a);
	if (out->soft_dirty && !out->pagemap_scan && !hv_soft_survives_migration("")) {
		out->soft_dirty = false;
		snprintf(out->why, sizeof(out->why),
			 "soft-dirty bits are not safe here (this kernel, on this CPU, loses those "
			 "of pages that it migrates): needs Linux 6.7 or newer; Debian 12: apt "
			 "install linux-image-6.12-amd64");
	}
	out->soft_dirty_shared = out->soft_dirty && test_soft_shared(&a);
	tv_close_fd(&a.pagemap);
	munmap(a.mem, AREA_BYTES);
	return 0;
}
