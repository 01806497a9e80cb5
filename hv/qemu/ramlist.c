/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host addresses of RAM blocks out of QEMU's own list, for QEMU before 8.0, which does not print
 * them. Distributions build QEMU with loadable modules and so export the variable ram_list; its
 * layout is not promised, so none is assumed. What is known of the blocks from `info ramblock`
 * (names, offsets, sizes) is searched for in the memory that ram_list leads to:
 *
 *   a candidate layout is where a block keeps its name, and where it keeps the pointer to the next;
 *   it holds if walking the list meets every named block exactly once, and as many as were listed;
 *   offset, used and total must then each be found at one place that is right for ALL blocks;
 *   the address is at that one place whose value, for ALL blocks, is page aligned, different, and
 *   the start of readable memory as large as the block.
 *
 * Anything that is not unique is not accepted, and the caller takes another way.
 */
#include "hv/qemu/ramblock.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE_BYTES 768 /* how much of a RAMBlock is looked at: 7.2 needs 400 */
#define SLOTS (NODE_BYTES / 8)
#define HEAD_BYTES 512		      /* of ram_list itself */
#define MAX_NODES (2 * HV_MAX_BLOCKS) /* those without a name, too */

struct node {
	uint64_t addr;
	int block; /* index into the caller's blocks, -1: a block without a name */
	uint8_t data[NODE_BYTES];
};

static bool read_mem(int mem_fd, uint64_t addr, void *dst, size_t n)
{
	return pread(mem_fd, dst, n, (off_t)addr) == (ssize_t)n;
}

static uint64_t slot(const uint8_t *data, unsigned i)
{
	uint64_t v;

	memcpy(&v, data + 8 * i, 8);
	return v;
}

/* ---- the symbol ---- */

/* Value of a symbol in an ELF image's dynamic symbol table, and the first segment's address. */
static bool elf_symbol(const uint8_t *img, size_t size, const char *name, uint64_t *value,
		       uint64_t *bytes, uint64_t *base)
{
	const Elf64_Ehdr *eh = (const void *)img;
	const Elf64_Shdr *sh;
	const Elf64_Phdr *ph;

	if (size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_shentsize != sizeof(*sh) ||
	    eh->e_phentsize != sizeof(*ph) || eh->e_shoff > size || eh->e_phoff > size ||
	    eh->e_shnum > (size - eh->e_shoff) / sizeof(*sh) ||
	    eh->e_phnum > (size - eh->e_phoff) / sizeof(*ph))
		return false;
	ph = (const void *)(img + eh->e_phoff);
	*base = UINT64_MAX;
	for (unsigned i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
			*base = ph[i].p_vaddr;
	sh = (const void *)(img + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *s = &sh[i], *str;

		if (s->sh_type != SHT_DYNSYM || s->sh_link >= eh->e_shnum)
			continue;
		str = &sh[s->sh_link];
		if (s->sh_offset > size || s->sh_size > size - s->sh_offset ||
		    str->sh_offset > size || str->sh_size > size - str->sh_offset)
			return false;
		for (size_t k = 0; k < s->sh_size / sizeof(Elf64_Sym); k++) {
			const Elf64_Sym *y = (const Elf64_Sym *)(img + s->sh_offset) + k;

			if (y->st_name + strlen(name) < str->sh_size && y->st_shndx != SHN_UNDEF &&
			    !strncmp((const char *)img + str->sh_offset + y->st_name, name,
				     str->sh_size - y->st_name)) {
				*value = y->st_value;
				*bytes = y->st_size;
				return *base != UINT64_MAX;
			}
		}
	}
	return false;
}

/* Where the executable's first page lies in the process; 0 when it is not to be seen. */
static uint64_t exe_start(int exe_fd, const struct hv_maps *maps)
{
	char path[64], exe[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe_fd);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n < 0)
		return 0;
	exe[n] = '\0';
	for (unsigned i = 0; i < maps->n; i++)
		if (maps->map[i].offset == 0 && !strcmp(maps->map[i].path, exe))
			return maps->map[i].start;
	return 0;
}

static bool find_head(int exe_fd, const struct hv_maps *maps, uint64_t *addr, uint64_t *bytes)
{
	uint64_t value, base, start = exe_start(exe_fd, maps);
	struct stat st;
	void *img;
	bool found;

	if (!start || fstat(exe_fd, &st))
		return false;
	img = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, exe_fd, 0);
	if (img == MAP_FAILED)
		return false;
	found = elf_symbol(img, (size_t)st.st_size, "ram_list", &value, bytes, &base);
	munmap(img, (size_t)st.st_size);
	*addr = value + start - (base & ~(uint64_t)(TV_PAGE_BYTES - 1));
	return found;
}

/* ---- the list ---- */

static int block_named(const struct hv_ramblock *b, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(b[i].name, name))
			return (int)i;
	return -1;
}

/* Walks with a candidate layout; true when it meets every block once and as many as listed. */
static bool walk(int mem_fd, uint64_t first, size_t name_at, unsigned next_slot,
		 const struct hv_ramblock *b, unsigned n, unsigned listed, struct node *nodes)
{
	bool seen[HV_MAX_BLOCKS] = {false};
	unsigned k = 0, named = 0;

	for (uint64_t p = first; p; p = slot(nodes[k - 1].data, next_slot)) {
		struct node *d = &nodes[k];
		char *name = (char *)d->data + name_at;

		if (k == listed || !read_mem(mem_fd, p, d->data, NODE_BYTES))
			return false;
		d->addr = p;
		d->block = -1;
		k++;
		if (!*name)
			continue;
		d->data[NODE_BYTES - 1] = '\0';
		d->block = block_named(b, n, name);
		if (d->block < 0 || seen[d->block])
			return false;
		seen[d->block] = true;
		named++;
	}
	return k == listed && named == n;
}

/* A copy of data's bytes where one of the names stands, with its NUL; SIZE_MAX when there is
 * none. */
static size_t find_name(const uint8_t *data, const struct hv_ramblock *b, unsigned n)
{
	for (size_t at = 0; at + 8 < NODE_BYTES; at += 4)
		for (unsigned i = 0; i < n; i++) {
			size_t len = strlen(b[i].name) + 1;

			if (at + len <= NODE_BYTES && !memcmp(data + at, b[i].name, len))
				return at;
		}
	return SIZE_MAX;
}

static bool find_list(int mem_fd, uint64_t head, uint64_t bytes, const struct hv_ramblock *b,
		      unsigned n, unsigned listed, struct node *nodes)
{
	uint8_t top[HEAD_BYTES] = {0}, data[NODE_BYTES];
	size_t len = bytes && bytes < HEAD_BYTES ? bytes : HEAD_BYTES, name_at;

	if (!read_mem(mem_fd, head, top, len))
		return false;
	for (unsigned i = 0; i < len / 8; i++) {
		uint64_t first = slot(top, i);

		if (!first || first % 8 || !read_mem(mem_fd, first, data, NODE_BYTES))
			continue;
		name_at = find_name(data, b, n);
		if (name_at == SIZE_MAX)
			continue;
		for (unsigned next = 0; next < SLOTS; next++)
			if (walk(mem_fd, first, name_at, next, b, n, listed, nodes))
				return true;
	}
	return false;
}

/* ---- the fields ---- */

enum field { F_OFFSET, F_USED, F_TOTAL, F_HOST };

static bool slot_fits(const struct node *d, const struct hv_ramblock *b, unsigned i, enum field f,
		      const struct hv_maps *maps)
{
	uint64_t v = slot(d->data, i);

	switch (f) {
	case F_OFFSET:
		return v == b->offset;
	case F_USED:
		return v == b->used;
	case F_TOTAL:
		return v == b->total;
	default:
		return v && v % TV_PAGE_BYTES == 0 && hv_maps_cover(maps, v, b->used);
	}
}

/* How many slots fit for all blocks; *where is the last of them. */
static unsigned find_field(const struct node *nodes, unsigned listed, const struct hv_ramblock *b,
			   enum field f, const struct hv_maps *maps, unsigned *where)
{
	unsigned found = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		bool fits = true;

		for (unsigned k = 0; k < listed && fits; k++)
			if (nodes[k].block >= 0)
				fits = slot_fits(&nodes[k], &b[nodes[k].block], i, f, maps);
		if (!fits)
			continue;
		found++;
		*where = i;
	}
	return found;
}

static bool all_different(const struct hv_ramblock *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < n; k++)
			if (i != k && b[k].host >= b[i].host && b[k].host < b[i].host + b[i].used)
				return false;
	return true;
}

static int read_hosts(const struct node *nodes, unsigned listed, struct hv_ramblock *b, unsigned n,
		      const struct hv_maps *maps)
{
	unsigned where;

	/* used and total may be equal for all blocks, and then fit two slots each. */
	if (!find_field(nodes, listed, b, F_OFFSET, maps, &where) ||
	    !find_field(nodes, listed, b, F_USED, maps, &where) ||
	    !find_field(nodes, listed, b, F_TOTAL, maps, &where) ||
	    find_field(nodes, listed, b, F_HOST, maps, &where) != 1)
		return -ENOTSUP;
	for (unsigned k = 0; k < listed; k++)
		if (nodes[k].block >= 0)
			b[nodes[k].block].host = slot(nodes[k].data, where);
	return all_different(b, n) ? 0 : -ENOTSUP;
}

int hv_ramlist_hosts(const struct hv_proc_fds *fds, struct hv_ramblock *b, unsigned n,
		     unsigned listed, const struct hv_maps *maps)
{
	TV_FREE struct node *nodes = NULL;
	uint64_t head, bytes;

	if (listed > MAX_NODES || n > HV_MAX_BLOCKS || !find_head(fds->exe, maps, &head, &bytes))
		return -ENOTSUP;
	nodes = calloc(listed, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	if (!find_list(fds->mem, head, bytes, b, n, listed, nodes))
		return -ENOTSUP;
	return read_hosts(nodes, listed, b, n, maps);
}
