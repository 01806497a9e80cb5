/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras:extlog_mem_event: what the firmware's extended log has of a memory error. The kernel reports
 * it only while somebody holds ras/daemon_active of debugfs open. The location is the kernel's
 * struct cper_mem_err_compact, of which each member has a valid bit (UEFI specification, "Memory
 * Error Section").
 */
#include "ras/source.h"
#include "ras/text.h"

#include <string.h>

#define NUMBER(member, must) WANT(struct ras_extlog, member, must, WANT_NUMBER)

static const struct want wants[] = {
	NUMBER(err_seq, false),
	NUMBER(etype, true),
	NUMBER(sev, true),
	NUMBER(pa, true),
	NUMBER(pa_mask_lsb, true),
	WANT(struct ras_extlog, fru_text, false, WANT_TEXT),
	WANT(struct ras_extlog, data, false, WANT_BYTES),
};
const struct source source_extlog = {"extlog_mem_event", wants, sizeof(wants) / sizeof(*wants),
				     NULL};

static const struct {
	unsigned valid_bit, at; /* of the 64 valid bits; of a number of 16 bits */
	const char *name;
} places[] = {
	{3, 8, "node"},	 {4, 10, "card"},   {5, 12, "module"}, {15, 48, "rank"},
	{6, 14, "bank"}, {7, 16, "device"}, {8, 18, "row"},    {9, 20, "column"},
};
/* The first of them name one DIMM. */
#define DIMM_PLACES 3u

static const char *const types[] = {"memory error",
				    "no error",
				    "single-bit error",
				    "multi-bit error",
				    "single-symbol error",
				    "multi-symbol error",
				    "master abort",
				    "target abort",
				    "parity error",
				    "watchdog timeout",
				    "invalid address",
				    "broken mirror",
				    "spared memory",
				    "corrected by scrubbing",
				    "uncorrected, found by scrubbing",
				    "memory mapped out"};

enum ras_severity cper_severity(unsigned sev)
{
	static const enum ras_severity of[] = {RAS_UNCORRECTED, RAS_FATAL, RAS_CORRECTED,
					       RAS_NOTHING};

	return sev < sizeof(of) / sizeof(*of) ? of[sev] : RAS_UNKNOWN;
}

static void put_place(const struct ras_extlog *r, size_t n, char *to, size_t room)
{
	struct ras_line l = {to, room, 0};
	uint64_t valid = tv_get_le64(r->data);

	*to = 0;
	for (size_t i = 0; i < n; i++)
		if (valid >> places[i].valid_bit & 1)
			ras_line(&l, "%s%s %u", *to ? " " : "", places[i].name,
				 tv_get_le16(r->data + places[i].at));
}

void source_extlog_decode(const struct ras_extlog *r, struct ras_fault *out)
{
	struct ras_line l = {out->sentence, sizeof(out->sentence), 0};
	char place[RAS_TEXT_ROOM];

	out->severity = cper_severity(r->sev);
	out->part = RAS_PART_MEMORY;
	out->by_firmware = true;
	out->count = 1;
	out->has_addr = r->pa != UINT64_MAX;
	out->addr = out->has_addr ? r->pa : 0;
	out->has_page = out->has_addr && (r->pa_mask_lsb == 255 || r->pa_mask_lsb <= TV_PAGE_SHIFT);
	if (out->has_page)
		out->page.n = r->pa >> TV_PAGE_SHIFT;
	put_place(r, DIMM_PLACES, place, sizeof(place));
	tv_copy(out->where, sizeof(out->where), r->fru_text[0] ? r->fru_text : place);
	put_place(r, sizeof(places) / sizeof(*places), place, sizeof(place));
	ras_line(&l, "%s: %s, reported by the firmware", ras_severity_text(out->severity),
		 types[r->etype < sizeof(types) / sizeof(*types) ? r->etype : 0]);
	if (r->fru_text[0])
		ras_line(&l, "; DIMM %s", r->fru_text);
	if (place[0])
		ras_line(&l, "; %s", place);
	if (out->has_page)
		ras_line(&l, "; page 0x%llx", (unsigned long long)out->page.n);
	else
		ras_line(&l, "; page unknown");
}
