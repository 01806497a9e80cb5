/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How bad is a machine check? By the rules of the kernel that runs below us, so that what is
 * reported is what happens (arch/x86/kernel/cpu/mce/severity.c of 6.12 has them as a table for Intel
 * and as a few conditions for AMD; core.c has what follows). The first row that fits counts.
 *
 * Two things are known to the kernel and not from a record. Was the kernel met in a copy that it can
 * recover from? A record says only kernel or not: the worse is assumed. Was it an exception, or did
 * somebody look into the bank? It was an exception if MCIP is set. Without one the kernel neither
 * panics nor kills, whatever the row says: such an error is old, or nobody has met it.
 */
#include "ras/mca.h"

enum ser { ANY_SER, WITH_SER, WITHOUT_SER };
enum where { ANYWHERE, IN_KERNEL, IN_USER };

#define UC_S (ST_UC | ST_S)
#define UC_AR (ST_UC | ST_AR)
#define UC_S_AR (ST_UC | ST_S | ST_AR)
#define OVER_UC_S_AR (ST_OVER | ST_UC | ST_S | ST_AR)
#define ADDR_MISC (ST_ADDRV | ST_MISCV)
#define CODE UINT64_C(0xefff)
#define LOAD 0x0134u
#define FETCH 0x0150u
#define WRITE_BACK 0x017au
/* 6 and 0x55: Skylake and Cascade Lake servers. */
#define SKYLAKE_SERVER 0x55u

static const struct row {
	uint64_t mask, value; /* of MCi_STATUS */
	uint64_t mcg_mask, mcg_value;
	enum ser ser;
	enum where where;
	bool exception;	    /* only for one */
	bool scrubs_softly; /* only for the banks of the memory controllers of SKYLAKE_SERVER */
	struct mca_grade is;
} rows[] = {
	{ST_EN,
	 0,
	 0,
	 0,
	 ANY_SER,
	 ANYWHERE,
	 true,
	 false,
	 {RAS_K_NOTHING, RAS_NOTHING, "left over from before reporting was enabled"}},
	{ST_PCC,
	 ST_PCC,
	 0,
	 0,
	 ANY_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "the CPU's state is corrupt"}},
	{0,
	 0,
	 MCG_RIPV | MCG_EIPV,
	 0,
	 ANY_SER,
	 ANYWHERE,
	 true,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "it is not known where it happened"}},
	{0,
	 0,
	 MCG_RIPV,
	 0,
	 ANY_SER,
	 IN_KERNEL,
	 true,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "the kernel was interrupted and cannot be resumed"}},
	{ST_UC, 0, 0, 0, WITHOUT_SER, ANYWHERE, false, false, {RAS_K_LOG, RAS_CORRECTED, ""}},
	{UC_AR | 0xeff0,
	 ST_UC | 0x00c0,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PAGE, RAS_OPTIONAL, "found by scrubbing"}},
	{UC_AR | CODE,
	 ST_UC | WRITE_BACK,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PAGE, RAS_OPTIONAL, "found when the last-level cache wrote back"}},
	/* UC is clear, and yet the data is lost: MSCOD 0x0010 with a scrubbing code. */
	{ST_UC | ADDR_MISC | 0xffffeff0,
	 ADDR_MISC | 0x001000c0,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 true,
	 {RAS_K_PAGE, RAS_OPTIONAL, "uncorrected, reported as a corrected one"}},
	{UC_S_AR,
	 ST_UC,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PAGE, RAS_DEFERRED, "nobody has used the data"}},
	{OVER_UC_S_AR,
	 UC_AR,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "its flags contradict each other"}},
	{UC_S,
	 ST_UC,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_LOG, RAS_UNCORRECTED, "not signalled, and records were lost"}},
	{ST_S, 0, 0, 0, WITH_SER, ANYWHERE, false, false, {RAS_K_LOG, RAS_CORRECTED, ""}},
	{OVER_UC_S_AR,
	 OVER_UC_S_AR,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "action is required, and records were lost"}},
	{OVER_UC_S_AR | ADDR_MISC,
	 UC_S_AR | ADDR_MISC,
	 MCG_RIPV | MCG_EIPV,
	 MCG_RIPV,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_LOG, RAS_REQUIRED, "another thread has met it"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | LOAD,
	 0,
	 0,
	 WITH_SER,
	 IN_USER,
	 false,
	 false,
	 {RAS_K_KILL, RAS_REQUIRED, "a process or VM has loaded the data"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | FETCH,
	 0,
	 0,
	 WITH_SER,
	 IN_USER,
	 false,
	 false,
	 {RAS_K_KILL, RAS_REQUIRED, "a process or VM has fetched the code"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | LOAD,
	 MCG_SEAM,
	 MCG_SEAM,
	 WITH_SER,
	 IN_KERNEL,
	 false,
	 false,
	 {RAS_K_KILL, RAS_REQUIRED, "a confidential VM has met it"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | FETCH,
	 MCG_SEAM,
	 MCG_SEAM,
	 WITH_SER,
	 IN_KERNEL,
	 false,
	 false,
	 {RAS_K_KILL, RAS_REQUIRED, "a confidential VM has met it"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | LOAD,
	 0,
	 0,
	 WITH_SER,
	 IN_KERNEL,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "the kernel has loaded the data"}},
	{OVER_UC_S_AR | ADDR_MISC | CODE,
	 UC_S_AR | ADDR_MISC | FETCH,
	 0,
	 0,
	 WITH_SER,
	 IN_KERNEL,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "the kernel has fetched the code"}},
	{OVER_UC_S_AR,
	 UC_S_AR,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "action is required, and it is not known which"}},
	{UC_S_AR,
	 UC_S,
	 0,
	 0,
	 WITH_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_LOG, RAS_OPTIONAL, "action is optional, and it is not known which"}},
	{ST_OVER | ST_UC,
	 ST_OVER | ST_UC,
	 0,
	 0,
	 ANY_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "records were lost"}},
	{ST_UC,
	 ST_UC,
	 0,
	 0,
	 ANY_SER,
	 IN_KERNEL,
	 false,
	 false,
	 {RAS_K_PANIC, RAS_FATAL, "the kernel has met it"}},
	{ST_UC, ST_UC, 0, 0, ANY_SER, ANYWHERE, false, false, {RAS_K_LOG, RAS_UNCORRECTED, ""}},
	{0,
	 0,
	 0,
	 0,
	 ANY_SER,
	 ANYWHERE,
	 false,
	 false,
	 {RAS_K_LOG, RAS_UNKNOWN, "signalled, and yet not uncorrected"}},
};

bool mca_is_amd(const struct ras_mce *m)
{
	return m->cpuvendor == RAS_VENDOR_AMD || m->cpuvendor == RAS_VENDOR_HYGON;
}

unsigned mca_family(uint32_t cpuid)
{
	unsigned family = cpuid >> 8 & 0xf;

	return family == 0xf ? family + (cpuid >> 20 & 0xff) : family;
}

unsigned mca_model(uint32_t cpuid)
{
	unsigned family = cpuid >> 8 & 0xf, model = cpuid >> 4 & 0xf;

	return family == 0xf || family == 6 ? model + (cpuid >> 12 & 0xf0) : model;
}

unsigned mca_stepping(uint32_t cpuid)
{
	return cpuid & 0xf;
}

bool mca_has_smca(const struct ras_mce *m)
{
	return mca_is_amd(m) && (m->ipid || mca_family(m->cpuid) >= 0x17);
}

static bool in_user(const struct ras_mce *m)
{
	return (m->cs & 3) == 3;
}

static bool is_exception(const struct ras_mce *m)
{
	return m->mcgstatus & MCG_MCIP;
}

static bool scrubs_softly(const struct ras_mce *m)
{
	return mca_family(m->cpuid) == 6 && mca_model(m->cpuid) == SKYLAKE_SERVER &&
	       mca_stepping(m->cpuid) >= 4 && m->bank >= 13 && m->bank <= 18;
}

static bool fits(const struct row *r, const struct ras_mce *m)
{
	if ((m->status & r->mask) != r->value || (m->mcgstatus & r->mcg_mask) != r->mcg_value)
		return false;
	if (r->ser != ANY_SER && (r->ser == WITH_SER) != !!(m->mcgcap & CAP_SER))
		return false;
	if (r->where != ANYWHERE && (r->where == IN_USER) != in_user(m))
		return false;
	return (!r->exception || is_exception(m)) && (!r->scrubs_softly || scrubs_softly(m));
}

static struct mca_grade intel(const struct ras_mce *m)
{
	const struct row *r = rows;

	while (!fits(r, m)) /* the last row fits everything */
		r++;
	return r->is;
}

static struct mca_grade amd(const struct ras_cpu *cpu, const struct ras_mce *m)
{
	if (m->status & ST_PCC)
		return (struct mca_grade){RAS_K_PANIC, RAS_FATAL, "the CPU's state is corrupt"};
	if (m->status & ST_DEFERRED)
		return (struct mca_grade){RAS_K_PAGE, RAS_DEFERRED, "nobody has used the data"};
	if (!(m->status & ST_UC))
		return (struct mca_grade){RAS_K_LOG, RAS_CORRECTED, ""};
	if (!cpu || !cpu->known)
		return (struct mca_grade){RAS_K_LOG, RAS_UNCORRECTED,
					  "it is not known whether this CPU recovers from it"};
	if ((m->status & ST_OVER) && !cpu->overflow_recov)
		return (struct mca_grade){
			RAS_K_PANIC, RAS_FATAL,
			"records were lost, which this CPU does not recover from"};
	if (!cpu->succor)
		return (struct mca_grade){RAS_K_PANIC, RAS_FATAL,
					  "this CPU does not recover from it"};
	if (!in_user(m))
		return (struct mca_grade){RAS_K_PANIC, RAS_FATAL, "the kernel has met it"};
	return (struct mca_grade){RAS_K_KILL, RAS_REQUIRED, "a process or VM has met it"};
}

/* Of an unknown vendor, and of the firmware: three bits say the same everywhere. */
static struct mca_grade any(const struct ras_mce *m)
{
	if (m->status & ST_PCC)
		return (struct mca_grade){RAS_K_PANIC, RAS_FATAL, "the CPU's state is corrupt"};
	if (m->status & ST_UC)
		return (struct mca_grade){RAS_K_LOG, RAS_UNCORRECTED, ""};
	return (struct mca_grade){RAS_K_LOG, RAS_CORRECTED, ""};
}

void mca_grade(const struct ras_cpu *cpu, const struct ras_mce *m, struct mca_grade *out)
{
	if (m->bank == RAS_BANK_FIRMWARE)
		*out = any(m);
	else if (m->cpuvendor == RAS_VENDOR_INTEL)
		*out = intel(m);
	else if (mca_is_amd(m))
		*out = amd(cpu, m);
	else
		*out = any(m);
	if (!is_exception(m) && out->kernel >= RAS_K_KILL)
		out->kernel = RAS_K_LOG;
}
