/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each form of error code, for each vendor, in records of each severity; and rules that hold for all
 * records, tried on all combinations of the flags with many codes: they are written from the
 * manuals' tables of error types, not from the kernel's rows that grade.c follows.
 */
#include "ras_kit.h"
#include "ras/mca.h"

#include <errno.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct {
	unsigned first, last; /* codes */
	bool amd;
	enum ras_part part; /* as Intel, or as AMD without scalable MCA */
	const char *text;
} forms[] = {
	{0x0000, 0x0000, false, RAS_PART_UNKNOWN, "no error code"},
	{0x0001, 0x0001, false, RAS_PART_UNKNOWN, "unclassified"},
	{0x0002, 0x0002, false, RAS_PART_CORE, "microcode"},
	{0x0003, 0x0003, false, RAS_PART_PACKAGE, "outside"},
	{0x0004, 0x0004, false, RAS_PART_PACKAGE, "redundancy"},
	{0x0005, 0x0005, false, RAS_PART_CORE, "internal parity"},
	{0x0006, 0x0006, false, RAS_PART_CORE, "SMM"},
	{0x0007, 0x000b, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x000c, 0x000e, false, RAS_PART_CORE, "cache error"},
	{0x000f, 0x000f, false, RAS_PART_PACKAGE, "cache error"},
	{0x0010, 0x0012, false, RAS_PART_CORE, "TLB"},
	{0x0013, 0x0013, false, RAS_PART_PACKAGE, "TLB"},
	{0x0014, 0x0016, false, RAS_PART_CORE, "TLB"},
	{0x0020, 0x007f, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x0080, 0x00bf, false, RAS_PART_MEMORY, "memory error"},
	{0x00c0, 0x00cf, false, RAS_PART_MEMORY, "found by scrubbing"},
	{0x00d0, 0x00ff, false, RAS_PART_MEMORY, "memory error"},
	{0x0100, 0x0102, false, RAS_PART_CORE, "instruction cache"},
	{0x0103, 0x0103, false, RAS_PART_PACKAGE, "instruction cache"},
	{0x0114, 0x0116, false, RAS_PART_CORE, "data cache"},
	{0x0118, 0x011a, false, RAS_PART_CORE, "cache error"},
	{0x011b, 0x011b, false, RAS_PART_PACKAGE, "cache error"},
	{0x0134, 0x0134, false, RAS_PART_CORE, "data load"},
	{0x0150, 0x0150, false, RAS_PART_CORE, "instruction fetch"},
	{0x017a, 0x017a, false, RAS_PART_PACKAGE, "last-level cache"},
	{0x0200, 0x027f, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x0280, 0x02ff, false, RAS_PART_MEMORY, "used as a cache"},
	{0x0300, 0x03ff, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x0400, 0x0400, false, RAS_PART_CORE, "internal timer"},
	{0x0401, 0x07ff, false, RAS_PART_CORE, "internal error"},
	{0x0800, 0x0807, false, RAS_PART_PACKAGE, "bus or interconnect"},
	{0x0808, 0x080b, false, RAS_PART_PACKAGE, "input/output"},
	{0x080c, 0x080f, false, RAS_PART_PACKAGE, "bus or interconnect"},
	{0x0e0b, 0x0e0b, false, RAS_PART_PACKAGE, "input/output"},
	{0x2000, 0x2010, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x4134, 0x4134, false, RAS_PART_UNKNOWN, "unknown code"},
	{0x8090, 0x8090, false, RAS_PART_UNKNOWN, "unknown code"},
	/* AMD's: fewer, and no memory controller among them. */
	{0x0000, 0x0000, true, RAS_PART_UNKNOWN, "no error code"},
	{0x0001, 0x000f, true, RAS_PART_UNKNOWN, "unknown code"},
	{0x0010, 0x0012, true, RAS_PART_CORE, "TLB"},
	{0x0080, 0x00ff, true, RAS_PART_UNKNOWN, "unknown code"},
	{0x0114, 0x0116, true, RAS_PART_CORE, "data cache"},
	{0x0151, 0x0152, true, RAS_PART_CORE, "instruction cache"},
	{0x017a, 0x017a, true, RAS_PART_CORE, "cache error"},
	{0x0280, 0x02ff, true, RAS_PART_UNKNOWN, "unknown code"},
	{0x0400, 0x0400, true, RAS_PART_CORE, "internal error"},
	{0x0500, 0x0500, true, RAS_PART_CORE, "internal error"},
	{0x0700, 0x0700, true, RAS_PART_CORE, "internal error"},
	{0x0401, 0x04ff, true, RAS_PART_UNKNOWN, "unknown code"},
	{0x0813, 0x0813, true, RAS_PART_PACKAGE, "bus or interconnect"},
	{0x0e0b, 0x0e0b, true, RAS_PART_PACKAGE, "input/output"},
};

static void each_form_of_code(void **state)
{
	static const uint64_t flags[] = {ST_VAL | ST_EN, ST_VAL | ST_EN | ST_UC,
					 ST_VAL | ST_EN | ST_UC | ST_PCC};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < COUNT(forms); i++)
		for (unsigned code = forms[i].first; code <= forms[i].last; code++)
			for (size_t k = 0; k < 2 * COUNT(flags); k++) {
				struct ras_mce m = record_of(forms[i].amd ? AMD_OLD : INTEL);

				/* The filter bit makes no difference. */
				m.status = flags[k / 2] | code | (k & 1) << 12;
				assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
				if (f.part != forms[i].part || !strstr(f.sentence, forms[i].text))
					fail_msg("%s 0x%04x: part %d, %s",
						 forms[i].amd ? "AMD" : "Intel", code, f.part,
						 f.sentence);
				assert_false(f.has_page);
			}
}

static void channels(void **state)
{
	struct mca_code code;

	(void)state;
	for (unsigned c = 0; c < 15; c++) {
		mca_code(0x0090 + c, false, &code);
		assert_int_equal(code.channel, c);
		assert_false(code.scrub);
		mca_code(0x00c0 + c, false, &code);
		assert_int_equal(code.channel, c);
		assert_true(code.scrub);
	}
	mca_code(0x009f, false, &code);
	assert_int_equal(code.channel, -1);
}

/* Intel's table of error types; SER: the CPU has S and AR. */
static void intels_rule(const struct ras_mce *m, const struct ras_fault *f)
{
	uint64_t s = m->status;
	bool scrub = (s & 0xeff0) == 0xc0, wb = (s & 0xefff) == 0x17a;

	if ((m->mcgstatus & MCG_MCIP) && !(s & ST_EN)) {
		assert_int_equal(f->severity, RAS_NOTHING);
		return;
	}
	if (s & ST_PCC) {
		assert_int_equal(f->severity, RAS_FATAL);
		return;
	}
	if (!(s & ST_UC)) {
		/* In an exception whose place is unknown, no record of any bank counts as harmless. */
		assert_true(!ras_uncorrected(f->severity) ||
			    (f->severity == RAS_FATAL && (m->mcgstatus & MCG_MCIP) &&
			     (m->mcgstatus & (MCG_RIPV | MCG_EIPV)) != (MCG_RIPV | MCG_EIPV)));
		return;
	}
	assert_true(ras_uncorrected(f->severity) || f->severity == RAS_FATAL);
	if (!(m->mcgstatus & MCG_MCIP) && !(s & (ST_S | ST_AR)))
		assert_int_equal(f->severity, scrub || wb ? RAS_OPTIONAL : RAS_DEFERRED);
	if ((s & ST_S) && (s & ST_AR))
		assert_true(f->severity == RAS_REQUIRED || f->severity == RAS_FATAL);
	if ((s & ST_S) && (s & ST_AR) && (s & ST_OVER))
		assert_int_equal(f->severity, RAS_FATAL);
}

static void rules_of_all(const struct ras_mce *m, const struct ras_fault *f)
{
	assert_true(f->count >= 1 && f->sentence[0]);
	assert_true(!f->has_page || (m->status & ST_ADDRV));
	assert_true(!f->has_page || !f->normalised);
	assert_true(!f->has_page || f->page.n == m->addr >> TV_PAGE_SHIFT);
	/* The kernel takes no page that nobody can name. */
	assert_true(f->kernel != RAS_K_PAGE || f->has_page);
	/* Nobody panics or is killed outside of an exception. */
	assert_true(f->kernel < RAS_K_KILL || (m->mcgstatus & MCG_MCIP));
	assert_true(f->kernel != RAS_K_PANIC || f->severity == RAS_FATAL);
	assert_int_equal(f->lost, !!(m->status & ST_OVER));
	if (m->status & ST_PCC)
		assert_true(f->severity == RAS_FATAL || f->severity == RAS_NOTHING);
}

/* AMD's: a deferred error is never called corrected, and a memory controller never names a page. */
static void amds_rule(const struct ras_mce *m, const struct ras_fault *f)
{
	if (m->status & ST_PCC)
		assert_int_equal(f->severity, RAS_FATAL);
	else if (m->status & ST_DEFERRED)
		assert_int_equal(f->severity, RAS_DEFERRED);
	else
		assert_int_equal(ras_uncorrected(f->severity), !!(m->status & ST_UC));
	if (m->ipid == IPID_UMC || m->ipid == IPID_UMC2 || m->ipid == IPID_NEW ||
	    m->ipid == IPID_CS)
		assert_false(f->has_page);
	assert_int_equal(f->normalised,
			 (m->ipid == IPID_UMC || m->ipid == IPID_UMC2) && (m->status & ST_ADDRV));
}

static const unsigned codes[] = {0x0000, 0x0005, 0x000f, 0x0014, 0x0090, 0x009f, 0x00c0,
				 0x00cf, 0x011b, 0x0134, 0x0136, 0x0150, 0x017a, 0x0280,
				 0x0400, 0x0813, 0x0e0b, 0x10c1, 0x1134, 0x2222};

static void all_flags_of_intel(void **state)
{
	struct ras_fault f;

	(void)state;
	for (unsigned flags = 0; flags < 256; flags++)
		for (size_t c = 0; c < COUNT(codes); c++)
			for (unsigned mcg = 0; mcg < 8; mcg++)
				for (unsigned user = 0; user < 2; user++) {
					struct ras_mce m = record_of(INTEL);

					m.status = ST_VAL | (uint64_t)flags << 55 | codes[c];
					m.mcgstatus = mcg;
					m.cs = user ? 0x33 : 0x10;
					m.addr = 0x123456789;
					m.misc = MISC_PAGE;
					assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
					rules_of_all(&m, &f);
					intels_rule(&m, &f);
				}
}

static void all_flags_of_amd(void **state)
{
	static const struct ras_cpu recovers = {true, true, true};
	static const uint64_t banks[] = {0,	   IPID_LS,   IPID_L3,	IPID_CS,
					 IPID_UMC, IPID_UMC2, IPID_NEW, IPID_PIE};
	struct ras_fault f;

	(void)state;
	for (unsigned flags = 0; flags < 1024; flags++)
		for (size_t c = 0; c < COUNT(codes); c++)
			for (size_t b = 0; b < COUNT(banks); b++) {
				struct ras_mce m = record_of(ZEN);

				m.status = ST_VAL | (uint64_t)(flags >> 2) << 55 |
					   (uint64_t)(flags & 3) << 43 | codes[c];
				m.mcgstatus = flags & 128 ? MCG_EXCEPTION : 0;
				m.addr = 0x123456789;
				m.ipid = banks[b];
				assert_int_equal(ras_decode_mce(&recovers, &m, &f), 0);
				rules_of_all(&m, &f);
				amds_rule(&m, &f);
			}
}

/* Every code of 16 bits, with every vendor that the kernel can name. */
static void nothing_is_assumed_of_a_code_or_vendor(void **state)
{
	struct ras_fault f;

	(void)state;
	for (unsigned code = 0; code < 0x10000; code++) {
		struct ras_mce m = record_of(INTEL);

		m.status = ST_VAL | ST_ADDRV | ST_MISCV | code;
		m.cpuvendor = (uint8_t)code;
		assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
		rules_of_all(&m, &f);
		if (m.cpuvendor != RAS_VENDOR_INTEL && !mca_is_amd(&m)) {
			assert_false(f.has_page);
			assert_non_null(strstr(f.sentence, "unknown vendor"));
		}
	}
}

static void cpus_are_named_by_their_signature(void **state)
{
	(void)state;
	assert_int_equal(mca_family(CPUID_ZEN2), 0x17);
	assert_int_equal(mca_model(CPUID_ZEN2), 0x71);
	assert_int_equal(mca_family(CPUID_SKYLAKE), 6);
	assert_int_equal(mca_model(CPUID_SKYLAKE), 0x55);
	assert_int_equal(mca_stepping(CPUID_SKYLAKE), 4);
	assert_int_equal(mca_family(CPUID_AMD_10H), 0x10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_of_code),
		cmocka_unit_test(channels),
		cmocka_unit_test(all_flags_of_intel),
		cmocka_unit_test(all_flags_of_amd),
		cmocka_unit_test(nothing_is_assumed_of_a_code_or_vendor),
		cmocka_unit_test(cpus_are_named_by_their_signature),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
