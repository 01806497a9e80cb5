/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One check's result. */
#include "doctor/doctor_int.h"

#include <stdio.h>

void doctor_add(json_t *checks, const char *name, enum doctor_level level, const char *fmt, ...)
{
	static const char *const words[] = {"ok", "warning", "problem"};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(
		checks, json_pack("{ss ss ss}", "name", name, "level", words[level], "text", text));
}
