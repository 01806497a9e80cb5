/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a page is, by the page tables of the processes that may have it (/proc/PID/pagemap), also when the
 * kernel has taken it away: it takes some ms for each GiB. Only memory that a process may write counts: of a file that it has mapped for reading, the kernel
 * reads such a page anew. An entry of a page that the kernel has taken away looks like one of swap,
 * of a kind that no swap device has, whose place is the page's number.
 */
#include "keeper/sys.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A mapping may be of any size, and mostly empty. */
#define CANDIDATES_NS (30 * TV_NS_PER_S)
#define ENTRIES 65536

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_PFN ((UINT64_C(1) << 55) - 1)
#define SWAP_KIND(entry) ((unsigned)((entry)&31))
#define SWAP_PLACE(entry) (((entry)&ENTRY_PFN) >> 5)
/* Kinds from here on are no swap device's, unless there are that many: at least 20 in all kernels. */
#define SWAP_KIND_SPECIAL 20
/* Small numbers are marks of the kernel's own, and the first MiB is the firmware's. */
#define FIRST_PFN 256

bool kp_entry_is(uint64_t entry, struct ras_pfn page)
{
	if (page.n < FIRST_PFN)
		return false;
	if (entry & ENTRY_PRESENT)
		return (entry & ENTRY_PFN) == page.n;
	return (entry & ENTRY_SWAPPED) && SWAP_KIND(entry) >= SWAP_KIND_SPECIAL &&
	       SWAP_PLACE(entry) == page.n;
}

/* Of one mapping. */
static bool range_has(int pagemap, uint64_t from, uint64_t to, struct ras_pfn page, int64_t until)
{
	static uint64_t entries[ENTRIES];

	for (uint64_t n = from / TV_PAGE_BYTES; n < to / TV_PAGE_BYTES && tv_now_ns() < until;) {
		uint64_t want = to / TV_PAGE_BYTES - n;
		ssize_t r = pread(pagemap, entries,
				  (want < ENTRIES ? want : ENTRIES) * sizeof(*entries),
				  (off_t)(n * sizeof(*entries)));

		if (r < (ssize_t)sizeof(*entries))
			return false;
		for (size_t i = 0; i < (size_t)r / sizeof(*entries); i++)
			if (kp_entry_is(entries[i], page))
				return true;
		n += (uint64_t)r / sizeof(*entries);
	}
	return false;
}

/* mapping: only in mappings of files whose names have it; "": in all. */
static bool process_has(pid_t pid, const char *mapping, struct ras_pfn page, int64_t until)
{
	TV_CLOSE int pagemap = -1;
	unsigned long from, to;
	char path[64], line[512], rights[8];
	bool has = false;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = pagemap < 0 ? NULL : fopen(path, "re");
	while (maps && !has && fgets(line, sizeof(line), maps)) {
		bool whole = strchr(line, '\n') != NULL;

		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && rights[1] == 'w' &&
		    strstr(line, mapping))
			has = range_has(pagemap, from, to, page, until);
		while (!whole && fgets(line, sizeof(line), maps))
			whole = strchr(line, '\n') != NULL;
	}
	if (maps)
		fclose(maps);
	return has;
}

/* Also after the look: the pid may have become another process's meanwhile. */
static bool candidate_has(const struct kp_process *w, struct ras_pfn page, int64_t until)
{
	return (!w->start_ticks || tv_pid_start_ticks(w->pid) == w->start_ticks) &&
	       process_has(w->pid, w->mapping, page, until) &&
	       (!w->start_ticks || tv_pid_start_ticks(w->pid) == w->start_ticks);
}

int kp_has_any(const struct kp_request *q)
{
	const int64_t until = tv_now_ns() + CANDIDATES_NS;

	for (uint32_t i = 0; i < q->n; i++)
		if (candidate_has(&q->who[i], (struct ras_pfn){q->page}, until))
			return (int)i;
	return -1;
}

static pid_t among_others(struct ras_pfn page, int64_t limit_ns)
{
	int64_t until = tv_now_ns() + limit_ns;
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;

	while (d && !found && (e = readdir(d)) && tv_now_ns() < until) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;

		if (pid > 0 && process_has(pid, "", page, until))
			found = pid;
	}
	if (d)
		closedir(d);
	return found;
}

static void command_of(pid_t pid, char out[16])
{
	TV_FREE char *text = NULL;
	char path[64];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (tv_read_file(path, 256, &text, &bytes))
		return;
	text[strcspn(text, "\n")] = '\0';
	tv_mend_utf8(text);
	tv_copy(out, 16, text);
}

bool kp_sees_pages(void)
{
	TV_CLOSE int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile uint64_t entry = 1; /* its page is there */
	uint64_t got = 0;

	return entry && pagemap >= 0 &&
	       pread(pagemap, &got, sizeof(got),
		     (off_t)((uintptr_t)&entry / TV_PAGE_BYTES * sizeof(got))) == sizeof(got) &&
	       (got & ENTRY_PRESENT) && (got & ENTRY_PFN);
}

void kp_owner(const struct kp_request *q, struct kp_reply *r)
{
	r->who = -1;
	if (!kp_sees_pages()) {
		kp_fail(r, -EPERM, "numbers of pages are not shown to this process");
		return;
	}
	r->who = kp_has_any(q);
	r->pid = r->who >= 0 ? q->who[r->who].pid
			     : among_others((struct ras_pfn){q->page}, q->others_ms * TV_NS_PER_MS);
	if (r->pid)
		command_of(r->pid, r->command);
}
