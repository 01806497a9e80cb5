/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras:mc_event: a memory error that a memory controller's driver (EDAC) has understood. Its address
 * is one of the system's, also where mce_record has the controller's own. Boards without labels
 * have none, or a word that stands for it: a DIMM is then named by its location.
 */
#include "ras/source.h"
#include "ras/text.h"

#include <string.h>

#define NUMBER(member, must) WANT(struct ras_mc, member, must, WANT_NUMBER)
#define TEXT(member) WANT(struct ras_mc, member, false, WANT_TEXT)

static const struct want wants[] = {
	NUMBER(error_type, true),
	NUMBER(error_count, true),
	NUMBER(mc_index, true),
	NUMBER(top_layer, false),
	NUMBER(middle_layer, false),
	NUMBER(lower_layer, false),
	NUMBER(address, true),
	NUMBER(grain_bits, true),
	NUMBER(syndrome, false),
	TEXT(msg),
	TEXT(label),
	TEXT(driver_detail),
};
const struct source source_mc = {"mc_event", wants, sizeof(wants) / sizeof(*wants), NULL};

static enum ras_severity severity_of(uint32_t error_type)
{
	static const enum ras_severity of[] = {RAS_CORRECTED, RAS_UNCORRECTED, RAS_DEFERRED,
					       RAS_FATAL, RAS_NOTHING};

	return error_type < sizeof(of) / sizeof(*of) ? of[error_type] : RAS_UNKNOWN;
}

static bool is_label(const char *s)
{
	return *s && strcmp(s, "memory") && strcmp(s, "any memory") && strcmp(s, "unknown memory");
}

void source_mc_decode(const struct ras_mc *r, struct ras_fault *out)
{
	struct ras_line l = {out->sentence, sizeof(out->sentence), 0};
	char place[48];

	out->severity = severity_of(r->error_type);
	out->part = RAS_PART_MEMORY;
	out->count = r->error_count ? r->error_count : 1;
	out->has_addr = r->address;
	out->addr = r->address;
	out->has_page = r->address && r->grain_bits <= TV_PAGE_SHIFT;
	if (out->has_page)
		out->page.n = r->address >> TV_PAGE_SHIFT;
	ras_text(place, sizeof(place), "controller %u location %d:%d:%d", r->mc_index, r->top_layer,
		 r->middle_layer, r->lower_layer);
	ras_text(out->where, sizeof(out->where), "%s", is_label(r->label) ? r->label : place);
	ras_line(&l, "%s: memory error", ras_severity_text(out->severity));
	if (r->msg[0])
		ras_line(&l, ", %s", r->msg);
	if (is_label(r->label))
		ras_line(&l, "; DIMM %s, %s", r->label, place);
	else
		ras_line(&l, "; DIMM without a label, %s", place);
	if (out->has_page)
		ras_line(&l, "; page 0x%llx", (unsigned long long)out->page.n);
	else
		ras_line(&l, "; page unknown");
	if (out->count > 1)
		ras_line(&l, "; %u errors", out->count);
}
