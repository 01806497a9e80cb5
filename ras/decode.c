/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine-check record becomes a fault: grade, place, count, and the sentence for the operator. */
#include "ras/mca.h"
#include "ras/source.h"
#include "ras/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Only Intel counts corrected errors in the status itself, and only where it says that it does. */
static uint32_t count_of(const struct ras_mce *m, const struct ras_fault *f)
{
	uint32_t n = 0;

	if (m->cpuvendor == RAS_VENDOR_INTEL && m->bank != RAS_BANK_FIRMWARE &&
	    (m->mcgcap & CAP_CMCI) && f->severity == RAS_CORRECTED)
		n = (uint32_t)(m->status >> 38 & 0x7fff);
	return n ? n : 1;
}

/* A cache tracks its own errors, and turns from green to yellow. */
static bool are_many(const struct ras_mce *m, const struct ras_fault *f)
{
	return m->cpuvendor == RAS_VENDOR_INTEL && !f->by_firmware && (m->mcgcap & CAP_TES) &&
	       f->severity == RAS_CORRECTED && (m->status >> ST_TES_SHIFT & 3) == ST_TES_YELLOW;
}

/* What is counted as one DIMM: the controller and its channel, as far as the record has them. */
static void name_place(const struct ras_mce *m, const struct mca_code *code, struct ras_fault *f)
{
	if (f->part != RAS_PART_MEMORY)
		return;
	if (m->fru[0])
		ras_text(f->where, sizeof(f->where), "%s", m->fru);
	else if (f->by_firmware)
		ras_text(f->where, sizeof(f->where), "memory reported by the firmware");
	else if (mca_has_smca(m))
		/* Bits 31:0 of the identity are the instance: one controller, one channel. */
		ras_text(f->where, sizeof(f->where), "package %u controller 0x%x", m->socketid,
			 (unsigned)(m->ipid & 0xffffffff));
	else if (code->channel >= 0)
		ras_text(f->where, sizeof(f->where), "package %u bank %u channel %d", m->socketid,
			 m->bank, code->channel);
	else
		ras_text(f->where, sizeof(f->where), "package %u bank %u", m->socketid, m->bank);
}

static const char *kind_of_bank(const struct ras_mce *m)
{
	const struct mca_smca *smca = mca_has_smca(m) ? mca_smca_of(m->ipid) : NULL;

	if (smca)
		return smca->name;
	return mca_has_smca(m) ? "of an unknown kind" : "";
}

static void put_sentence(const struct ras_mce *m, const struct mca_code *code, const char *why,
			 struct ras_fault *f)
{
	struct ras_line l = {f->sentence, sizeof(f->sentence), 0};
	const char *kind = kind_of_bank(m);

	ras_line(&l, "%s: %s", ras_severity_text(f->severity), code->text);
	if (*why)
		ras_line(&l, ", %s", why);
	if (mca_is_amd(m) && !f->by_firmware && (m->status & ST_SCRUB))
		ras_line(&l, ", found by scrubbing");
	ras_line(&l, "; %s", ras_part_text(f->part));
	if (f->where[0])
		ras_line(&l, " (%s)", f->where);
	if (f->by_firmware)
		ras_line(&l, ", reported by the firmware");
	else
		ras_line(&l, ", reported by CPU %u of package %u in bank %u%s%s", f->cpu,
			 f->package, f->bank, *kind ? ": " : "", kind);
	if (f->has_page)
		ras_line(&l, "; page 0x%llx", (unsigned long long)f->page.n);
	else if (f->normalised)
		ras_line(&l, "; page unknown: the address is the memory controller's own");
	else if (f->has_addr)
		ras_line(&l, "; page unknown: the address may be none of the system's");
	if (f->count > 1)
		ras_line(&l, "; %u errors", f->count);
	if (f->many)
		ras_line(&l, "; too many by the CPU's own count");
	if (f->lost)
		ras_line(&l, "; at least one more has left no record");
	if ((m->status & ST_UC) && !(m->status & ST_EN))
		ras_line(&l, "; it may be old");
	if (m->bank != RAS_BANK_FIRMWARE && m->cpuvendor != RAS_VENDOR_INTEL && !mca_is_amd(m))
		ras_line(&l, "; unknown vendor %u, status 0x%016llx", m->cpuvendor,
			 (unsigned long long)m->status);
	else if (MSCOD(m->status))
		ras_line(&l, "; the model's own code 0x%04x is unknown", MSCOD(m->status));
}

int ras_decode_mce(const struct ras_cpu *cpu, const struct ras_mce *m, struct ras_fault *out)
{
	bool firmware = m->bank == RAS_BANK_FIRMWARE;
	struct mca_grade grade;
	struct mca_code code;

	memset(out, 0, sizeof(*out));
	if (!(m->status & ST_VAL))
		return -EINVAL;
	out->source = RAS_SRC_MCE;
	out->by_firmware = firmware;
	out->has_cpu = !firmware;
	out->cpu = m->cpu;
	out->core = m->cpu;
	out->package = m->socketid;
	out->bank = m->bank;
	out->lost = m->status & ST_OVER;
	mca_code(MCACOD(m->status), mca_is_amd(m) && !firmware, &code);
	mca_grade(cpu, m, &grade);
	mca_place(m, &code, out);
	out->severity = grade.severity;
	out->kernel = grade.kernel;
	if (out->kernel == RAS_K_PAGE && !out->has_page)
		out->kernel = RAS_K_LOG;
	/* AMD has no code of its own for memory; the bank says it. */
	if (out->part == RAS_PART_MEMORY && code.form == MCA_CACHE)
		code.text = "memory error";
	out->count = count_of(m, out);
	out->many = are_many(m, out);
	name_place(m, &code, out);
	put_sentence(m, &code, grade.why, out);
	return 0;
}

int ras_decode(const struct ras_cpu *cpu, const struct ras_record *r, struct ras_fault *out)
{
	memset(out, 0, sizeof(*out));
	out->source = r->source;
	switch (r->source) {
	case RAS_SRC_MCE:
		return ras_decode_mce(cpu, &r->mce, out);
	case RAS_SRC_MC:
		source_mc_decode(&r->mc, out);
		return 0;
	case RAS_SRC_MF:
		source_mf_decode(&r->mf, out);
		return 0;
	case RAS_SRC_AER:
		source_aer_decode(&r->aer, out);
		return 0;
	case RAS_SRC_EXTLOG:
		source_extlog_decode(&r->extlog, out);
		return 0;
	case RAS_SRC_FIRMWARE:
		source_firmware_decode(&r->firmware, out);
		return 0;
	case RAS_SRC_COUNT:
		break;
	}
	return -EINVAL;
}
