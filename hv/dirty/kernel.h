/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel interfaces newer than the headers of Debian 12 (6.1): PAGEMAP_SCAN and asynchronous
 * write protection, both Linux 6.7. From include/uapi/linux/{fs,userfaultfd}.h. Private to
 * hv/dirty. */
#ifndef HV_DIRTY_KERNEL_H
#define HV_DIRTY_KERNEL_H

#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef PAGEMAP_SCAN
struct page_region {
	uint64_t start, end, categories;
};
struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
		category_mask, category_anyof_mask, return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_WRITTEN (1 << 1)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
#endif

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

/* What a userfaultfd is asked for: shmem too, because main RAM may be a shared file. */
#define HV_UFFD_FEATURES \
	(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM)

#endif
