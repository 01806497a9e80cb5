/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras: what the kernel and the firmware report about failing hardware, read, understood and judged.
 * Pure: no file, socket, thread or clock; what it is given is all that it knows. Nothing here acts.
 *
 * Decoder: ras_decode_mce turns a machine-check record into a struct ras_fault, which has what all
 * sources have in common: how bad, which part, which page, and a sentence for the operator.
 *
 * What is model-specific is not guessed: the sentence says that it is unknown. Return codes: see
 * common.h.
 */
#ifndef RAS_H
#define RAS_H

#include "common/common.h"

/* A page of this host's physical memory. Not an address, and never a guest's. */
struct ras_pfn {
	uint64_t n;
};

/* name, the event's folder in tracefs, what it reports */
#define RAS_SOURCES(X)                                                                   \
	X(MCE, "mce_record", "machine checks, from the banks of a CPU")                  \
	X(MC, "mc_event", "memory errors, from a memory controller's driver (EDAC)")     \
	X(MF, "memory_failure_event", "what the kernel did with a page that failed")     \
	X(AER, "aer_event", "errors of PCI Express")                                     \
	X(EXTLOG, "extlog_mem_event", "memory errors, from the firmware's extended log") \
	X(FIRMWARE, "non_standard_event", "records of the firmware in a form of its own")
enum ras_source {
#define RAS_SOURCE(name, event, what) RAS_SRC_##name,
	RAS_SOURCES(RAS_SOURCE)
#undef RAS_SOURCE
		RAS_SRC_COUNT
};

/* From harmless to fatal; name, what an operator reads. */
#define RAS_SEVERITIES(X)                                    \
	X(NOTHING, "no error")                               \
	X(CORRECTED, "corrected")                            \
	X(UNKNOWN, "of unknown severity")                    \
	X(DEFERRED, "uncorrected, not used yet")             \
	X(OPTIONAL, "uncorrected, found before it was used") \
	X(UNCORRECTED, "uncorrected")                        \
	X(REQUIRED, "uncorrected, in use")                   \
	X(FATAL, "fatal")
enum ras_severity {
#define RAS_SEVERITY(name, text) RAS_##name,
	RAS_SEVERITIES(RAS_SEVERITY)
#undef RAS_SEVERITY
		RAS_SEVERITY_COUNT
};

/* Which part of the host an error belongs to; a part is what is counted, and replaced. */
enum ras_part {
	RAS_PART_UNKNOWN,
	RAS_PART_CORE,	  /* a core with its own caches and TLBs, shared by its siblings */
	RAS_PART_PACKAGE, /* last-level cache, interconnect, bus: whichever CPU has reported it */
	RAS_PART_MEMORY,
	RAS_PART_DEVICE, /* PCI Express */
	RAS_PART_COUNT
};

/* What the kernel does about a machine check (arch/x86/kernel/cpu/mce/severity.c). */
enum ras_kernel {
	RAS_K_NOTHING,
	RAS_K_LOG,   /* logs it */
	RAS_K_PAGE,  /* takes the page away from whoever has it */
	RAS_K_KILL,  /* takes the page away before whoever met the error runs again */
	RAS_K_PANIC, /* panics */
};

/* X86_VENDOR_ of the kernel, as mce_record has it in cpuvendor. */
enum {
	RAS_VENDOR_INTEL = 0,
	RAS_VENDOR_AMD = 2,
	RAS_VENDOR_HYGON = 9,
};
/* The kernel makes up a record of this bank from a report of the firmware (CPER). */
#define RAS_BANK_FIRMWARE 255u
#define RAS_TEXT_ROOM 96

/* mce:mce_record. What the running kernel's event does not have is 0. */
struct ras_mce {
	uint64_t mcgcap, mcgstatus, status, addr, misc, synd, ipid, ip, tsc;
	uint64_t walltime; /* s since 1970 */
	uint64_t ppin;
	uint32_t cpu, cpuid, apicid, socketid, microcode;
	uint8_t cs, bank, cpuvendor;
	char fru[RAS_TEXT_ROOM]; /* AMD: what v_data has of readable text, a part's name */
};

/*
 * Features of this host's CPUs that no record has (CPUID 0x80000007, /proc/cpuinfo): AMD's recovery
 * of uncorrected errors. known: false where they have not been read.
 */
struct ras_cpu {
	bool known, succor, overflow_recov;
};

/* What all sources have in common. */
struct ras_fault {
	enum ras_source source;
	enum ras_severity severity;
	enum ras_part part;
	enum ras_kernel kernel; /* RAS_SRC_MCE and RAS_SRC_MF */
	uint32_t count;		/* errors that this record stands for: at least 1 */
	bool lost;		/* at least one more error has left no record */
	bool by_firmware;	/* the firmware has found and reported it */
	bool has_cpu;
	uint32_t cpu, package, bank;
	/*
	 * The page is known: the address is one of the system's, and exact enough. An address that
	 * a memory controller has translated for itself (normalised) never gets here.
	 */
	bool has_page;
	struct ras_pfn page;
	bool has_addr, normalised;
	uint64_t addr; /* as reported */
	/* What is counted as one DIMM or device: a label, else a location, else "". */
	char where[RAS_TEXT_ROOM];
	char sentence[320];
};

/*
 * Decodes a machine-check record. cpu may be NULL: nothing is known. -EINVAL: the record has no
 * valid bit (VAL), so it says nothing; *out is then all zero. A record of an unknown vendor is
 * decoded as far as all vendors agree.
 */
int ras_decode_mce(const struct ras_cpu *cpu, const struct ras_mce *m,
		   struct ras_fault *out) TV_MUST_CHECK;

/* "corrected", "fatal", ... for an operator; never NULL. */
const char *ras_severity_text(enum ras_severity severity);
/* "core", "package", "memory", "device", "unknown part". */
const char *ras_part_text(enum ras_part part);
/* Did data get lost or go wrong? Neither corrected nor of unknown severity. */
bool ras_uncorrected(enum ras_severity severity);

#endif
