/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ELF core as QEMU's dump-guest-memory makes it without paging (dump/dump.c, target/i386/
 * arch_dump.c): a note with the registers of each CPU, twice (as of a process, for gdb, and as QEMU
 * has them, for crash), and main RAM by physical address, in one or two pieces: PC machines have a
 * hole below 4 GiB (hw/i386/pc_piix.c, pc_q35.c, microvm.c).
 */
#include "hv/dump/dump_int.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#define MAX_CPUS 1024u
#define ABOVE_4G (UINT64_C(4) << 30)

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};
struct qemu_note { /* QEMUCPUState, version 1 */
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8_15[8], rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5], kernel_gs_base;
};

struct place {			  /* of main RAM */
	uint64_t from, at, bytes; /* in the block; physical */
};

/* ---- where main RAM lies ---- */
static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Bytes below 4 GiB; 0: not known. */
static uint64_t below_4g(const char *machine, uint64_t ram, uint64_t max)
{
	uint64_t low;

	if (!strncmp(machine, "pc-q35-", 7)) {
		low = ram >= 0xb0000000u ? 0x80000000u : 0xb0000000u;
		return least(ram, least(low, max ? max : ABOVE_4G));
	}
	if (!strncmp(machine, "pc-i440fx-", 10)) {
		low = max ? max : 0xe0000000u;
		if (ram >= low && low > 0xc0000000u)
			low = 0xc0000000u;
		return least(ram, low);
	}
	return !strcmp(machine, "microvm") ? least(ram, 0xc0000000u) : 0;
}

/* ---- notes ---- */
static void put_prstatus(const struct dump_cpu *c, unsigned number, struct elf_prstatus *out)
{
	static const uint8_t order[] = {15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7};
	elf_greg_t *r = out->pr_reg;

	memset(out, 0, sizeof(*out));
	out->pr_pid = (int)number + 1;
	for (unsigned i = 0; i < sizeof(order); i++)
		r[i] = c->regs[order[i]];
	r[15] = c->regs[0]; /* orig_rax */
	r[16] = c->rip;
	r[17] = c->segs[1].selector;
	r[18] = c->rflags;
	r[19] = c->regs[4];
	r[20] = c->segs[2].selector;
	r[21] = c->segs[4].base;
	r[22] = c->segs[5].base;
	r[23] = c->segs[3].selector;
	r[24] = c->segs[0].selector;
	r[25] = c->segs[4].selector;
	r[26] = c->segs[5].selector;
}

static struct qemu_segment segment(const struct dump_segment *s)
{
	return (struct qemu_segment){s->selector, s->limit, s->flags, 0, s->base};
}

static void put_qemu(const struct dump_cpu *c, struct qemu_note *n)
{
	const uint64_t *r = c->regs;

	*n = (struct qemu_note){.version = 1,
				.size = sizeof(*n),
				.rax = r[0],
				.rcx = r[1],
				.rdx = r[2],
				.rbx = r[3],
				.rsp = r[4],
				.rbp = r[5],
				.rsi = r[6],
				.rdi = r[7],
				.rip = c->rip,
				.rflags = c->rflags};
	memcpy(n->r8_15, r + 8, sizeof(n->r8_15));
	n->es = segment(&c->segs[0]);
	n->cs = segment(&c->segs[1]);
	n->ss = segment(&c->segs[2]);
	n->ds = segment(&c->segs[3]);
	n->fs = segment(&c->segs[4]);
	n->gs = segment(&c->segs[5]);
	n->ldt = segment(&c->ldt);
	n->tr = segment(&c->tr);
	n->gdt = segment(&c->gdt);
	n->idt = segment(&c->idt);
	memcpy(n->cr, c->cr, sizeof(n->cr));
}

static int add_note(struct tv_buf *b, const char *name, uint32_t type, const void *p, size_t n)
{
	static const uint8_t pad[4];
	Elf64_Nhdr h = {(Elf64_Word)strlen(name) + 1, (Elf64_Word)n, type};
	int rc = tv_buf_add(b, &h, sizeof(h));

	rc = rc ? rc : tv_buf_add(b, name, h.n_namesz);
	rc = rc ? rc : tv_buf_add(b, pad, -h.n_namesz & 3u);
	rc = rc ? rc : tv_buf_add(b, p, n);
	return rc ? rc : tv_buf_add(b, pad, -(unsigned)n & 3u);
}

static int make_notes(const struct hv_dump *d, struct tv_buf *b)
{
	TV_FREE struct dump_cpu *cpus = calloc(MAX_CPUS, sizeof(*cpus));
	struct elf_prstatus status;
	struct qemu_note own;
	unsigned n = cpus ? dump_cpus(d->state, d->state_bytes, cpus, MAX_CPUS) : 0;
	int rc = cpus ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n && !rc; i++) {
		put_prstatus(&cpus[i], i, &status);
		rc = add_note(b, "CORE", NT_PRSTATUS, &status, sizeof(status));
	}
	for (unsigned i = 0; i < n && !rc; i++) {
		put_qemu(&cpus[i], &own);
		rc = add_note(b, "QEMU", 0, &own, sizeof(own));
	}
	return rc;
}

/* ---- the file ---- */
struct core {
	int out;
	uint64_t base; /* of main RAM in the file */
};

/* dump_piece; arg is the core. Main RAM lies in one piece in the file, as in its block. */
static int put_ram(void *arg, const struct hv_dump_block *b, uint64_t at, const uint8_t *data,
		   size_t n)
{
	struct core *c = arg;

	(void)b;
	for (size_t i = 0; data && i < n;) {
		size_t k = n - i < 65536 ? n - i : 65536;
		ssize_t r = dump_is_zero(data + i, k)
				    ? (ssize_t)k
				    : pwrite(c->out, data + i, k, (off_t)(c->base + at + i));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		i += (size_t)r;
	}
	return 0;
}

static int put_head(struct core *c, const struct tv_buf *notes, const struct place *places,
		    unsigned n)
{
	Elf64_Ehdr eh = {.e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof(eh),
			 .e_ehsize = sizeof(eh),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = (Elf64_Half)(n + 1)};
	Elf64_Phdr ph = {.p_type = PT_NOTE,
			 .p_offset = sizeof(eh) + (n + 1) * sizeof(ph),
			 .p_filesz = notes->bytes,
			 .p_memsz = notes->bytes};
	int rc;

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	c->base = (ph.p_offset + notes->bytes + TV_PAGE_BYTES - 1) / TV_PAGE_BYTES * TV_PAGE_BYTES;
	rc = tv_write_all(c->out, &eh, sizeof(eh));
	rc = rc ? rc : tv_write_all(c->out, &ph, sizeof(ph));
	for (unsigned i = 0; i < n && !rc; i++) {
		ph = (Elf64_Phdr){.p_type = PT_LOAD,
				  .p_offset = c->base + places[i].from,
				  .p_vaddr = places[i].at,
				  .p_paddr = places[i].at,
				  .p_filesz = places[i].bytes,
				  .p_memsz = places[i].bytes};
		rc = tv_write_all(c->out, &ph, sizeof(ph));
	}
	return rc ? rc : tv_write_all(c->out, notes->data, notes->bytes);
}

int hv_dump_elf(const struct hv_dump *d, uint64_t max_below_4g, int out, struct tv_err *e)
{
	const struct hv_dump_block *ram = d->blocks;
	struct core c = {.out = out};
	struct place places[2] = {0};
	struct tv_buf notes;
	uint64_t done = 0;
	int rc;

	while (ram < d->blocks + d->n_blocks && !ram->main)
		ram++;
	if (ram == d->blocks + d->n_blocks)
		return tv_fail(e, -EINVAL, "the VM has no main RAM");
	places[0].bytes = below_4g(d->machine, ram->bytes, max_below_4g);
	if (!places[0].bytes)
		return tv_fail(
			e, -ENOTSUP,
			"where a machine of type %s has its memory is not known: no ELF core",
			d->machine);
	places[1] = (struct place){places[0].bytes, ABOVE_4G, ram->bytes - places[0].bytes};
	tv_buf_init(&notes, 16u << 20);
	rc = make_notes(d, &notes);
	if (!rc)
		rc = put_head(&c, &notes, places, places[1].bytes ? 2 : 1);
	tv_buf_dispose(&notes);
	if (!rc && ftruncate(out, (off_t)(c.base + ram->bytes)))
		rc = -errno;
	if (rc)
		return tv_fail(e, rc, "the core cannot be written: %s", tv_strerror(rc));
	return dump_walk(d, ram, &done, put_ram, &c, e);
}
