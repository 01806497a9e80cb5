/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras:aer_event: PCI Express. The status has a bit for each error, those that are masked left out;
 * the bits mean something else for corrected errors (PCI Express specification, "Advanced Error
 * Reporting").
 */
#include "ras/source.h"
#include "ras/text.h"

#include <string.h>

#define SURPRISE_DOWN 5u
#define POISONED 12u
enum { NON_FATAL = 0, FATAL = 1, CORRECTED = 2 };

static const struct want wants[] = {
	WANT(struct ras_aer, dev_name, true, WANT_TEXT),
	WANT(struct ras_aer, status, true, WANT_NUMBER),
	WANT(struct ras_aer, severity, true, WANT_NUMBER),
};
const struct source source_aer = {"aer_event", wants, sizeof(wants) / sizeof(*wants), NULL};

static const char *const corrected[32] = {
	[0] = "receiver error",	       [6] = "bad packet",
	[7] = "bad link packet",       [8] = "replay counter overflow",
	[12] = "replay timer expired", [13] = "advisory non-fatal error",
	[14] = "internal error",       [15] = "header log overflow",
};
static const char *const uncorrected[32] = {
	[0] = "undefined",
	[4] = "link protocol error",
	[SURPRISE_DOWN] = "link lost by surprise",
	[POISONED] = "poisoned packet",
	[13] = "flow control error",
	[14] = "completion timed out",
	[15] = "completer aborted",
	[16] = "unexpected completion",
	[17] = "receiver overflow",
	[18] = "malformed packet",
	[19] = "end-to-end checksum error",
	[20] = "unsupported request",
	[21] = "access control violation",
	[22] = "internal error",
	[23] = "multicast blocked",
	[24] = "atomic operation blocked",
	[25] = "packet prefix blocked",
	[26] = "poisoned packet blocked",
};

void source_aer_decode(const struct ras_aer *r, struct ras_fault *out)
{
	const char *const *names = r->severity == CORRECTED ? corrected : uncorrected;
	struct ras_line l = {out->sentence, sizeof(out->sentence), 0};
	const char *between = ": ";

	out->part = RAS_PART_DEVICE;
	out->count = 1;
	out->severity = r->severity == CORRECTED   ? RAS_CORRECTED
			: r->severity == NON_FATAL ? RAS_UNCORRECTED
			: r->severity == FATAL	   ? RAS_FATAL
						   : RAS_UNKNOWN;
	out->device_fails = r->severity == FATAL ||
			    (r->severity == NON_FATAL &&
			     (r->status >> SURPRISE_DOWN & 1 || r->status >> POISONED & 1));
	tv_copy(out->where, sizeof(out->where), r->dev_name);
	ras_line(&l, "%s: PCI Express error of device %s", ras_severity_text(out->severity),
		 r->dev_name[0] ? r->dev_name : "(unnamed)");
	for (unsigned i = 0; i < 32; i++) {
		if (!(r->status >> i & 1))
			continue;
		if (names[i])
			ras_line(&l, "%s%s", between, names[i]);
		else
			ras_line(&l, "%sbit %u, which is unknown", between, i);
		between = ", ";
	}
	if (!r->status)
		ras_line(&l, ": its status names no error");
}
