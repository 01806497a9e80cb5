/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mce:mce_record. Fields that came late (ppin, microcode, v_data) may be missing. */
#include "ras/source.h"
#include "ras/text.h"

#include <string.h>

#define NUMBER(member, must) WANT(struct ras_mce, member, must, WANT_NUMBER)

static const struct want wants[] = {
	NUMBER(mcgcap, true),	  NUMBER(mcgstatus, true), NUMBER(status, true),
	NUMBER(addr, true),	  NUMBER(misc, true),	   NUMBER(synd, false),
	NUMBER(ipid, false),	  NUMBER(ip, false),	   NUMBER(tsc, false),
	NUMBER(ppin, false),	  NUMBER(walltime, false), NUMBER(cpu, true),
	NUMBER(cpuid, true),	  NUMBER(apicid, false),   NUMBER(socketid, true),
	NUMBER(microcode, false), NUMBER(cs, true),	   NUMBER(bank, true),
	NUMBER(cpuvendor, true),
};

/* AMD's second pair of syndromes is, on some servers, the name of the part in 16 letters. */
static int take_fru(const struct ras_format *f, const uint8_t *record, size_t bytes,
		    struct ras_record *out)
{
	const uint8_t *p;
	size_t n;

	if (!format_bytes(f, record, bytes, "v_data", &p, &n) || n < 16)
		return 0;
	for (size_t i = 0; i < 16 && p[i]; i++)
		if (p[i] < ' ' || p[i] > 126)
			return 0; /* a syndrome, no name */
	ras_copy_text(out->mce.fru, sizeof(out->mce.fru), p, 16);
	return 0;
}

const struct source source_mce = {"mce_record", wants, sizeof(wants) / sizeof(*wants), take_fru};
