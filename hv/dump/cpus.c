/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers in a saved CPU: the beginning of "cpu" as QEMU's target/i386/machine.c has it since
 * version 12 (2009): 16 registers, rip, rflags, hflags, the FPU's 4 words and 8 registers of 10
 * bytes, 6 segments and 4 more, sysenter's, cr0, cr2, cr3, cr4.
 */
#include "hv/dump/dump_int.h"
#include "hv/qemu/qemu.h"

#include <string.h>

#define FPU_BYTES (4 * 2 + 8 * 10)
#define SEGMENT_BYTES 20
#define CPU_BYTES (18 * 8 + 4 + FPU_BYTES + 10 * SEGMENT_BYTES + 4 + 2 * 8 + 4 * 8)
#define MIN_VERSION 12
#define FOOTER_BYTES 5

static uint32_t get32(const uint8_t **p)
{
	uint32_t v = (uint32_t)(*p)[0] << 24 | (uint32_t)(*p)[1] << 16 | (uint32_t)(*p)[2] << 8 |
		     (*p)[3];

	*p += 4;
	return v;
}

static uint64_t get64(const uint8_t **p)
{
	uint64_t high = get32(p);

	return high << 32 | get32(p);
}

static void get_segment(const uint8_t **p, struct dump_segment *s)
{
	s->selector = get32(p);
	s->base = get64(p);
	s->limit = get32(p);
	s->flags = get32(p);
}

static void read_cpu(const uint8_t *p, struct dump_cpu *c)
{
	for (unsigned i = 0; i < 16; i++)
		c->regs[i] = get64(&p);
	c->rip = get64(&p);
	c->rflags = get64(&p);
	p += 4 + FPU_BYTES;
	for (unsigned i = 0; i < 6; i++)
		get_segment(&p, &c->segs[i]);
	get_segment(&p, &c->ldt);
	get_segment(&p, &c->tr);
	get_segment(&p, &c->gdt);
	get_segment(&p, &c->idt);
	p += 4 + 2 * 8; /* sysenter */
	c->cr[0] = get64(&p);
	c->cr[1] = 0;
	c->cr[2] = get64(&p);
	c->cr[3] = get64(&p);
	c->cr[4] = get64(&p);
}

unsigned dump_cpus(const uint8_t *state, size_t bytes, struct dump_cpu *out, unsigned room)
{
	struct hv_sections w = {.p = state, .bytes = bytes};
	unsigned n = 0;

	while (n < room && hv_sections_next(&w) > 0) {
		const uint8_t *version = state + w.data - 4;

		if (strncmp(w.name, "cpu#", 4) != 0 || get32(&version) < MIN_VERSION ||
		    w.at - w.data < CPU_BYTES + FOOTER_BYTES)
			continue;
		read_cpu(state + w.data, &out[n++]);
	}
	return n;
}
