/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Only memory that a process may write counts: of a file that it has mapped for reading, the kernel
 * reads such a page anew. An entry of a page that the kernel has taken away looks like one of swap,
 * of a kind that no swap device has, whose place is the page's number.
 */
#include "hardware/owner.h"

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
#define OTHERS_MOST_MS 60000
#define ENTRIES 65536
#define MAX_CANDIDATES 4096

#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)
#define ENTRY_PFN ((UINT64_C(1) << 55) - 1)
#define SWAP_KIND(entry) ((unsigned)((entry)&31))
#define SWAP_PLACE(entry) (((entry)&ENTRY_PFN) >> 5)
/* Kinds from here on are no swap device's, unless there are that many: at least 20 in all kernels. */
#define SWAP_KIND_SPECIAL 20
/* Small numbers are marks of the kernel's own, and the first MiB is the firmware's. */
#define FIRST_PFN 256

bool hw_entry_is(uint64_t entry, struct ras_pfn page)
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
			if (hw_entry_is(entries[i], page))
				return true;
		n += (uint64_t)r / sizeof(*entries);
	}
	return false;
}

/* mapping: only in mappings of files of that name; "": in all. */
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

static json_t *found(enum ras_owner owner, const char *id, pid_t pid)
{
	TV_FREE char *command = NULL;
	char path[64];
	size_t bytes;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (!pid || tv_read_file(path, 256, &command, &bytes))
		command = NULL;
	if (command) {
		command[strcspn(command, "\n")] = '\0';
		tv_mend_utf8(command);
	}
	return json_pack("{si ss si ss}", "owner_id", (int)owner, "id", id, "pid", (int)pid,
			 "command", command ? command : "");
}

/* NULL: none of them. */
static json_t *among_candidates(const json_t *list, struct ras_pfn page)
{
	const int64_t until = tv_now_ns() + CANDIDATES_NS;
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(o, "pid"));
		json_int_t owner = json_integer_value(json_object_get(o, "owner"));
		const char *id = json_string_value(json_object_get(o, "id"));
		const char *mapping = json_string_value(json_object_get(o, "mapping"));
		uint64_t start = (uint64_t)json_integer_value(json_object_get(o, "start"));

		if (pid <= 0 || owner < 0 || owner >= RAS_OWNER_COUNT || i >= MAX_CANDIDATES)
			continue;
		/* Also after the look: the pid may have become another process's meanwhile. */
		if ((!start || tv_pid_start_ticks(pid) == start) &&
		    process_has(pid, mapping ? mapping : "", page, until) &&
		    (!start || tv_pid_start_ticks(pid) == start))
			return found((enum ras_owner)owner, id ? id : "", pid);
	}
	return NULL;
}

static json_t *among_others(struct ras_pfn page, int64_t limit_ns)
{
	int64_t until = tv_now_ns() + limit_ns;
	DIR *d = opendir("/proc");
	struct dirent *e;
	json_t *o = NULL;

	while (d && !o && (e = readdir(d)) && tv_now_ns() < until) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;

		if (pid > 0 && process_has(pid, "", page, until))
			o = found(RAS_OWNER_PROCESS, "", pid);
	}
	if (d)
		closedir(d);
	return o;
}

bool hw_sees_pages(void)
{
	TV_CLOSE int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile uint64_t entry = 1; /* its page is there */
	uint64_t got = 0;

	return entry && pagemap >= 0 &&
	       pread(pagemap, &got, sizeof(got),
		     (off_t)((uintptr_t)&entry / TV_PAGE_BYTES * sizeof(got))) == sizeof(got) &&
	       (got & ENTRY_PRESENT) && (got & ENTRY_PFN);
}

int hw_owner_look(const json_t *job, json_t **out)
{
	const char *text = json_string_value(json_object_get(job, "page"));
	json_int_t others_ms = json_integer_value(json_object_get(job, "others_ms"));
	struct ras_pfn page;
	char *end;

	*out = NULL;
	if (!text || strncmp(text, "0x", 2) != 0)
		return -EINVAL;
	page.n = strtoull(text, &end, 16);
	if (*end || others_ms < 0 || others_ms > OTHERS_MOST_MS ||
	    !json_is_array(json_object_get(job, "candidates")))
		return -EINVAL;
	if (!hw_sees_pages()) {
		tv_log(TV_WARN, "whose page 0x%llx is cannot be seen without CAP_SYS_ADMIN",
		       (unsigned long long)page.n);
		others_ms = 0;
	} else {
		*out = among_candidates(json_object_get(job, "candidates"), page);
	}
	if (!*out)
		*out = among_others(page, others_ms * TV_NS_PER_MS);
	if (!*out)
		*out = found(RAS_OWNER_UNKNOWN, "", 0);
	return *out ? 0 : -ENOMEM;
}

int hw_owner_main(const char *job_text, int fd)
{
	json_t *job = json_loads(job_text, 0, NULL), *o;
	TV_FREE char *text = NULL;
	int rc = hw_owner_look(job, &o);

	json_decref(job);
	if (rc)
		return 1;
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text && !tv_write_all(fd, text, strlen(text)) && !tv_write_all(fd, "\n", 1) ? 0 : 1;
}
