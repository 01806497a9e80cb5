/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Machine-check records for the tests of ras/: what a host of each vendor begins with. */
#ifndef RAS_KIT_H
#define RAS_KIT_H

#include "ras/ras.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KIT_SER (1u << 24)
#define KIT_CMCI (1u << 10)
/* MCG_STATUS in an exception: RIPV, EIPV, MCIP. */
#define MCG_EXCEPTION 7u
/* Families of which the old AMD has no scalable MCA; a Zen 2 (model 0x71); a Skylake server. */
#define CPUID_AMD_10H 0x00100f42u
#define CPUID_ZEN2 0x00870f10u
#define CPUID_SKYLAKE 0x00050654u
#define CPUID_INTEL 0x000606a6u
/* MCi_MISC: a physical address, exact to 2^12 bytes. */
#define MISC_PAGE 0x8cu
/* Identities of banks of the scalable MCA. */
#define IPID_LS UINT64_C(0x000000b000000000)
#define IPID_IF UINT64_C(0x000100b000000000)
#define IPID_L2 UINT64_C(0x000200b000000000)
#define IPID_DE UINT64_C(0x000300b000000000)
#define IPID_FP UINT64_C(0x000600b000000000)
#define IPID_L3 UINT64_C(0x000700b000000000)
#define IPID_CS UINT64_C(0x0000002e00000000)
#define IPID_PIE UINT64_C(0x0001002e00000000)
#define IPID_UMC UINT64_C(0x0000009600050f00)
#define IPID_UMC2 UINT64_C(0x0001009600050f00)
#define IPID_NEW UINT64_C(0x0042009600050f00)

enum host { INTEL, INTEL_OLD, SKYLAKE, AMD_OLD, ZEN, HYGON, ZHAOXIN };

/* What the record of such a host holds whatever has happened. */
static inline struct ras_mce record_of(enum host host)
{
	struct ras_mce m = {.mcgcap = 20 | KIT_SER | KIT_CMCI, .cs = 0x33, .cpu = 3, .bank = 8};

	switch (host) {
	case INTEL:
		m.cpuid = CPUID_INTEL;
		break;
	case INTEL_OLD:
		m.cpuid = 0x000006fb;
		m.mcgcap = 6;
		break;
	case SKYLAKE:
		m.cpuid = CPUID_SKYLAKE;
		m.bank = 13;
		break;
	case AMD_OLD:
		m.cpuvendor = RAS_VENDOR_AMD;
		m.cpuid = CPUID_AMD_10H;
		m.mcgcap = 6;
		break;
	case ZEN:
		m.cpuvendor = RAS_VENDOR_AMD;
		m.cpuid = CPUID_ZEN2;
		m.mcgcap = 23;
		break;
	case HYGON:
		m.cpuvendor = RAS_VENDOR_HYGON;
		m.cpuid = 0x00900f01;
		m.mcgcap = 23;
		break;
	case ZHAOXIN:
		m.cpuvendor = 10;
		m.cpuid = 0x000307b0;
		break;
	}
	return m;
}

#endif
