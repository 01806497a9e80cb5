/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes a page of memory out of service. Soft offlining moves what is in the page, and so reads it; a
 * kernel before 6.11 panics when the page has become uncorrectable meanwhile. There it is done only with
 * a page that nobody reads: a free one, or one of a file that is dropped. Hard offlining kills whoever has
 * the page: it is done with a page of nobody.
 */
#include "keeper/sys.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h). */
#define BIT(n) (UINT64_C(1) << (n))
#define DIRTY BIT(4)
#define LRU BIT(5)
#define WRITEBACK BIT(8)
#define BUDDY BIT(10)
#define MAPPED BIT(11)
#define ANON BIT(12)
#define SWAPBACKED BIT(14)
#define HUGE BIT(17)
#define UNEVICTABLE BIT(18)
#define HWPOISON BIT(19)
#define NOPAGE BIT(20)

static enum kp_page page_by(uint64_t flags)
{
	if (flags & HWPOISON)
		return KP_PAGE_TAKEN;
	if (flags & NOPAGE)
		return KP_PAGE_NONE;
	if (flags & BUDDY)
		return KP_PAGE_FREE;
	if (flags & HUGE)
		return KP_PAGE_HUGE;
	if (!(flags & LRU))
		return KP_PAGE_OTHER;
	if (flags & (DIRTY | WRITEBACK | MAPPED | ANON | SWAPBACKED | UNEVICTABLE))
		return KP_PAGE_USED;
	return KP_PAGE_CLEAN;
}

enum kp_page kp_page_of(const struct kp_sys *s, uint64_t page)
{
	uint64_t flags;
	ssize_t r;

	if (s->flags_fd < 0)
		return KP_PAGE_UNKNOWN;
	r = pread(s->flags_fd, &flags, sizeof(flags), (off_t)(page * sizeof(flags)));
	return r == sizeof(flags) ? page_by(flags) : r == 0 ? KP_PAGE_NONE : KP_PAGE_UNKNOWN;
}

const char *kp_page_text(enum kp_page page)
{
	static const char *const texts[KP_PAGES] = {
		[KP_PAGE_UNKNOWN] = "of unknown use",
		[KP_PAGE_NONE] = "no memory",
		[KP_PAGE_FREE] = "free",
		[KP_PAGE_CLEAN] = "of a file, unchanged",
		[KP_PAGE_USED] = "in use",
		[KP_PAGE_HUGE] = "part of a huge page of hugetlbfs",
		[KP_PAGE_OTHER] = "the kernel's own, or of no process for a moment",
		[KP_PAGE_TAKEN] = "out of service",
	};

	return page < KP_PAGES ? texts[page] : texts[KP_PAGE_UNKNOWN];
}

bool kp_copy_recovers(const char *release)
{
	unsigned major, minor;

	return sscanf(release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 11));
}

bool kp_may_soft(enum kp_page page, bool copy_recovers)
{
	if (page == KP_PAGE_FREE || page == KP_PAGE_CLEAN)
		return true;
	/* A huge page of 1 GiB would go as a whole. */
	return copy_recovers && (page == KP_PAGE_USED || page == KP_PAGE_OTHER);
}

static bool may(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r)
{
	enum kp_page now = kp_page_of(s, q->page);
	bool soft = q->verb == KP_SOFT;

	r->page = now;
	if ((soft ? s->soft_fd : s->hard_fd) < 0)
		kp_fail(r, -EOPNOTSUPP, "this kernel takes no pages out of service");
	else if (now == KP_PAGE_TAKEN)
		kp_fail(r, -EALREADY, "the page is out of service already");
	else if (soft && !kp_may_soft(now, s->copy_recovers))
		kp_fail(r, -EPERM, "the page is %s%s", kp_page_text(now),
			now == KP_PAGE_USED ? ", and this kernel would panic if it failed while it "
					      "is moved: Linux 6.11 does not"
					    : "");
	else if (!soft && now != KP_PAGE_FREE && now != KP_PAGE_CLEAN)
		kp_fail(r, -EPERM, "the page is %s, and whoever has it would be killed",
			kp_page_text(now));
	else if (!kp_sees_pages())
		kp_fail(r, -EPERM, "whose the page is cannot be seen");
	else if (kp_has_any(q) >= 0)
		kp_fail(r, -EBUSY, "the page is in use by a VM");
	return !r->rc;
}

void kp_take_page(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r)
{
	char address[24];
	int rc;

	if (!may(s, q, r))
		return;
	snprintf(address, sizeof(address), "0x%llx", (unsigned long long)q->page << TV_PAGE_SHIFT);
	rc = s->put(q->verb == KP_SOFT ? s->soft_fd : s->hard_fd, address);
	r->page = kp_page_of(s, q->page);
	if (rc)
		kp_fail(r, rc, "the kernel did not take the page: %s", tv_strerror(rc));
	else if (r->page != KP_PAGE_TAKEN) /* kernels of 6.1's first months report success */
		kp_fail(r, -EIO, "the kernel reports success, and the page is still %s",
			kp_page_text((enum kp_page)r->page));
}
