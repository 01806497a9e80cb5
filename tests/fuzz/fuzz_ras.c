/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What ras/ reads, of any bytes: the first byte chooses. A format file (its length in two bytes)
 * with a record behind it; a page of trace data, or one record, of a kernel whose format files are
 * whole; a machine-check record, byte by byte. Whatever is understood is decoded, and what comes out
 * keeps the rules of a fault.
 */
#include "ras/ras.h"
#include "tests/unit/ras_formats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const formats[RAS_SRC_COUNT] = {mce_later,  mc_format,     mf_6_12,
						   aer_format, extlog_format, firmware_format};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check(const struct ras_fault *f)
{
	must(f->sentence[0] && tv_is_utf8(f->sentence) && tv_is_utf8(f->where));
	must((unsigned)f->severity < RAS_SEVERITY_COUNT && (unsigned)f->part < RAS_PART_COUNT);
	must((unsigned)f->owner < RAS_OWNER_COUNT && f->count >= 1);
	must(!f->has_page || !f->normalised);
	must(!f->normalised || f->has_addr);
	must(f->kernel != RAS_K_PAGE || f->has_page);
	for (const char *p = f->sentence; *p; p++)
		must(*p >= ' ' && *p < 127);
}

static void decode(void *arg, const struct ras_record *r)
{
	static const struct ras_cpu recovers = {true, true, true};
	const struct ras_cpu *cpu[2] = {NULL, &recovers};
	struct ras_fault f;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		int rc = ras_decode(cpu[i], r, &f);

		must(rc == 0 ||
		     (rc == -EINVAL && r->source == RAS_SRC_MCE && !(r->mce.status >> 63)));
		if (!rc)
			check(&f);
	}
}

static void format_and_record(const uint8_t *p, size_t n)
{
	struct ras_reader *r = ras_reader_new();
	enum ras_source source;
	struct ras_record out;
	size_t text_bytes;
	struct tv_err e = {0};
	char names[40];
	int rc;

	if (r && n > 3) {
		source = (enum ras_source)(p[0] % RAS_SRC_COUNT);
		text_bytes = tv_get_le16(p + 1);
		if (text_bytes > n - 3)
			text_bytes = n - 3;
		rc = ras_reader_format(r, source, (const char *)p + 3, text_bytes, &e);
		must(!rc || e.text[0]);
		must(ras_reader_knows(r, source, names, sizeof(names)) == !rc);
		if (!ras_reader_record(r, p + 3 + text_bytes, n - 3 - text_bytes, &out))
			decode(NULL, &out);
		if (!ras_reader_page_head(r, (const char *)p + 3, text_bytes, NULL))
			(void)!ras_reader_page(r, p + 3 + text_bytes, n - 3 - text_bytes, decode,
					       NULL, NULL);
	}
	ras_reader_free(r);
}

static void page_or_record(const uint8_t *p, size_t n, bool page)
{
	static struct ras_reader *r; /* its formats are parsed once */
	struct ras_record out;
	bool lost;

	if (!r) {
		r = ras_reader_new();
		for (int i = 0; i < RAS_SRC_COUNT; i++)
			must(!ras_reader_format(r, (enum ras_source)i, formats[i],
						strlen(formats[i]), NULL));
	}
	if (page)
		(void)!ras_reader_page(r, p, n, decode, NULL, &lost);
	else if (!ras_reader_record(r, p, n, &out))
		decode(NULL, &out);
}

static void machine_check(const uint8_t *p, size_t n)
{
	struct ras_record r = {.source = RAS_SRC_MCE};

	memcpy(&r.mce, p, n < sizeof(r.mce) ? n : sizeof(r.mce));
	r.mce.fru[sizeof(r.mce.fru) - 1] = 0;
	for (char *c = r.mce.fru; *c; c++)
		*c = *c >= ' ' && *c < 127 ? *c : '?'; /* as the reader leaves it */
	decode(NULL, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		format_and_record(data + 1, size - 1);
		break;
	case 1:
		page_or_record(data + 1, size - 1, true);
		break;
	case 2:
		page_or_record(data + 1, size - 1, false);
		break;
	default:
		machine_check(data + 1, size - 1);
	}
	return 0;
}
