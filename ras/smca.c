/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kinds of bank of AMD's scalable MCA (from the manuals of the Zen families, "Machine Check
 * Architecture"; the numbers are those of the kernel's mce/amd.c). A memory controller and a
 * coherent station report an address as the memory sees it (normalised): only amd_atl translates it,
 * and the event mc_event has the result. What such a bank reports never names a page.
 */
#include "ras/mca.h"

static const struct row {
	unsigned hwid, type;
	struct mca_smca is;
} rows[] = {
	{0xb0, 0x00, {"load-store unit", RAS_PART_CORE, true}},
	{0xb0, 0x10, {"load-store unit", RAS_PART_CORE, true}},
	{0xb0, 0x01, {"instruction fetch unit", RAS_PART_CORE, true}},
	{0xb0, 0x02, {"L2 cache", RAS_PART_CORE, true}},
	{0xb0, 0x03, {"instruction decoder", RAS_PART_CORE, false}},
	{0xb0, 0x05, {"execution unit", RAS_PART_CORE, false}},
	{0xb0, 0x06, {"floating-point unit", RAS_PART_CORE, false}},
	{0xb0, 0x07, {"L3 cache", RAS_PART_PACKAGE, true}},
	{0x2e, 0x00, {"coherent station", RAS_PART_PACKAGE, false}},
	{0x2e, 0x02, {"coherent station", RAS_PART_PACKAGE, false}},
	{0x2e, 0x01, {"power and interrupts", RAS_PART_PACKAGE, false}},
	{0x96, 0x00, {"memory controller", RAS_PART_MEMORY, false}},
	{0x96, 0x01, {"memory controller", RAS_PART_MEMORY, false}},
	{0x05, 0x00, {"parameter block", RAS_PART_PACKAGE, false}},
	{0xff, 0x00, {"security processor", RAS_PART_PACKAGE, false}},
	{0xff, 0x01, {"security processor", RAS_PART_PACKAGE, false}},
	{0x01, 0x00, {"management unit", RAS_PART_PACKAGE, false}},
	{0x01, 0x01, {"management unit", RAS_PART_PACKAGE, false}},
	{0x01, 0x02, {"microprocessor 5", RAS_PART_PACKAGE, false}},
	{0x18, 0x00, {"northbridge's input/output", RAS_PART_PACKAGE, false}},
	{0x46, 0x00, {"PCI Express root", RAS_PART_PACKAGE, false}},
	{0x46, 0x01, {"PCI Express root", RAS_PART_PACKAGE, false}},
	{0x50, 0x00, {"link between packages", RAS_PART_PACKAGE, false}},
};

const struct mca_smca *mca_smca_of(uint64_t ipid)
{
	unsigned hwid = ipid >> 32 & 0xfff, type = ipid >> 48 & 0xffff;

	for (size_t i = 0; ipid && i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].hwid == hwid && rows[i].type == type)
			return &rows[i].is;
	return NULL;
}
