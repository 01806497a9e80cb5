/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory_failure_event: the kernel has taken a page away from whoever had it, or tried to. The event
 * was in the system ras, moved to memory_failure in late 2025 and back in 2026: whoever reads it
 * looks in both. The numbers of the types change from kernel to kernel, so that the names are taken
 * from the event's own print format; without one a type is reported by its number.
 */
#include "ras/source.h"
#include "ras/text.h"

#include <string.h>

static const struct want wants[] = {
	WANT(struct ras_mf, pfn, true, WANT_NUMBER),
	WANT(struct ras_mf, type, true, WANT_NUMBER),
	WANT(struct ras_mf, result, true, WANT_NUMBER),
};

static int name_values(const struct ras_format *f, const uint8_t *record, size_t bytes,
		       struct ras_record *out)
{
	struct ras_mf *r = &out->mf;

	(void)record;
	(void)bytes;
	tv_copy(r->type_text, sizeof(r->type_text), format_symbol(f, "type", r->type));
	tv_copy(r->result_text, sizeof(r->result_text), format_symbol(f, "result", r->result));
	return 0;
}
const struct source source_mf = {"memory_failure_event", wants, sizeof(wants) / sizeof(*wants),
				 name_values};

/* By name; the numbers of the results have never changed. */
static enum ras_result result_of(const struct ras_mf *r)
{
	static const char *const texts[] = {"Ignored", "Failed", "Delayed", "Recovered"};

	for (unsigned i = 0; i < 4; i++)
		if (!strcmp(r->result_text, texts[i]))
			return (enum ras_result)(RAS_RESULT_IGNORED + i);
	if (!r->result_text[0] && r->result >= 0 && r->result < 4)
		return (enum ras_result)(RAS_RESULT_IGNORED + r->result);
	return RAS_RESULT_NONE;
}

static enum ras_owner owner_of(const struct ras_mf *r, enum ras_result result)
{
	if (strstr(r->type_text, "kernel page"))
		return RAS_OWNER_KERNEL;
	if (result == RAS_RESULT_RECOVERED &&
	    (!strncmp(r->type_text, "free ", 5) || !strncmp(r->type_text, "clean ", 6)))
		return RAS_OWNER_FREE;
	return RAS_OWNER_UNKNOWN;
}

void source_mf_decode(const struct ras_mf *r, struct ras_fault *out)
{
	static const char *const texts[] = {
		"it is not known what the kernel did", "the kernel has left it in use",
		"the kernel could not take it away", "the kernel takes it away when it can",
		"the kernel has taken it away"};
	struct ras_line l = {out->sentence, sizeof(out->sentence), 0};

	out->severity = RAS_UNCORRECTED;
	out->part = RAS_PART_MEMORY;
	out->kernel = RAS_K_PAGE;
	out->count = 1;
	out->has_page = true;
	out->page.n = r->pfn;
	out->result = result_of(r);
	out->owner = owner_of(r, out->result);
	ras_line(&l, "%s: memory failure in page 0x%llx, ", ras_severity_text(out->severity),
		 (unsigned long long)r->pfn);
	if (r->type_text[0])
		ras_line(&l, "%s", r->type_text);
	else
		ras_line(&l, "of the unknown type %d", r->type);
	ras_line(&l, "; %s", texts[out->result]);
}
