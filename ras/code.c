/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The error code of a machine check, bits 15:0 of MCi_STATUS, as far as the architecture defines it:
 * Intel's manual, volume 3B, "Machine-Check Architecture"; AMD's manual, volume 2, chapter 9. The
 * first row whose masked code is the value counts. AMD has no code of its own for a memory
 * controller: there the bank says it. Bits 31:16 are model-specific, and are not read here.
 */
#include "ras/mca.h"

/* Intel: its level says 2, and the manual says the last one. */
#define LAST_LEVEL_WRITES_BACK 0x017au

enum vendors { BOTH, INTEL, AMD };

static const struct row {
	unsigned mask, value;
	enum vendors of;
	enum mca_form form;
	const char *text;
} rows[] = {
	{0xefff, 0x0000, BOTH, MCA_NONE, "no error code"},
	{0xefff, 0x0001, INTEL, MCA_UNCLASSIFIED, "unclassified error"},
	{0xefff, 0x0002, INTEL, MCA_MICROCODE, "parity error of the microcode"},
	{0xefff, 0x0003, INTEL, MCA_EXTERNAL, "error signalled from outside"},
	{0xefff, 0x0004, INTEL, MCA_FRC, "error of the redundancy check"},
	{0xefff, 0x0005, INTEL, MCA_INTERNAL, "internal parity error"},
	{0xefff, 0x0006, INTEL, MCA_SMM, "code access outside of SMM's memory"},
	{0xefff, 0x0400, INTEL, MCA_INTERNAL, "expired internal timer"},
	{0xeffc, 0x000c, INTEL, MCA_CACHE, "cache error"},
	{0xeff0, 0x0010, BOTH, MCA_TLB, "TLB error"},
	{0xeff0, 0x00c0, INTEL, MCA_MEMORY, "memory error found by scrubbing"},
	{0xef80, 0x0080, INTEL, MCA_MEMORY, "memory error"},
	{0xef80, 0x0280, INTEL, MCA_MEMORY_CACHE, "error of memory used as a cache"},
	{0xef00, 0x0100, BOTH, MCA_CACHE, "cache error"},
	{0xec00, 0x0400, INTEL, MCA_INTERNAL, "internal error"},
	{0xecff, 0x0400, AMD, MCA_INTERNAL, "internal error"},
	{0xe80c, 0x0808, BOTH, MCA_BUS, "input/output bus error"},
	{0xe800, 0x0800, BOTH, MCA_BUS, "bus or interconnect error"},
};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* What is asked of a cache, bits 7:4, where a text of its own helps. */
static const char *cache_text(unsigned mcacod, bool amd)
{
	static const char *const of_tt[] = {"instruction cache error", "data cache error",
					    "cache error", "cache error"};

	if (mcacod == LAST_LEVEL_WRITES_BACK && !amd)
		return "error of the last-level cache writing back";
	if (mcacod == 0x0134)
		return "error of a data load";
	if (mcacod == 0x0150)
		return "error of an instruction fetch";
	return of_tt[mcacod >> 2 & 3];
}

static void fill(const struct row *r, unsigned mcacod, bool amd, struct mca_code *out)
{
	out->form = r->form;
	out->text = r->text;
	switch (r->form) {
	case MCA_CACHE:
		out->level = (int)(mcacod & 3);
		if (mcacod == LAST_LEVEL_WRITES_BACK && !amd)
			out->level = 3;
		if (mcacod & 0x100)
			out->text = cache_text(mcacod, amd);
		break;
	case MCA_TLB:
		out->level = (int)(mcacod & 3);
		break;
	case MCA_MEMORY:
	case MCA_MEMORY_CACHE:
		/* 15: not known which */
		out->channel = (mcacod & 15) == 15 ? -1 : (int)(mcacod & 15);
		out->scrub = (mcacod >> 4 & 7) == 4;
		break;
	default:
		break;
	}
}

void mca_code(unsigned mcacod, bool amd, struct mca_code *out)
{
	*out = (struct mca_code){.form = MCA_UNKNOWN,
				 .level = 3,
				 .channel = -1,
				 .text = "error with an unknown code"};
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];

		if (r->of != BOTH && (r->of == AMD) != amd)
			continue;
		if ((mcacod & r->mask) != r->value)
			continue;
		fill(r, mcacod, amd, out);
		return;
	}
}
