/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine-check architecture: bits of its registers, and what the parts of the decoder share. */
#ifndef RAS_MCA_H
#define RAS_MCA_H

#include "ras/ras.h"

#define BIT(n) (UINT64_C(1) << (n))

/* IA32_MCG_CAP, IA32_MCG_STATUS */
#define CAP_CMCI BIT(10) /* the status has a count of corrected errors */
#define CAP_TES BIT(11)	 /* the status says whether corrected errors are too many */
#define CAP_SER BIT(24)	 /* the status has S and AR */
#define MCG_RIPV BIT(0)
#define MCG_EIPV BIT(1)
#define MCG_MCIP BIT(2)
#define MCG_SEAM BIT(12) /* the error was met by a confidential VM (TDX) */

/* MCi_STATUS: of all vendors */
#define ST_VAL BIT(63)
#define ST_OVER BIT(62)
#define ST_UC BIT(61)
#define ST_EN BIT(60)
#define ST_MISCV BIT(59)
#define ST_ADDRV BIT(58)
#define ST_PCC BIT(57)
/* Intel, with CAP_SER */
#define ST_S BIT(56)
#define ST_AR BIT(55)
/* Intel, of corrected errors with CAP_TES: bits 54:53, 2 is "yellow" */
#define ST_TES_SHIFT 53
#define ST_TES_YELLOW 2u
/* AMD */
#define ST_SCRUB BIT(40)
#define ST_DEFERRED BIT(44)
#define ST_POISON BIT(43)

/* Bit 12 (filter) says how often such errors are reported, and is not part of the code. */
#define MCACOD(status) ((unsigned)((status)&0xefff))
#define MSCOD(status) ((unsigned)((status) >> 16 & 0xffff))

/* The forms of an error code that all models of a vendor share. */
enum mca_form {
	MCA_NONE,	  /* no error */
	MCA_UNCLASSIFIED, /* an error, of no class */
	MCA_MICROCODE,
	MCA_EXTERNAL,
	MCA_FRC,
	MCA_INTERNAL, /* parity, watchdog timer, unclassified */
	MCA_SMM,
	MCA_CACHE, /* generic, or with what was asked of it */
	MCA_TLB,
	MCA_MEMORY,	  /* memory controller */
	MCA_MEMORY_CACHE, /* memory that serves as a cache of slower memory */
	MCA_BUS,
	MCA_UNKNOWN,
	MCA_FORM_COUNT
};

/* A code of a vendor. channel: -1 unknown. text: what an operator reads, never NULL. */
struct mca_code {
	enum mca_form form;
	int level; /* of a cache or TLB: 0 to 2; 3 is the last or an unknown one */
	int channel;
	bool scrub;
	const char *text;
};
void mca_code(unsigned mcacod, bool amd, struct mca_code *out);

/* Kinds of bank of AMD's scalable MCA: its number says nothing, its identity (IPID) does. */
struct mca_smca {
	const char *name;
	enum ras_part part;
	bool system_address; /* an address with the poison bit is one of the system's */
};
/* NULL: this twinvm does not know the bank, or the record has no identity. */
const struct mca_smca *mca_smca_of(uint64_t ipid);

bool mca_is_amd(const struct ras_mce *m);
/* Family, model, stepping from the CPUID signature. */
unsigned mca_family(uint32_t cpuid);
unsigned mca_model(uint32_t cpuid);
unsigned mca_stepping(uint32_t cpuid);
/* AMD: has the CPU scalable MCA? A record without VAL does not get here. */
bool mca_has_smca(const struct ras_mce *m);

/* How the kernel judges it, and how we do. why: the rule in words, never NULL. */
struct mca_grade {
	enum ras_kernel kernel;
	enum ras_severity severity;
	const char *why;
};
void mca_grade(const struct ras_cpu *cpu, const struct ras_mce *m, struct mca_grade *out);

/* Which part, which page: fills part, page, addr and their flags of out. */
void mca_place(const struct ras_mce *m, const struct mca_code *code, struct ras_fault *out);

#endif
