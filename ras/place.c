/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where is a machine check: which part of the host, which page of its memory?
 *
 * A page is named only by an address of the system that is exact to a page, by the kernel's rules
 * (intel_mce_usable_address, amd_mce_usable_address): Intel states it in MCi_MISC; AMD has the poison
 * bit, or the old northbridge with the code of a DRAM error. One rule is stricter than the kernel's:
 * of AMD's scalable MCA, a bank must be of a known kind that sees addresses of the system.
 */
#include "ras/mca.h"

#define MISC_PHYSICAL 2u /* the address is one of the system */
/* No x86 has more; what is above may be a key or another unit's flags. */
#define ADDRESS_BITS 52
#define OLD_NORTHBRIDGE 4u
#define OLD_DRAM_ERROR 8u

static enum ras_part by_code(const struct mca_code *code)
{
	switch (code->form) {
	case MCA_CACHE:
	case MCA_TLB:
		return code->level == 3 ? RAS_PART_PACKAGE : RAS_PART_CORE;
	case MCA_MICROCODE:
	case MCA_INTERNAL:
	case MCA_SMM:
		return RAS_PART_CORE;
	case MCA_MEMORY:
	case MCA_MEMORY_CACHE:
		return RAS_PART_MEMORY;
	case MCA_EXTERNAL:
	case MCA_FRC:
	case MCA_BUS:
		return RAS_PART_PACKAGE;
	default:
		return RAS_PART_UNKNOWN;
	}
}

static bool old_dram_error(const struct ras_mce *m)
{
	return m->bank == OLD_NORTHBRIDGE && (MSCOD(m->status) & 0x1f) == OLD_DRAM_ERROR;
}

static enum ras_part part_of(const struct ras_mce *m, const struct mca_code *code)
{
	const struct mca_smca *smca;

	if (m->bank == RAS_BANK_FIRMWARE || m->cpuvendor == RAS_VENDOR_INTEL)
		return by_code(code);
	if (!mca_is_amd(m))
		return RAS_PART_UNKNOWN;
	if (mca_has_smca(m)) {
		smca = mca_smca_of(m->ipid);
		return smca ? smca->part : RAS_PART_UNKNOWN;
	}
	if (m->bank == OLD_NORTHBRIDGE)
		return old_dram_error(m) ? RAS_PART_MEMORY : RAS_PART_PACKAGE;
	return by_code(code);
}

/* MCi_MISC: how many low bits of the address do not count. */
static bool exact_to_a_page(const struct ras_mce *m)
{
	return (m->misc & 0x3f) <= TV_PAGE_SHIFT;
}

static bool intel_names_page(const struct ras_mce *m, const struct mca_code *code)
{
	if (code->form != MCA_CACHE && code->form != MCA_MEMORY && code->form != MCA_MEMORY_CACHE)
		return false;
	return (m->status & ST_MISCV) && (m->misc >> 6 & 7) == MISC_PHYSICAL && exact_to_a_page(m);
}

static bool amd_names_page(const struct ras_mce *m)
{
	const struct mca_smca *smca = mca_smca_of(m->ipid);

	if (!mca_has_smca(m))
		return old_dram_error(m) || (m->status & ST_POISON);
	return smca && smca->system_address && (m->status & ST_POISON);
}

static bool names_page(const struct ras_mce *m, const struct mca_code *code)
{
	if (m->bank == RAS_BANK_FIRMWARE)
		return !(m->status & ST_MISCV) || exact_to_a_page(m);
	if (m->cpuvendor == RAS_VENDOR_INTEL)
		return intel_names_page(m, code);
	return mca_is_amd(m) && amd_names_page(m);
}

void mca_place(const struct ras_mce *m, const struct mca_code *code, struct ras_fault *out)
{
	const struct mca_smca *smca = mca_has_smca(m) ? mca_smca_of(m->ipid) : NULL;

	out->part = part_of(m, code);
	out->has_addr = m->status & ST_ADDRV;
	if (!out->has_addr)
		return;
	out->addr = m->addr;
	out->normalised = m->bank != RAS_BANK_FIRMWARE && smca && smca->part == RAS_PART_MEMORY;
	out->has_page = names_page(m, code);
	if (out->has_page)
		out->page.n = (m->addr & (BIT(ADDRESS_BITS) - 1)) >> TV_PAGE_SHIFT;
}
