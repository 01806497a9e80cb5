/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A raw page of the kernel's trace buffer. */
#ifndef RAS_PAGE_H
#define RAS_PAGE_H

#include "ras/format.h"

/* From events/header_page; page_layout_usual is that of all 64-bit kernels. */
struct page_layout {
	uint32_t time_at, commit_at, commit_size, data_at;
};
extern const struct page_layout page_layout_usual;
/* Takes the layout out of a parsed header_page. -EINVAL. */
int page_layout(const struct ras_format *header, struct page_layout *out) TV_MUST_CHECK;

typedef void page_each_fn(void *arg, uint64_t time_ns, const uint8_t *record, size_t bytes);
/*
 * Gives each record of a page that is whole. *lost: events before it were lost. -EBADMSG: something
 * of it is broken; each has not been called.
 */
int page_read(const struct page_layout *l, const uint8_t *page, size_t bytes, page_each_fn *each,
	      void *arg, bool *lost) TV_MUST_CHECK;

#endif
