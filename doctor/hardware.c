/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What reports this host's hardware errors, and how twinvmd judges them: as it answers. */
#include "doctor/doctor_int.h"

#include <stdio.h>
#include <string.h>

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* The names of sources that are there, or that are not. */
static void names(const json_t *health, bool there, char *out, size_t room)
{
	json_t *o;
	size_t i, used = 0;

	out[0] = '\0';
	json_array_foreach(json_object_get(health, "sources"), i, o)
		if (json_is_true(json_object_get(o, "there")) == there && used + 1 < room)
			used += (size_t)snprintf(out + used, room - used, "%s%.40s",
						 used ? ", " : "", text(o, "name"));
}

void doctor_check_hardware(json_t *facts, json_t *checks)
{
	json_t *health = json_object_get(facts, "health");
	const char *state = text(health, "state"), *why = text(health, "reason");
	char have[320], lack[320];

	if (!*state)
		return;
	names(health, true, have, sizeof(have));
	names(health, false, lack, sizeof(lack));
	if (!strcmp(state, "red") || !strcmp(state, "yellow"))
		doctor_add(checks, "hardware", *state == 'r' ? DOCTOR_PROBLEM : DOCTOR_WARNING,
			   "it is %s: %s; 'twinvm health' has more", state, why);
	else if (!strcmp(state, "green"))
		doctor_add(checks, "hardware", DOCTOR_OK, "its errors are watched by %s%s%s%s",
			   have, *lack ? " (not by " : "", lack, *lack ? ")" : "");
	else
		doctor_add(checks, "hardware", DOCTOR_OK, "its errors are not known here: %s", why);
	if (json_is_false(json_object_get(health, "owners")))
		doctor_add(checks, "memory", DOCTOR_OK,
			   "whose page it is that fails is not seen without CAP_SYS_ADMIN: a VM is "
			   "handed over when QEMU reports the error, or a page cannot be read");
	if (json_is_true(json_object_get(health, "cec")))
		doctor_add(checks, "memory", DOCTOR_OK,
			   "the kernel takes pages with corrected errors out by itself (RAS_CEC); "
			   "until then mc_event and EDAC do not count them");
}
