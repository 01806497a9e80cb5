/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Soft-dirty bits of shared memory: when they can be believed.
 *
 * Theory of operation. What softdirty.c explains for private memory holds for a shared mapping of a
 * memory file as well (Linux 6.1): clear_refs clears VM_SOFTDIRTY and with it the mapping's leave
 * to map pages writable at once (mm/mmap.c: vma_wants_writenotify), write-protects every present
 * entry of the page table, and a write sets the bit, be the page mapped already (mm/memory.c:
 * wp_page_shared, wp_page_reuse) or not yet (do_shared_fault, do_set_pte). A migrated page keeps it
 * (mm/migrate.c: remove_migration_pte).
 *
 * The difference: a private page's entry that is taken away becomes a swap entry, which has a bit
 * too. A shared page's entry is just gone, the bit with it, and the next read maps the page as if
 * it had not been written. So no entry of a shared block may be taken away between the first clear
 * and the last round. These take entries away (the callers of try_to_unmap, and of the functions
 * that zap), and this is why they do not here:
 *
 * 1. Reclaim (mm/vmscan.c: shrink_folio_list) unmaps a shared page that it wants to swap out or to
 * demote, whether or not that works then. It gets pages from the lists of anonymous pages only,
 * where tmpfs pages are, and whoever takes some off these lists for it counts them in pgscan_anon
 * before any is unmapped (shrink_inactive_list; scan_folios with the multi-generation LRU). So:
 * pgscan_anon of /proc/vmstat must be what it was. The order makes that exact, whenever swap was
 * switched on or off: if our round saw that an entry was gone, it had the page table's lock after
 * reclaim had it, and then it sees the count as well; if it saw the entry before, it saw the bit.
 * Without swap (and without demotion to slower memory) nothing is scanned there (get_scan_count:
 * SCAN_FILE), so a host without swap is what we ask for. A host with swap would do until it swaps;
 * a protection that ends when memory is short is none, so it is refused at once, with a sentence.
 * Pages of a locked mapping are never unmapped by reclaim (try_to_unmap_one: VM_LOCKED): with
 * these, neither swap nor the count matters. QEMU never unlocks.
 *
 * 2. Huge pages. khugepaged unmaps the small pages that it collapses, locked ones too, before it
 * knows whether it can (mm/khugepaged.c: collapse_file); splitting a huge page unmaps all of it
 * (mm/huge_memory.c: unmap_folio), and so does a write to a protected one (__split_huge_pmd). So:
 * there are none, and none can come to be. A file is eligible as shmem_is_huge says (mm/shmem.c):
 * never with "deny"; with "never" only by its mount's option huge=, and the kernel's own mount,
 * where memfds are, has none. "advise" is not enough: QEMU itself gives MADV_HUGEPAGE to its RAM.
 * Huge pages from before are seen in nr_shmem_hugepages (512 at a time: no CPU keeps them back).
 * What was set can be set anew. Each round reads shmem_enabled and then the inotify events of that
 * file, in this order, after it has collected: either the word is another one; or it was changed
 * and changed back, and then the first writer's event was there before the second one began; or it
 * was not changed, and no collapse began before we collected. Three cases are caught only if the
 * collapse succeeds (nr_shmem_hugepages): another process changes it back before the first writer's
 * write() has returned; it is changed there and back through the sysfs of another network
 * namespace; the collapse began before the session did, when it was still allowed.
 *
 * 3. MADV_DONTNEED, MADV_REMOVE, fallocate, truncation: QEMU does that for balloons, virtio-mem and
 * free page reporting, which are refused with shared RAM, and for postcopy.
 *
 * 4. Memory failure leaves a poison entry, and the next access is a signal. Soft offlining and
 * compaction migrate.
 *
 * What is left are those who, like a process that writes to clear_refs, have our rights and use
 * them on this process or on all of memory: process_madvise(MADV_PAGEOUT, MADV_COLLAPSE), DAMON's
 * reclaim (not in Debian's 6.1).
 *
 * A change ends the session (TV_E_UNTRACKED): the round is not an epoch, whatever it collected. The
 * next attach copies everything again, or reports why not.
 */
#include "hv/dirty/softshared.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The source was read for the above, and it was tried, with 6.1. Before, nr_shmem_hugepages and the
 * dirty bit of migration entries are others; from 6.7 on there is a better way, and later sizes of
 * huge pages that shmem_enabled does not govern. */
#define KERNEL_FIRST 601
#define KERNEL_LAST 606

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

/* ---- facts ---- */

unsigned hv_soft_kernel_number(const char *osrelease)
{
	unsigned major, minor;

	return sscanf(osrelease, "%u.%u", &major, &minor) == 2 ? major * 100 + minor : 0;
}

/* The number of a line "NAME N". */
static bool number_of(const char *text, const char *name, uint64_t *out)
{
	size_t n = strlen(name);

	for (const char *p = text; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, name, n) && p[n] == ' ')
			return sscanf(p + n, "%" SCNu64, out) == 1;
	return false;
}

bool hv_shared_vmstat(const char *vmstat, uint64_t *huge_pages, uint64_t *anon_scanned)
{
	return number_of(vmstat, "nr_shmem_hugepages", huge_pages) &&
	       number_of(vmstat, "pgscan_anon", anon_scanned);
}

/* The word in brackets of "always within_size advise [never] deny force". */
static bool chosen_word(const char *text, char *out, size_t room)
{
	const char *p = strchr(text, '['), *end = p ? strchr(p, ']') : NULL;

	if (!end || (size_t)(end - p) > room)
		return false;
	memcpy(out, p + 1, (size_t)(end - p - 1));
	out[end - p - 1] = '\0';
	return true;
}

/* A whole file of /proc or /sys, from its beginning, NUL-terminated. */
static int read_again(int fd, char *text, size_t room)
{
	size_t have = 0;
	ssize_t r;

	do {
		r = pread(fd, text + have, room - 1 - have, (off_t)have);
		have += r > 0 ? (size_t)r : 0;
	} while ((r > 0 && have < room - 1) || (r < 0 && errno == EINTR));
	text[have] = '\0';
	return r < 0 ? -errno : 0;
}

static int read_named(const char *root, const char *name, char **text, struct tv_err *e)
{
	char path[512];
	int rc;

	snprintf(path, sizeof(path), "%s%s", root, name);
	rc = tv_read_file(path, HV_VMSTAT_ROOM, text, NULL);
	return rc ? tv_fail(e, rc, "cannot read %s: %s", path, tv_strerror(rc)) : 0;
}

int hv_shared_facts(const char *root, struct hv_shared_facts *out, struct tv_err *e)
{
	TV_FREE char *release = NULL, *swaps = NULL, *vmstat = NULL, *huge = NULL;
	int rc;

	*out = (struct hv_shared_facts){.huge = "deny"};
	if ((rc = read_named(root, "/proc/sys/kernel/osrelease", &release, e)))
		return rc;
	out->kernel = hv_soft_kernel_number(release);
	if ((rc = read_named(root, "/proc/swaps", &swaps, e)) && rc != -ENOENT)
		return rc; /* -ENOENT: a kernel without swap */
	if ((rc = read_named(root, "/proc/vmstat", &vmstat, e)))
		return rc;
	if ((rc = read_named(root, SHMEM_ENABLED, &huge, e)) && rc != -ENOENT)
		return rc;
	/* A heading, then a line for each. */
	out->swap = swaps && strchr(swaps, '\n') && strchr(swaps, '\n')[1];
	if (huge && !chosen_word(huge, out->huge, sizeof(out->huge)))
		return tv_fail(e, -EBADMSG, "%s%s has no word in brackets", root, SHMEM_ENABLED);
	if (!hv_shared_vmstat(vmstat, &out->huge_pages, &out->anon_scanned))
		return tv_fail(
			e, -ENOTSUP,
			"%s/proc/vmstat lacks nr_shmem_hugepages or pgscan_anon (Linux 5.8): "
			"use private RAM, or a newer kernel",
			root);
	return 0;
}

bool hv_shared_is_locked(const char *smaps, uint64_t addr)
{
	char head[32];
	size_t n = (size_t)snprintf(head, sizeof(head), "%08" PRIx64 "-", addr);
	bool inside = false;

	for (const char *p = smaps; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		size_t line = strcspn(p, "\n");

		if (!strncmp(p, head, n))
			inside = true;
		else if (inside && !strncmp(p, "VmFlags:", 8))
			return memmem(p, line, " lo", 3) != NULL;
	}
	return false;
}

bool hv_shared_is_unnamed(int fd)
{
	TV_CLOSE int own = memfd_create("twinvm-look", MFD_CLOEXEC);
	struct stat a, b;

	return own >= 0 && !fstat(own, &a) && !fstat(fd, &b) && a.st_dev == b.st_dev;
}

int hv_shared_judge(const struct hv_shared_facts *f, const struct hv_shared_block *b,
		    struct tv_err *e)
{
	bool denied = !strcmp(f->huge, "deny");

	if (f->kernel < KERNEL_FIRST || f->kernel > KERNEL_LAST)
		return tv_fail(e, TV_E_REFUSED,
			       "the RAM block %s is shared memory, whose written pages Linux %u.%u "
			       "cannot report safely: use private RAM, or Linux 6.7 or newer with "
			       "userfaultfd",
			       b->name, f->kernel / 100, f->kernel % 100);
	if (f->swap && !b->locked)
		return tv_fail(
			e, TV_E_REFUSED,
			"the RAM block %s is shared memory, whose written pages this kernel "
			"cannot report reliably where it may be swapped out: switch this host's "
			"swap off (swapoff -a), start the VM with -overcommit mem-lock=on, or use "
			"Linux 6.7 or newer",
			b->name);
	if (!denied && (strcmp(f->huge, "never") || !b->unnamed))
		return tv_fail(
			e, TV_E_REFUSED,
			"the RAM block %s is shared memory, whose written pages this kernel "
			"cannot report reliably where it may get huge pages (shmem_enabled is "
			"\"%s\"): echo %s >" SHMEM_ENABLED ", or use Linux 6.7 or newer",
			b->name, f->huge, b->unnamed ? "never" : "deny");
	if (f->huge_pages)
		return tv_fail(
			e, TV_E_REFUSED,
			"the RAM block %s is shared memory, and some shared memory of this "
			"host has huge pages (ShmemHugePages in /proc/meminfo), whose written "
			"pages this kernel cannot report reliably: end what uses them, or use "
			"Linux 6.7 or newer",
			b->name);
	return 0;
}

/* ---- watching them ---- */

static int open_at(const char *root, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", root, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The events come before the facts: a change between the two is seen. */
int hv_shared_watch_start(struct hv_shared_watch *w, const char *root, bool reclaim,
			  struct hv_shared_facts *out, struct tv_err *e)
{
	char path[512];
	int rc;

	*w = (struct hv_shared_watch){.on = true, .reclaim = reclaim, .inotify_fd = -1};
	w->vmstat_fd = open_at(root, "/proc/vmstat");
	w->huge_fd = open_at(root, SHMEM_ENABLED);
	w->text = malloc(HV_VMSTAT_ROOM);
	if (!w->text)
		return tv_fail(e, -ENOMEM, "no memory to track dirty pages");
	memset(w->text, 0, HV_VMSTAT_ROOM); /* faults it in now */
	if (w->huge_fd >= 0) {
		snprintf(path, sizeof(path), "%s%s", root, SHMEM_ENABLED);
		w->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (w->inotify_fd < 0 ||
		    inotify_add_watch(w->inotify_fd, path, IN_MODIFY | IN_DELETE_SELF) < 0)
			return tv_fail(e, -errno,
				       "cannot watch %s: %s; sysctl fs.inotify.max_user_instances "
				       "may be too low",
				       path, strerror(errno));
	}
	rc = hv_shared_facts(root, out, e);
	w->anon_scanned = out->anon_scanned;
	memcpy(w->huge, out->huge, sizeof(w->huge));
	return rc;
}

static bool huge_unchanged(struct hv_shared_watch *w)
{
	struct inotify_event ev[8];
	char word[16];

	if (w->huge_fd < 0)
		return true; /* no such thing in this kernel */
	if (read_again(w->huge_fd, w->text, HV_VMSTAT_ROOM) ||
	    !chosen_word(w->text, word, sizeof(word)) || strcmp(word, w->huge))
		return false;
	/* After the word: see above. */
	return read(w->inotify_fd, ev, sizeof(ev)) < 0 && errno == EAGAIN;
}

static bool vmstat_unchanged(struct hv_shared_watch *w)
{
	uint64_t huge_pages, anon_scanned;

	return !read_again(w->vmstat_fd, w->text, HV_VMSTAT_ROOM) &&
	       hv_shared_vmstat(w->text, &huge_pages, &anon_scanned) && !huge_pages &&
	       (!w->reclaim || anon_scanned == w->anon_scanned);
}

int hv_shared_watch_ok(struct hv_shared_watch *w)
{
	if (!w->text)
		return w->on ? TV_E_UNTRACKED : 0;
	/* What was seen once is not forgotten: its event is read, but on no longer. */
	if (!w->on || !huge_unchanged(w) || !vmstat_unchanged(w))
		w->on = false;
	return w->on ? 0 : TV_E_UNTRACKED;
}

void hv_shared_watch_stop(struct hv_shared_watch *w)
{
	if (!w->on && !w->text)
		return; /* never started: its descriptors are no descriptors */
	tv_close_fd(&w->vmstat_fd);
	tv_close_fd(&w->huge_fd);
	tv_close_fd(&w->inotify_fd);
	free(w->text);
	*w = (struct hv_shared_watch){0};
}
