/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ras/ras.h"

#define SEVERITY_TEXT(name, text) text,
static const char *const severity_texts[] = {RAS_SEVERITIES(SEVERITY_TEXT)};
static const char *const part_texts[] = {"unknown part", "core", "package", "memory", "device"};

const char *ras_severity_text(enum ras_severity severity)
{
	return (unsigned)severity < RAS_SEVERITY_COUNT ? severity_texts[severity] : "unknown";
}

const char *ras_part_text(enum ras_part part)
{
	return (unsigned)part < RAS_PART_COUNT ? part_texts[part] : part_texts[0];
}

bool ras_uncorrected(enum ras_severity severity)
{
	return severity >= RAS_DEFERRED && severity < RAS_SEVERITY_COUNT;
}

const char *ras_color_text(enum ras_color color)
{
	static const char *const texts[] = {"unknown", "green", "yellow", "red"};

	return (unsigned)color < 4 ? texts[color] : texts[0];
}
