/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sources: which event, which fields, what becomes of a record. */
#ifndef RAS_SOURCE_H
#define RAS_SOURCE_H

#include "ras/format.h"

struct source {
	const char *event;
	const struct want *wants;
	size_t want_count;
	/* What the table of fields cannot say; may be NULL. -EBADMSG: the record contradicts
	 * itself. */
	int (*finish)(const struct ras_format *f, const uint8_t *record, size_t bytes,
		      struct ras_record *out);
};
extern const struct source source_mce, source_mc, source_mf, source_aer, source_extlog,
	source_firmware;

/* Records become faults. out is all zero but for its source; cannot fail. */
void source_mc_decode(const struct ras_mc *r, struct ras_fault *out);
void source_mf_decode(const struct ras_mf *r, struct ras_fault *out);
void source_aer_decode(const struct ras_aer *r, struct ras_fault *out);
void source_extlog_decode(const struct ras_extlog *r, struct ras_fault *out);
void source_firmware_decode(const struct ras_firmware *r, struct ras_fault *out);

/* Severity of the firmware's records (CPER). */
enum ras_severity cper_severity(unsigned sev);

#endif
