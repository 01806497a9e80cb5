/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras: what the kernel and the firmware report about failing hardware, read, understood and judged.
 * Pure: no file, socket, thread or clock; what it is given is all that it knows. Nothing here acts.
 *
 * Reader: ras_reader_format takes the format files of the events that this kernel has, in any order,
 * each may be missing; ras_reader_page takes raw pages of trace data and gives their records one by
 * one (ras_reader_record: one record that somebody else has taken from a page). What is broken is
 * counted and does no harm.
 *
 * Decoder: ras_decode turns a record of any source into a struct ras_fault, which has what all
 * sources have in common: how bad, which part, which page, and a sentence for the operator.
 *
 * Health: ras_health_fault counts faults in leaky buckets for each page, DIMM, core, package and
 * device, finds the row of the table of faults that fits, and keeps what makes this host yellow or
 * red. ras_health_notice does the same for what other parts of twinvm notice. Time is an argument.
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

/* ras:mc_event. Layers are -1 where they mean nothing. */
struct ras_mc {
	uint32_t
		error_type; /* 0 corrected, 1 uncorrected, 2 deferred, 3 fatal, 4 for information */
	uint16_t error_count;
	uint8_t mc_index, grain_bits; /* the address is exact to 2^grain_bits bytes */
	int8_t top_layer, middle_layer, lower_layer;
	uint64_t address; /* of the system; 0: unknown */
	uint64_t syndrome;
	char msg[RAS_TEXT_ROOM], label[RAS_TEXT_ROOM], driver_detail[RAS_TEXT_ROOM];
};

/* memory_failure_event, of the system ras or memory_failure. The texts are the kernel's own: the
 * numbers of the types are not the same in all kernels. */
struct ras_mf {
	uint64_t pfn;
	int32_t type, result;
	char type_text[RAS_TEXT_ROOM], result_text[RAS_TEXT_ROOM];
};

/* ras:aer_event. status: the register's bits; severity: 0 non-fatal, 1 fatal, 2 corrected. */
struct ras_aer {
	char dev_name[RAS_TEXT_ROOM];
	uint32_t status;
	uint8_t severity;
};

/* ras:extlog_mem_event. sev: 0 recoverable, 1 fatal, 2 corrected, 3 for information. */
struct ras_extlog {
	uint32_t err_seq;
	uint8_t etype, sev;
	uint64_t pa;	     /* UINT64_MAX: unknown */
	uint8_t pa_mask_lsb; /* exact to 2^this bytes; 255: unknown */
	char fru_text[RAS_TEXT_ROOM];
	uint8_t data[56]; /* where it is: the kernel's struct cper_mem_err_compact */
};

/* ras:non_standard_event. sev as in ras_extlog. */
struct ras_firmware {
	uint8_t sec_type[16], fru_id[16];
	char fru_text[RAS_TEXT_ROOM];
	uint8_t sev;
	uint32_t len;	  /* of the section */
	uint8_t head[16]; /* its first bytes, as many as there are */
};

struct ras_record {
	enum ras_source source;
	int64_t time_ns; /* by the clock of the trace; 0 from ras_reader_record */
	union {
		struct ras_mce mce;
		struct ras_mc mc;
		struct ras_mf mf;
		struct ras_aer aer;
		struct ras_extlog extlog;
		struct ras_firmware firmware;
	};
};

/* What a reader has met. All only grow. */
struct ras_counts {
	uint64_t pages, broken_pages; /* a broken page is thrown away whole */
	uint64_t records[RAS_SRC_COUNT];
	uint64_t malformed; /* records of a wrong length, or that point out of themselves */
	uint64_t strangers; /* records of events that no format file is known of */
	uint64_t lost;	    /* times that the kernel reports events to be lost */
};

struct ras_reader;
struct ras_reader *ras_reader_new(void); /* NULL: no memory */
void ras_reader_free(struct ras_reader *r);
/* A format file has no limit in the kernel; what is longer than this is none. */
#define RAS_FORMAT_MOST_BYTES (1u << 20)
/*
 * The format file of an event, all of it. -ENOENT: it lacks a field that is needed (an event that
 * lacks another one is read without). -EINVAL: it is no format file, or one of another event; -E2BIG.
 * What was known of that event is then unchanged.
 */
int ras_reader_format(struct ras_reader *r, enum ras_source source, const char *text, size_t bytes,
		      struct tv_err *e) TV_MUST_CHECK;
/* Is the format of an event known? unknown (may be NULL): names of fields that this twinvm does not
 * read, divided by commas. */
bool ras_reader_knows(const struct ras_reader *r, enum ras_source source, char *unknown,
		      size_t room);
/* events/header_page of the same tracefs. -EINVAL. Until it is called the usual layout is assumed. */
int ras_reader_page_head(struct ras_reader *r, const char *text, size_t bytes,
			 struct tv_err *e) TV_MUST_CHECK;
typedef void ras_each_fn(void *arg, const struct ras_record *record);
/*
 * A raw page (per_cpu/cpuN/trace_pipe_raw): gives its records to each, in order. lost (may be NULL):
 * whether events before it were lost. -EBADMSG: the page is broken; none of its records is given.
 */
int ras_reader_page(struct ras_reader *r, const uint8_t *page, size_t bytes, ras_each_fn *each,
		    void *arg, bool *lost) TV_MUST_CHECK;
/* One record, from its common_type on. -ENOENT: of an event that is not known; -EBADMSG: malformed. */
int ras_reader_record(struct ras_reader *r, const uint8_t *record, size_t bytes,
		      struct ras_record *out) TV_MUST_CHECK;
const struct ras_counts *ras_reader_counts(const struct ras_reader *r);

/*
 * Features of this host's CPUs that no record has (CPUID 0x80000007, /proc/cpuinfo): AMD's recovery
 * of uncorrected errors. known: false where they have not been read.
 */
struct ras_cpu {
	bool known, succor, overflow_recov;
};

/* Whose page is it? Known from a record only where the kernel says it; else whoever acts finds out. */
enum ras_owner {
	RAS_OWNER_UNKNOWN,
	RAS_OWNER_FREE,	   /* free, or clean: the kernel takes it without a loss */
	RAS_OWNER_VM,	   /* memory of a protected VM */
	RAS_OWNER_STANDBY, /* memory of a standby */
	RAS_OWNER_SELF,	   /* memory of a process of twinvm */
	RAS_OWNER_PROCESS, /* memory of another process */
	RAS_OWNER_KERNEL,
	RAS_OWNER_COUNT
};
/* What the kernel reports of its try to take a page (memory_failure_event). */
enum ras_result {
	RAS_RESULT_NONE,
	RAS_RESULT_IGNORED,
	RAS_RESULT_FAILED,
	RAS_RESULT_DELAYED,
	RAS_RESULT_RECOVERED
};

/* What all sources have in common. */
struct ras_fault {
	enum ras_source source;
	enum ras_severity severity;
	enum ras_part part;
	enum ras_kernel kernel; /* RAS_SRC_MCE and RAS_SRC_MF */
	uint32_t count;		/* errors that this record stands for: at least 1 */
	bool lost;		/* at least one more error has left no record */
	bool many; /* the CPU itself reports that corrected errors of this part are too many */
	bool by_firmware; /* the firmware has found and reported it */
	bool has_cpu;
	uint32_t cpu, package, bank;
	uint32_t
		core; /* what is counted as one: cpu, until the owner puts the first sibling here */
	/*
	 * The page is known: the address is one of the system's, and exact enough. An address that
	 * a memory controller has translated for itself (normalised) never gets here.
	 */
	bool has_page;
	struct ras_pfn page;
	bool has_addr, normalised;
	uint64_t addr;	      /* as reported */
	enum ras_owner owner; /* of the page, or of the device; the owner of this struct may know */
	enum ras_result result;
	bool device_fails; /* a device cannot be used, or has passed on wrong data */
	/* What is counted as one DIMM or device: a label, else a location, else "". */
	char where[RAS_TEXT_ROOM];
	char sentence[320];
};

/*
 * Decodes a record of any source. cpu may be NULL. -EINVAL: it says nothing (a machine check without
 * its valid bit); *out is then all zero.
 */
int ras_decode(const struct ras_cpu *cpu, const struct ras_record *r,
	       struct ras_fault *out) TV_MUST_CHECK;
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

/*
 * The table of faults (faults.c): name, number in the table. The numbers are those of
 * docs/HARDWARE-FAULTS.md and never change.
 */
#define RAS_RULES(X)            \
	X(ONE_CORRECTED, 1)     \
	X(VM_PAGE_WEAK, 2)      \
	X(PAGE_WEAK, 3)         \
	X(PAGE_TAKEN, 4)        \
	X(DIMM_WEAK, 5)         \
	X(DIMM_FAILS, 6)        \
	X(STORM, 7)             \
	X(CORE_WEAK, 8)         \
	X(PACKAGE_WEAK, 9)      \
	X(VM_DEFERRED, 10)      \
	X(VM_OPTIONAL, 11)      \
	X(VM_REQUIRED, 12)      \
	X(HARVEST_FAULT, 13)    \
	X(GUEST_RESET, 14)      \
	X(QEMU_DIED, 15)        \
	X(FREE_PAGE, 16)        \
	X(OTHER_PROCESS, 17)    \
	X(KERNEL_PAGE, 18)      \
	X(STANDBY_PAGE, 19)     \
	X(OWN_PAGE, 20)         \
	X(HOST_DIED, 21)        \
	X(HOST_RETURNED, 22)    \
	X(DEVICE_CORRECTED, 23) \
	X(DEVICE_ERROR, 24)     \
	X(DEVICE_FAILS, 25)     \
	X(FIRMWARE_RECORD, 26)  \
	X(MALFORMED, 27)        \
	X(EVENTS_LOST, 28)      \
	X(NO_SOURCE, 29)        \
	X(BOTH_HOSTS, 30)       \
	X(DRY_RUN, 31)          \
	X(OWNER_UNKNOWN, 32)
enum ras_rule {
	RAS_RULE_NONE,
#define RAS_RULE(name, number) RAS_RULE_##name = (number),
	RAS_RULES(RAS_RULE)
#undef RAS_RULE
		RAS_RULE_COUNT
};

/* Grey: nothing is known. Yellow: not to be a backup by choice. Red: to be left. */
enum ras_color { RAS_GREY, RAS_GREEN, RAS_YELLOW, RAS_RED };
const char *ras_color_text(enum ras_color color); /* "unknown", "green", "yellow", "red" */

/* Who notices a fault of this row. */
enum ras_noticed {
	RAS_BY_RECORD, /* one record says it, by the decoder here */
	RAS_BY_COUNT,  /* the buckets here */
	RAS_BY_OTHERS, /* another part of twinvm, which may call ras_health_notice, or nothing yet */
};
struct ras_row {
	enum ras_rule rule;
	const char *fault, *seen_by;
	enum ras_noticed noticed;
	enum ras_color color; /* that it makes the host by itself; RAS_GREY: none */
	bool until_cleared;   /* else for 24 hours without news; red never leaves by itself */
	const char *verdict;  /* for people: colour and conditions */
	const char *planned;  /* what twinvm is to do about it */
	const char *today;    /* what is done of that; "": nothing but the colour */
};
/* NULL: no such row. */
const struct ras_row *ras_row(enum ras_rule rule);

/* At how many errors within a window something counts as weak, or as failing. */
struct ras_policy {
	uint32_t page_yellow, dimm_yellow, dimm_red;
	uint32_t dimm_pages_yellow, dimm_pages_red; /* weak pages; pages taken */
	uint32_t core_yellow, package_yellow, package_red, device_yellow;
	uint32_t storm_per_s, storm_s;
	int64_t window_ns, device_window_ns;
};
/* The table's. intel: the kernel and vendor there advise to act on a page's second error. */
void ras_policy_default(struct ras_policy *p, bool intel);

struct ras_verdict {
	enum ras_rule rule;   /* RAS_RULE_NONE: no error */
	enum ras_color color; /* of the host, after it */
	bool fresh;	      /* a new cause, or one that has become worse: time to act */
	bool weak_page;	      /* its page has become weak, whatever else rule says */
};
/* Why the host has its colour. */
struct ras_cause {
	enum ras_rule rule;
	enum ras_color color;
	bool until_cleared;
	int64_t since_ns, last_ns;
	char what[RAS_TEXT_ROOM]; /* which part: "page 0x319deb", "DIMM_A3" */
	char sentence[320];	  /* of the last record */
};
/* What has been counted, whatever its colour. */
struct ras_totals {
	uint64_t faults, corrected, uncorrected, ignored; /* ignored: no error */
	uint64_t forgotten; /* parts that gave their bucket to another one */
};
#define RAS_MAX_CAUSES 64u

struct ras_health;
/* NULL: no memory. All memory is taken here: nothing grows. */
struct ras_health *ras_health_new(const struct ras_policy *p);
void ras_health_free(struct ras_health *h);
/* Is there a source that would report a fault? Until then a host without a cause is grey. */
void ras_health_watched(struct ras_health *h, bool watched);
/*
 * Counts and judges. now_ns: any monotonic clock, the same in all calls; a time before that of
 * another call counts as that. One error that is reported several times (the same page; without
 * one, within a second) is one cause and is fresh once.
 */
void ras_health_fault(struct ras_health *h, const struct ras_fault *f, int64_t now_ns,
		      struct ras_verdict *out);
/* Would a corrected error make its page weak, or is that weak already? Then whose it is counts. */
bool ras_health_weakens(struct ras_health *h, const struct ras_fault *f, int64_t now_ns);
/*
 * More corrected errors at once than somebody could describe: they count towards a storm, and are
 * of no part.
 */
void ras_health_more(struct ras_health *h, uint32_t errors, int64_t now_ns,
		     struct ras_verdict *out);
/* Another part of twinvm has noticed what the row says. what: which part, a VM; may be "". */
void ras_health_notice(struct ras_health *h, enum ras_rule rule, const char *what,
		       const char *sentence, int64_t now_ns, struct ras_verdict *out);
/* A page is out of service: too many of one DIMM make it fail. dimm: as a fault's `where`, "": not known. */
void ras_health_taken(struct ras_health *h, struct ras_pfn page, const char *dimm, int64_t now_ns,
		      struct ras_verdict *out);
enum ras_color ras_health_color(struct ras_health *h, int64_t now_ns);
/* Worst first, then the latest; returns how many there are, of which room are written. */
unsigned ras_health_causes(struct ras_health *h, int64_t now_ns, struct ras_cause *out,
			   unsigned room);
/* The operator has looked: all causes and buckets are empty. */
void ras_health_clear(struct ras_health *h);
const struct ras_totals *ras_health_totals(struct ras_health *h);

/* ---- keep.c: over a restart of the owner ---- */
#define RAS_KEPT_STEPS 25u
#define RAS_KEPT_STREAMS 2u
#define RAS_KEPT_MOST_NS (INT64_C(20) * 365 * 24 * 3600 * TV_NS_PER_S)
struct ras_kept_bucket {
	unsigned table; /* which kind of part */
	bool pinned, taken;
	char key[RAS_TEXT_ROOM], of[RAS_TEXT_ROOM];
	int64_t age_ns;					  /* of its last error */
	uint32_t count[RAS_KEPT_STREAMS][RAS_KEPT_STEPS]; /* by age, in 24ths of a window */
};
struct ras_kept_cause {
	struct ras_cause is; /* its times are ages */
	bool has_page;
	unsigned errors;
};
typedef void ras_keep_bucket_fn(void *arg, const struct ras_kept_bucket *b);
typedef void ras_keep_cause_fn(void *arg, const struct ras_kept_cause *c);
/* Gives all that is not empty. */
void ras_health_keep(struct ras_health *h, int64_t now_ns, ras_keep_bucket_fn *bucket,
		     ras_keep_cause_fn *cause, void *arg);
/* Into a new one. since_ns: since it was given. False: it says what cannot be, and is left out. */
bool ras_health_put_bucket(struct ras_health *h, const struct ras_kept_bucket *k, int64_t now_ns,
			   int64_t since_ns) TV_MUST_CHECK;
bool ras_health_put_cause(struct ras_health *h, const struct ras_kept_cause *k, int64_t now_ns,
			  int64_t since_ns) TV_MUST_CHECK;

#endif
