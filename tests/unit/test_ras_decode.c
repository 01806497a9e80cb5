/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine-check records, decoded: those of public tables (named at each), and constructed ones. The
 * tables are Intel's manual (volume 3B, "Machine-Check Architecture"), AMD's (volume 2, chapter 9),
 * the kernel's severity rules, Xen's tools/misc/xen-mceinj.c and the inputs of mcelog.
 */
#include "ras_kit.h"

#include <errno.h>

#define NO_PAGE UINT64_MAX
#define PA UINT64_C(0x319deb440)
#define PFN UINT64_C(0x319deb)

struct vector {
	const char *name;
	enum host host;
	uint64_t status, mcgstatus;
	uint8_t bank; /* 0: the host's */
	uint64_t misc, ipid;
	bool kernel_context;
	enum ras_severity severity;
	enum ras_kernel kernel;
	enum ras_part part;
	uint64_t page;
	const char *says;
};

#define CE RAS_CORRECTED
#define DEF RAS_DEFERRED
#define AO RAS_OPTIONAL
#define AR RAS_REQUIRED
#define UC RAS_UNCORRECTED
#define FATAL RAS_FATAL
#define LOG RAS_K_LOG
#define PAGE RAS_K_PAGE
#define KILL RAS_K_KILL
#define PANIC RAS_K_PANIC
#define CORE RAS_PART_CORE
#define PACK RAS_PART_PACKAGE
#define MEM RAS_PART_MEMORY
#define WHERE RAS_PART_UNKNOWN
#define M MISC_PAGE
#define EX MCG_EXCEPTION

static const struct vector intel[] = {
	/* Xen's xen-mceinj.c; there the names of the first two are swapped. */
	{"xen: write-back", INTEL, 0xbd2000008000017a, EX, 0, M, 0, 0, AO, PAGE, PACK, PFN,
	 "last-level cache"},
	{"xen: scrub", INTEL, 0xbd000000004000cf, EX, 0, M, 0, 0, AO, PAGE, MEM, PFN, "scrubbing"},
	{"xen: UCNA", INTEL, 0xbc20000080000136, 0, 0, M, 0, 0, DEF, PAGE, CORE, PFN,
	 "not used yet"},
	{"xen: with PCC", INTEL, 0xbf2000008000017a, EX, 0, M, 0, 0, FATAL, PANIC, PACK, PFN,
	 "state is corrupt"},
	/* mcelog's inputs. */
	{"mcelog: spr_uc_patscrub", INTEL, 0x8000000010100080, 0, 0, 0, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "own code 0x1010 is unknown"},
	{"mcelog: dmr_dcu_srar", INTEL, 0xbd80000010100134, EX, 0, M, 0, 0, AR, KILL, CORE, PFN,
	 "loaded the data"},
	/* Broadcom's KB 372284, as ESXi prints it. */
	{"KB 372284", INTEL, 0xbb00002000000e0b, EX, 0, 0, 0, 0, FATAL, PANIC, PACK, NO_PAGE,
	 "input/output bus error"},
	/* What a lab host of Intel's kind is given by QEMU's monitor. */
	{"lab: corrected cache", INTEL, 0x9000000000000151, 5, 0, 0, 0, 0, CE, LOG, CORE, NO_PAGE,
	 "instruction cache"},
	{"lab: corrected memory", INTEL, 0x8c00000000000090, 0, 0, M, 0, 0, CE, LOG, MEM, PFN,
	 "page 0x319deb"},
	{"lab: UCNA", INTEL, 0xbc00000000000090, 0, 0, M, 0, 0, DEF, PAGE, MEM, PFN, "not used"},
	{"lab: scrub", INTEL, 0xbd000000000000c0, 5, 0, M, 0, 0, AO, PAGE, MEM, PFN, "scrubbing"},
	{"lab: fatal", INTEL, 0xbf000000000000c0, 5, 0, M, 0, 0, FATAL, PANIC, MEM, PFN, "fatal"},
	{"lab: fatal, internal", INTEL, 0xb200000000000005, 5, 0, 0, 0, 0, FATAL, PANIC, CORE,
	 NO_PAGE, "internal parity"},
	{"lab: SRAR", INTEL, 0xbd80000000000134, EX, 0, M, 0, 0, AR, KILL, CORE, PFN, "in use"},
	/* Intel's table of SRAR signatures, and what becomes of them. */
	{"SRAR fetch", INTEL, 0xbd80000000000150, EX, 0, M, 0, 0, AR, KILL, CORE, PFN, "fetched"},
	{"SRAR in the kernel", INTEL, 0xbd80000000000134, EX, 0, M, 0, 1, FATAL, PANIC, CORE, PFN,
	 "kernel"},
	{"SRAR fetch in the kernel", INTEL, 0xbd80000000000150, EX, 0, M, 0, 1, FATAL, PANIC, CORE,
	 PFN, "kernel"},
	{"SRAR, confidential VM", INTEL, 0xbd80000000000134, EX | 0x1000, 0, M, 0, 1, AR, KILL,
	 CORE, PFN, "confidential"},
	{"SRAR, lost events", INTEL, 0xfd80000000000134, EX, 0, M, 0, 0, FATAL, PANIC, CORE, PFN,
	 "records were lost"},
	{"SRAR, unknown code", INTEL, 0xbd80000000000136, EX, 0, M, 0, 0, FATAL, PANIC, CORE, PFN,
	 "not known which"},
	{"SRAR, other thread", INTEL, 0xbd80000000000134, 5, 0, M, 0, 0, AR, LOG, CORE, PFN,
	 "another thread"},
	{"SRAR without address", INTEL, 0xb180000000000134, EX, 0, 0, 0, 0, FATAL, PANIC, CORE,
	 NO_PAGE, "not known which"},
	{"SRAR, no RIPV and no EIPV", INTEL, 0xbd80000000000134, 4, 0, M, 0, 0, FATAL, PANIC, CORE,
	 PFN, "not known where"},
	{"kernel, no RIPV", INTEL, 0xbd000000000000c0, 6, 0, M, 0, 1, FATAL, PANIC, MEM, PFN,
	 "cannot be resumed"},
	{"SRAR found by a look into the bank", INTEL, 0xbd80000000000134, 0, 0, M, 0, 0, AR, LOG,
	 CORE, PFN, "in use"},
	/* Action optional, whether signalled or not; with bit 12 (filter) as well. */
	{"AO scrub, S clear", INTEL, 0xbc000000000000c1, 0, 0, M, 0, 0, AO, PAGE, MEM, PFN,
	 "channel 1"},
	{"AO scrub, filter", INTEL, 0xbd000000000010c3, EX, 0, M, 0, 0, AO, PAGE, MEM, PFN,
	 "channel 3"},
	{"AO write-back, S clear", INTEL, 0xbc0000000000017a, 0, 0, M, 0, 0, AO, PAGE, PACK, PFN,
	 "wrote back"},
	{"AO write-back, filter", INTEL, 0xbc0000000000117a, 0, 0, M, 0, 0, AO, PAGE, PACK, PFN,
	 "wrote back"},
	{"AO, page unknown", INTEL, 0xb1000000000000c0, EX, 0, 0, 0, 0, AO, LOG, MEM, NO_PAGE,
	 "scrubbing"},
	{"AO, unknown code", INTEL, 0xbd00000000000090, EX, 0, M, 0, 0, AO, LOG, MEM, PFN,
	 "not known which"},
	{"AO, unknown code, lost", INTEL, 0xfd00000000000090, EX, 0, M, 0, 0, AO, LOG, MEM, PFN,
	 "left no record"},
	/* The kernel's other rules. */
	{"UCNA, lost", INTEL, 0xfc00000000000090, 0, 0, M, 0, 0, DEF, PAGE, MEM, PFN,
	 "left no record"},
	{"UCNA with AR", INTEL, 0xbc80000000000090, EX, 0, M, 0, 0, FATAL, PANIC, MEM, PFN,
	 "contradict"},
	{"UCNA with AR, lost", INTEL, 0xfc80000000000090, EX, 0, M, 0, 0, UC, LOG, MEM, PFN,
	 "not signalled"},
	{"leftover", INTEL, 0xad80000000000134, EX, 0, M, 0, 0, RAS_NOTHING, RAS_K_NOTHING, CORE,
	 PFN, "left over"},
	{"leftover, read later", INTEL, 0xac00000000000090, 0, 0, M, 0, 0, DEF, PAGE, MEM, PFN,
	 "may be old"},
	{"signalled, not uncorrected", INTEL, 0x9d00000000000090, EX, 0, M, 0, 0, RAS_UNKNOWN, LOG,
	 MEM, PFN, "unknown severity"},
	{"PCC from the boot before", INTEL, 0xbf000000000000c0, 0, 0, M, 0, 0, FATAL, LOG, MEM, PFN,
	 "fatal"},
	/* Without S and AR (MCG_SER_P). */
	{"old: corrected", INTEL_OLD, 0x9400000000000151, 0, 0, 0, 0, 0, CE, LOG, CORE, NO_PAGE,
	 "corrected"},
	{"old: bits of S and AR are others", INTEL_OLD, 0x9d80000000000134, 0, 0, M, 0, 0, CE, LOG,
	 CORE, PFN, "corrected"},
	{"old: uncorrected", INTEL_OLD, 0xbc00000000000134, EX, 0, M, 0, 0, UC, LOG, CORE, PFN,
	 "uncorrected: error of a data load"},
	{"old: uncorrected, in the kernel", INTEL_OLD, 0xbc00000000000134, EX, 0, M, 0, 1, FATAL,
	 PANIC, CORE, PFN, "kernel"},
	{"old: lost", INTEL_OLD, 0xfc00000000000134, EX, 0, M, 0, 0, FATAL, PANIC, CORE, PFN,
	 "records were lost"},
	/* Skylake's scrubber says corrected, and means the contrary. */
	{"skylake: soft scrub", SKYLAKE, 0x8c000000001000c0, 0, 0, M, 0, 0, AO, PAGE, MEM, PFN,
	 "reported as a corrected"},
	{"skylake: soft scrub, filter", SKYLAKE, 0x8c000000001010c5, 0, 18, M, 0, 0, AO, PAGE, MEM,
	 PFN, "reported as a corrected"},
	{"skylake: another bank", SKYLAKE, 0x8c000000001000c0, 0, 7, M, 0, 0, CE, LOG, MEM, PFN,
	 "corrected"},
	{"skylake: other code of the model", SKYLAKE, 0x8c000000001100c0, 0, 0, M, 0, 0, CE, LOG,
	 MEM, PFN, "0x0011 is unknown"},
	{"another model", INTEL, 0x8c000000001000c0, 0, 13, M, 0, 0, CE, LOG, MEM, PFN,
	 "corrected"},
	/* Addresses that name no page. */
	{"no address", INTEL, 0x9000000000000090, 0, 0, 0, 0, 0, CE, LOG, MEM, NO_PAGE, "memory"},
	{"no MISC", INTEL, 0x9400000000000090, 0, 0, M, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "page unknown"},
	{"linear address", INTEL, 0x9c00000000000090, 0, 0, 0x4c, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "page unknown"},
	{"memory address", INTEL, 0x9c00000000000090, 0, 0, 0xcc, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "page unknown"},
	{"exact to 2 MiB only", INTEL, 0x9c00000000000090, 0, 0, 0x95, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "page unknown"},
	{"exact to a line", INTEL, 0x9c00000000000090, 0, 0, 0x86, 0, 0, CE, LOG, MEM, PFN, "page"},
	{"address of a device", INTEL, 0x9c00000000000e0b, 0, 0, M, 0, 0, CE, LOG, PACK, NO_PAGE,
	 "page unknown"},
};

static const struct vector amd[] = {
	/* Xen's xen-mceinj.c. */
	{"xen: L1 parity", AMD_OLD, 0x9400000000000151, 0, 1, 0, 0, 0, CE, LOG, CORE, NO_PAGE,
	 "instruction cache"},
	/* NixOS/infra, pull 523: a real one. The identity is what such a bank has. */
	{"nixos: memory", ZEN, 0x9c2040000000011b, 0, 17, 0xd01b0fff01000000, IPID_UMC, 0, CE, LOG,
	 MEM, NO_PAGE, "controller's own"},
	/* What a lab host of AMD's kind is given. */
	{"lab: corrected", AMD_OLD, 0x9c00000000000150, 0, 0, M, 0, 0, CE, LOG, CORE, NO_PAGE, ""},
	{"lab: corrected memory", AMD_OLD, 0x9c00400000080813, 0, 4, M, 0, 0, CE, LOG, MEM, PFN,
	 "page 0x319deb"},
	{"lab: deferred", AMD_OLD, 0x9c00180000000100, 0, 9, M, 0, 0, DEF, PAGE, CORE, PFN,
	 "not used yet"},
	{"lab: scrub of Intel", AMD_OLD, 0xbd000000000000c0, 5, 0, M, 0, 0, FATAL, PANIC, WHERE,
	 NO_PAGE, "does not recover"},
	{"old: northbridge", AMD_OLD, 0x9c00000000050813, 0, 4, 0, 0, 0, CE, LOG, PACK, NO_PAGE,
	 "bus"},
	/* Deferred: UC is clear, and yet it is not corrected. */
	{"deferred, memory controller", ZEN, 0x9c2010000000011b, 0, 17, 0, IPID_UMC, 0, DEF, LOG,
	 MEM, NO_PAGE, "controller's own"},
	{"deferred with poison, memory controller", ZEN, 0x9c2018000000011b, 0, 17, 0, IPID_UMC, 0,
	 DEF, LOG, MEM, NO_PAGE, "controller's own"},
	{"the same, later kind", ZEN, 0x9c2018000000011b, 0, 17, 0, IPID_UMC2, 0, DEF, LOG, MEM,
	 NO_PAGE, "controller's own"},
	{"the same, unknown kind", ZEN, 0x9c2018000000011b, 0, 17, 0, IPID_NEW, 0, DEF, LOG, WHERE,
	 NO_PAGE, "of an unknown kind"},
	{"deferred, L3", ZEN, 0x9c20180000030166, 0, 7, 0, IPID_L3, 0, DEF, PAGE, PACK, PFN,
	 "L3 cache"},
	{"deferred without poison, L3", ZEN, 0x9c20100000030166, 0, 7, 0, IPID_L3, 0, DEF, LOG,
	 PACK, NO_PAGE, "page unknown"},
	{"poison, coherent station", ZEN, 0x9c20180000000166, 0, 9, 0, IPID_CS, 0, DEF, LOG, PACK,
	 NO_PAGE, "coherent station"},
	{"deferred and UC", ZEN, 0xbc2018000000011b, 0, 7, 0, IPID_L3, 0, DEF, PAGE, PACK, PFN,
	 "not used"},
	/* Uncorrected, by the bits that say who has met it. */
	{"poison used, load", ZEN, 0xbc20080000000135, EX, 0, 0, IPID_LS, 0, AR, KILL, CORE, PFN,
	 "load-store unit"},
	{"poison used, fetch", ZEN, 0xbc20080000000151, EX, 1, 0, IPID_IF, 0, AR, KILL, CORE, PFN,
	 "instruction fetch unit"},
	{"poison used in the kernel", ZEN, 0xbc20080000000135, EX, 0, 0, IPID_LS, 1, FATAL, PANIC,
	 CORE, PFN, "kernel"},
	{"uncorrected, no poison", ZEN, 0xbc20000000000135, EX, 0, 0, IPID_LS, 0, AR, KILL, CORE,
	 NO_PAGE, "in use"},
	{"uncorrected, lost", ZEN, 0xfc20080000000135, EX, 0, 0, IPID_LS, 0, AR, KILL, CORE, PFN,
	 "left no record"},
	{"uncorrected, read from the bank", ZEN, 0xbc20080000000135, 0, 0, 0, IPID_LS, 0, AR, LOG,
	 CORE, PFN, "in use"},
	{"fatal", ZEN, 0xbe20000000000108, EX, 5, 0, IPID_PIE, 0, FATAL, PANIC, PACK, NO_PAGE,
	 "state is corrupt"},
	{"fatal and deferred", ZEN, 0x9e20180000000135, 0, 0, 0, IPID_LS, 0, FATAL, LOG, CORE, PFN,
	 "fatal"},
	{"corrected by scrubbing", ZEN, 0x9c2041000000011b, 0, 17, 0, IPID_UMC, 0, CE, LOG, MEM,
	 NO_PAGE, "memory error, found by scrubbing"},
	{"corrected, floating point", ZEN, 0x9820000000010005, 0, 6, 0, IPID_FP, 0, CE, LOG, CORE,
	 NO_PAGE, "floating-point"},
	{"corrected, decoder", ZEN, 0x9820000000000150, 0, 3, 0, IPID_DE, 0, CE, LOG, CORE, NO_PAGE,
	 "decoder"},
	{"corrected, L2", ZEN, 0x9c20000000010136, 0, 2, 0, IPID_L2, 0, CE, LOG, CORE, NO_PAGE,
	 "own code 0x0001"},
	{"no identity", ZEN, 0x9c20080000000136, 0, 2, 0, 0, 0, CE, LOG, WHERE, NO_PAGE,
	 "of an unknown kind"},
	{"hygon", HYGON, 0x9c2040000000011b, 0, 15, 0, IPID_UMC, 0, CE, LOG, MEM, NO_PAGE,
	 "controller's own"},
};

static const struct vector others[] = {
	/* Made up by the kernel from what the firmware has reported. */
	{"firmware: corrected", INTEL, 0x940000000000009f, 0, 255, 0, 0, 0, CE, LOG, MEM, PFN,
	 "reported by the firmware"},
	{"firmware: recoverable", INTEL, 0xb40000000000009f, 0, 255, 0, 0, 0, UC, LOG, MEM, PFN,
	 "uncorrected"},
	{"firmware: panic", INTEL, 0xb60000000000009f, 0, 255, 0, 0, 0, FATAL, LOG, MEM, PFN,
	 "fatal"},
	{"firmware: inexact", INTEL, 0x9c0000000000009f, 0, 255, 0x95, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "page unknown"},
	{"firmware: exact", INTEL, 0x9c0000000000009f, 0, 255, M, 0, 0, CE, LOG, MEM, PFN, "page"},
	{"firmware: no address", INTEL, 0x900000000000009f, 0, 255, 0, 0, 0, CE, LOG, MEM, NO_PAGE,
	 "memory"},
	{"firmware: of AMD", ZEN, 0x940000000000009f, 0, 255, 0, 0, 0, CE, LOG, MEM, PFN,
	 "reported by the firmware"},
	{"firmware: bits of AMD mean nothing", ZEN, 0x941018000000009f, 0, 255, 0, 0, 0, CE, LOG,
	 MEM, PFN, "corrected"},
	/* Of a vendor that this twinvm does not know: what all agree on. */
	{"vendor 10: corrected", ZHAOXIN, 0x9c00000000000090, 0, 0, M, 0, 0, CE, LOG, WHERE,
	 NO_PAGE, "unknown vendor 10"},
	{"vendor 10: uncorrected", ZHAOXIN, 0xbc00000000000090, EX, 0, M, 0, 0, UC, LOG, WHERE,
	 NO_PAGE, "0xbc00000000000090"},
	{"vendor 10: fatal", ZHAOXIN, 0xbe00000000000090, EX, 0, M, 0, 0, FATAL, PANIC, WHERE,
	 NO_PAGE, "fatal"},
};

static void check(const struct vector *v)
{
	static const struct ras_cpu recovers = {true, true, true}, cannot = {true, false, false};
	struct ras_mce m = record_of(v->host);
	struct ras_fault f;

	m.status = v->status;
	m.mcgstatus = v->mcgstatus;
	m.misc = v->misc;
	m.ipid = v->ipid;
	m.addr = PA;
	if (v->bank)
		m.bank = v->bank;
	if (v->kernel_context)
		m.cs = 0x10;
	assert_int_equal(ras_decode_mce(v->host == AMD_OLD ? &cannot : &recovers, &m, &f), 0);
	if (f.severity != v->severity || f.kernel != v->kernel || f.part != v->part ||
	    f.has_page != (v->page != NO_PAGE) || (f.has_page && f.page.n != v->page) ||
	    !strstr(f.sentence, v->says))
		fail_msg("%s: severity %d (%d), kernel %d (%d), part %d (%d), page %d 0x%llx: %s "
			 "(wanted: %s)",
			 v->name, f.severity, v->severity, f.kernel, v->kernel, f.part, v->part,
			 f.has_page, (unsigned long long)f.page.n, f.sentence, v->says);
	assert_true(tv_is_utf8(f.sentence) && f.count >= 1);
	assert_int_equal(f.lost, v->status >> 62 & 1);
}

#define CHECK_ALL(table)                                              \
	for (size_t i = 0; i < sizeof(table) / sizeof(*(table)); i++) \
	check(&(table)[i])

static void intels_records(void **state)
{
	(void)state;
	CHECK_ALL(intel);
}

static void amds_records(void **state)
{
	(void)state;
	CHECK_ALL(amd);
}

static void records_of_firmware_and_strangers(void **state)
{
	(void)state;
	CHECK_ALL(others);
}

/* rasdaemon's issue 155: a record whose status is 0 says nothing, and is no error. */
static void a_record_without_val_is_refused(void **state)
{
	struct ras_fault f;

	(void)state;
	for (int host = INTEL; host <= ZHAOXIN; host++) {
		struct ras_mce m = record_of((enum host)host);

		assert_int_equal(ras_decode_mce(NULL, &m, &f), -EINVAL);
		m.status = UINT64_MAX >> 1;
		m.addr = PA;
		m.misc = M;
		assert_int_equal(ras_decode_mce(NULL, &m, &f), -EINVAL);
		assert_false(f.has_page || f.severity);
	}
}

/* Whether an AMD CPU recovers is no part of the record: it is asked for, or reported as unknown. */
static void features_of_the_cpu_count(void **state)
{
	static const struct {
		struct ras_cpu cpu;
		uint64_t status;
		enum ras_severity severity;
		const char *says;
	} rows[] = {
		{{false, false, false}, 0xbc20080000000135, UC, "not known whether"},
		{{true, false, true}, 0xbc20080000000135, FATAL, "does not recover"},
		{{true, true, false}, 0xbc20080000000135, AR, "in use"},
		{{true, true, false}, 0xfc20080000000135, FATAL, "records were lost"},
		{{true, true, true}, 0xfc20080000000135, AR, "in use"},
	};
	struct ras_mce m = record_of(ZEN);
	struct ras_fault f;

	(void)state;
	m.ipid = IPID_LS;
	m.mcgstatus = EX;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		m.status = rows[i].status;
		assert_int_equal(ras_decode_mce(&rows[i].cpu, &m, &f), 0);
		assert_int_equal(f.severity, rows[i].severity);
		assert_non_null(strstr(f.sentence, rows[i].says));
	}
	m.status = 0xbc20080000000135;
	assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
	assert_int_equal(f.severity, UC);
}

static void errors_are_counted_where_the_cpu_counts(void **state)
{
	static const struct {
		enum host host;
		uint64_t status;
		uint32_t count;
	} rows[] = {
		{INTEL, 0x8c00000000000090, 1},
		{INTEL, 0x8c00000000000090 | UINT64_C(7) << 38, 7},
		{INTEL, 0x8c00000000000090 | UINT64_C(0x7fff) << 38, 0x7fff},
		{INTEL, 0xbc00000000000090 | UINT64_C(7) << 38, 1}, /* none of these is corrected */
		{INTEL_OLD, 0x8c00000000000090 | UINT64_C(7) << 38, 1}, /* model-specific there */
		{ZEN, 0x9c2040000000011b, 1},
		{ZHAOXIN, 0x8c00000000000090 | UINT64_C(7) << 38, 1},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ras_mce m = record_of(rows[i].host);

		m.status = rows[i].status;
		m.misc = M;
		assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
		assert_int_equal(f.count, rows[i].count);
	}
}

/* Intel's caches count, too, and turn yellow; the bits mean that only where the CPU states it. */
static void the_cpus_own_count(void **state)
{
	static const struct {
		enum host host;
		uint64_t cap, status;
		bool many;
	} rows[] = {
		{INTEL, 1 << 11, 0x8c00000000000136 | UINT64_C(2) << 53, true},
		{INTEL, 1 << 11, 0x8c00000000000136 | UINT64_C(1) << 53, false}, /* green */
		{INTEL, 1 << 11, 0x8c00000000000136 | UINT64_C(3) << 53, false}, /* reserved */
		{INTEL, 0, 0x8c00000000000136 | UINT64_C(2) << 53, false},
		{INTEL, 1 << 11, 0xac00000000000136 | UINT64_C(2) << 53, false}, /* uncorrected */
		{ZEN, 1 << 11, 0x8c00000000000136 | UINT64_C(2) << 53, false},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct ras_mce m = record_of(rows[i].host);

		m.mcgcap |= rows[i].cap;
		m.status = rows[i].status;
		assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
		assert_int_equal(f.many, rows[i].many);
		assert_int_equal(!!strstr(f.sentence, "own count"), rows[i].many);
	}
}

/* One sentence in full, so that a change of its form is seen. */
static void a_sentence_is_whole(void **state)
{
	struct ras_mce m = record_of(INTEL);
	struct ras_fault f;

	(void)state;
	m.status = 0x8c00000000100092 | UINT64_C(7) << 38;
	m.addr = PA;
	m.misc = M;
	m.socketid = 1;
	assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
	assert_string_equal(
		f.sentence,
		"corrected: memory error; memory (package 1 bank 8 channel 2), reported by "
		"CPU 3 of package 1 in bank 8; page 0x319deb; 7 errors; the model's own "
		"code 0x0010 is unknown");
	snprintf(m.fru, sizeof(m.fru), "DIMM_A3");
	assert_int_equal(ras_decode_mce(NULL, &m, &f), 0);
	assert_string_equal(f.where, "DIMM_A3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intels_records),
		cmocka_unit_test(amds_records),
		cmocka_unit_test(records_of_firmware_and_strangers),
		cmocka_unit_test(a_record_without_val_is_refused),
		cmocka_unit_test(features_of_the_cpu_count),
		cmocka_unit_test(errors_are_counted_where_the_cpu_counts),
		cmocka_unit_test(the_cpus_own_count),
		cmocka_unit_test(a_sentence_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
