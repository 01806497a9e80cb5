/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RAM blocks: names and sizes come from HMP `info ramblock`, addresses from there too where QEMU
 * prints them (8.0 and later), else from QEMU's memory (ramlist.c), else from what the process has
 * mapped. Whatever the way, an address counts only if all of the block is mapped there.
 */
#include "hv/qemu/ramblock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t page_round(uint64_t bytes)
{
	return (bytes + TV_PAGE_BYTES - 1) & ~(uint64_t)(TV_PAGE_BYTES - 1);
}

/* "4 KiB" to bytes; 0 when it is none. */
static uint64_t parse_size(const char *number, const char *unit)
{
	static const char units[] = "BKMG";
	const char *u = strchr(units, *unit);

	return u && *u ? strtoull(number, NULL, 10) << (10 * (u - units)) : 0;
}

/* Cuts the last word off a line; NULL when there is none. */
static char *last_word(char *line)
{
	size_t n = strlen(line);
	char *p;

	while (n && isspace((unsigned char)line[n - 1]))
		line[--n] = '\0';
	if (!n)
		return NULL;
	p = line + n;
	while (p > line && !isspace((unsigned char)p[-1]))
		p--;
	if (p > line)
		p[-1] = '\0';
	return p;
}

/* Takes "0x..." words from the right: [offset used total] or [offset used total hva]. */
static bool parse_line(char *line, struct hv_ramblock *b)
{
	uint64_t num[4];
	unsigned n = 0;
	char *w, *unit;

	*b = (struct hv_ramblock){0};
	w = last_word(line);
	if (w && (!strcmp(w, "rw") || !strcmp(w, "ro")))
		w = last_word(line);
	for (; w && !strncmp(w, "0x", 2) && n < 4; w = last_word(line))
		num[n++] = strtoull(w, NULL, 16);
	if (!w || n < 3)
		return false;
	b->host = n == 4 ? num[0] : 0;
	b->total = num[n - 3];
	b->used = num[n - 2];
	b->offset = num[n - 1];
	unit = w;
	w = last_word(line);
	if (!w)
		return false;
	b->page_bytes = parse_size(w, unit);
	/* The number was the whole rest: the block has no name. */
	if (w == line)
		return b->page_bytes != 0;
	line += strspn(line, " \t");
	for (n = (unsigned)strlen(line); n && isspace((unsigned char)line[n - 1]); n--)
		;
	tv_copy_n(b->name, sizeof(b->name), line, n);
	return b->page_bytes != 0 && b->used <= b->total;
}

int hv_ramblock_parse(const char *text, struct hv_ramblock *out, unsigned max, unsigned *n,
		      unsigned *listed, struct tv_err *e)
{
	TV_FREE char *copy = strdup(text);
	char *save = NULL;

	*n = *listed = 0;
	if (!copy)
		return tv_fail(e, -ENOMEM, "no memory");
	for (char *l = strtok_r(copy, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save)) {
		struct hv_ramblock b;

		if (strstr(l, "Block Name"))
			continue;
		if (!parse_line(l, &b))
			return tv_fail(e, TV_E_PROTOCOL,
				       "cannot read this line of QEMU's 'info ramblock': %s", l);
		++*listed;
		if (!b.name[0])
			continue;
		if (*n == max)
			return tv_fail(e, -ENOSPC, "the VM has more than %u RAM blocks", max);
		out[(*n)++] = b;
	}
	return *n ? 0 : tv_fail(e, TV_E_PROTOCOL, "QEMU's 'info ramblock' names no RAM block");
}

static bool taken(const struct hv_ramblock *b, unsigned n, uint64_t host)
{
	for (unsigned i = 0; i < n; i++)
		if (b[i].host == host)
			return true;
	return false;
}

static int find_by_size(struct hv_ramblock *all, unsigned n, struct hv_ramblock *b,
			const struct hv_maps *maps, struct tv_err *e)
{
	unsigned found = 0, twins = 0;

	for (unsigned i = 0; i < n; i++)
		twins += !all[i].host && page_round(all[i].total) == page_round(b->total);
	for (unsigned i = 0; i < maps->n; i++) {
		const struct hv_map *m = &maps->map[i];

		if (m->end - m->start != page_round(b->total) || !m->writable ||
		    taken(all, n, m->start))
			continue;
		found++;
		b->host = m->start;
	}
	if (found == 1 && twins == 1)
		return 0;
	b->host = 0;
	return tv_fail(e, TV_E_AMBIGUOUS,
		       "cannot find where the RAM block %s lies: %u mappings of QEMU have its size "
		       "(%" PRIu64 " KiB) and %u blocks; QEMU 8.0 or newer reports it",
		       b->name, found, page_round(b->total) >> 10, twins);
}

int hv_ramblock_by_maps(struct hv_ramblock *b, unsigned n, const char *main_name,
			uint64_t main_host, const struct hv_maps *maps, struct tv_err *e)
{
	for (unsigned i = 0; i < n; i++)
		b[i].host = strcmp(b[i].name, main_name) ? 0 : main_host;
	for (unsigned i = 0; i < n; i++) {
		int rc = b[i].host ? 0 : find_by_size(b, n, &b[i], maps, e);

		if (rc)
			return rc;
	}
	return 0;
}

/* gpa2hva 0: "Host virtual address for 0x0 (pc.ram) is 0x7f..." */
static int ask_gpa2hva(struct hv_qmp *q, char *name, size_t room, uint64_t *host, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	char *open, *close;
	int rc = hv_qmp_hmp(q, "gpa2hva 0", &text, HV_CMD_MS, e);

	if (rc)
		return rc;
	open = strchr(text, '(');
	close = open ? strstr(open, ") is 0x") : NULL;
	if (!close)
		return tv_fail(e, TV_E_PROTOCOL, "unexpected answer of QEMU to 'gpa2hva 0': %s",
			       text);
	*host = strtoull(close + 5, NULL, 16);
	tv_copy_n(name, room, open + 1, (size_t)(close - open - 1));
	return 0;
}

static int block_of(const struct hv_ramblock *b, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(b[i].name, name))
			return (int)i;
	return -ENOENT;
}

/*
 * The block of the machine's memory: what the machine's memory-backend link points to, whose
 * block is called like the object or by its path ("pc.ram", "/objects/ram0"). Without such a link
 * the NUMA nodes have back ends each (-numa node,memdev=), and it is the one that address 0 is in.
 */
static int find_main(struct hv_qmp *q, const struct hv_ramblock *b, unsigned n, unsigned *main,
		     struct tv_err *e)
{
	json_t *ret = NULL;
	const char *path, *base;
	char name[256] = "";
	uint64_t host;
	int rc = hv_qmp_cmd(
		q, "qom-get",
		json_pack("{s:s, s:s}", "path", "/machine", "property", "memory-backend"), &ret,
		HV_CMD_MS, e);
	int found = -ENOENT;

	if (rc)
		return rc;
	path = json_string_value(ret);
	base = path ? strrchr(path, '/') : NULL;
	if (base) {
		found = block_of(b, n, path);
		found = found < 0 ? block_of(b, n, base + 1) : found;
	} else if (!(rc = ask_gpa2hva(q, name, sizeof(name), &host, e))) {
		found = block_of(b, n, name);
	}
	if (!rc && found < 0)
		rc = tv_fail(e, found, "none of the VM's RAM blocks is its main memory (%s)",
			     base ? path : name);
	*main = rc ? 0 : (unsigned)found;
	json_decref(ret);
	return rc;
}

static int check_mapped(const struct hv_ramblock *b, unsigned n, const struct hv_maps *maps,
			struct tv_err *e)
{
	for (unsigned i = 0; i < n; i++)
		if (!b[i].host || b[i].host % TV_PAGE_BYTES ||
		    !hv_maps_cover(maps, b[i].host, page_round(b[i].used)))
			return tv_fail(
				e, -EFAULT,
				"the RAM block %s is not mapped at the address that QEMU reports "
				"(0x%" PRIx64 ")",
				b[i].name, b[i].host);
	return 0;
}

static int find_hosts(struct hv_qmp *q, const struct hv_proc_fds *fds, struct hv_qemu *qemu,
		      struct hv_ramblock *b, unsigned n, unsigned listed,
		      const struct hv_maps *maps, struct tv_err *e)
{
	char name[256];
	uint64_t host = 0;
	int rc;

	qemu->ram_way = HV_RAM_HVA;
	if (qemu->ramblock_hva)
		return 0;
	qemu->ram_way = HV_RAM_LIST;
	if (!tv_fault("hv_ramlist") && !hv_ramlist_hosts(fds, b, n, listed, maps))
		return 0;
	qemu->ram_way = HV_RAM_MAPS;
	rc = ask_gpa2hva(q, name, sizeof(name), &host, e);
	return rc ? rc : hv_ramblock_by_maps(b, n, name, host, maps, e);
}

int hv_ramblock_find(struct hv_qmp *q, const struct hv_proc_fds *fds, struct hv_qemu *qemu,
		     struct hv_block *out, unsigned max, unsigned *n, uint64_t *page_bytes,
		     struct tv_err *e)
{
	struct hv_ramblock *b = calloc(max, sizeof(*b));
	struct hv_maps maps = {0};
	TV_FREE char *text = NULL;
	unsigned main = 0, listed;
	int rc;

	*n = 0;
	if (!b)
		return tv_fail(e, -ENOMEM, "no memory");
	rc = hv_qmp_hmp(q, "info ramblock", &text, HV_CMD_MS, e);
	if (!rc)
		rc = hv_ramblock_parse(text, b, max, n, &listed, e);
	if (!rc)
		rc = find_main(q, b, *n, &main, e);
	if (!rc && (rc = hv_maps_read_fd(fds->maps, &maps)))
		tv_fail(e, rc, "cannot read what QEMU has mapped: %s", tv_strerror(rc));
	if (!rc)
		rc = find_hosts(q, fds, qemu, b, *n, listed, &maps, e);
	if (!rc)
		rc = check_mapped(b, *n, &maps, e);
	*page_bytes = 0;
	for (unsigned i = 0; i < *n && !rc; i++) {
		out[i] = (struct hv_block){
			.bytes = page_round(b[i].used),
			.host = {b[i].host},
			.main_ram = i == main,
		};
		memcpy(out[i].name, b[i].name, sizeof(out[i].name));
		*page_bytes = b[i].page_bytes > *page_bytes ? b[i].page_bytes : *page_bytes;
	}
	hv_maps_dispose(&maps);
	free(b);
	return rc;
}
