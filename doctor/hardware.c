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

/* Who alone can see whose a page is, and take parts out of service. */
static void check_keeper(const json_t *health, json_t *checks)
{
	const json_t *k = json_object_get(health, "keeper");
	bool pages = json_is_true(json_object_get(k, "takes_pages"));
	bool cpus = json_is_true(json_object_get(k, "stops_cpus"));

	if (!k)
		return;
	if (json_is_false(json_object_get(k, "lives")))
		doctor_add(checks, "keeper", DOCTOR_WARNING,
			   "whose page it is that fails is not seen, and nothing is taken out of "
			   "service: %s",
			   text(k, "reason"));
	else if (!json_is_true(json_object_get(health, "owners")))
		doctor_add(
			checks, "keeper", DOCTOR_OK,
			"whose page it is that fails is not seen, as twinvmd was started without "
			"CAP_SYS_ADMIN: a VM is handed over when QEMU reports the error, or a "
			"page cannot be read");
	else
		doctor_add(
			checks, "keeper", DOCTOR_OK, "this kernel can take %s out of service%s",
			pages && cpus ? "pages and CPUs"
			: pages	      ? "pages"
			: cpus	      ? "CPUs"
				      : "neither pages nor CPUs",
			pages && !json_is_true(json_object_get(k, "moves_failing_pages"))
				? "; of pages in use none, as it would panic if one failed while "
				  "it is moved (Linux 6.11 does not)"
				: "");
}

static long long number(const json_t *o, const char *part, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(o, part), key));
}

/* What counts without events: only this is left where some are lost. */
static void check_counters(const json_t *health, json_t *checks)
{
	if (json_object_get(health, "aer"))
		doctor_add(checks, "counters", DOCTOR_OK,
			   "errors are also counted by drivers of %lld memory controllers and %lld "
			   "PCI Express devices",
			   number(health, "edac", "controllers"),
			   number(health, "aer", "counting"));
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
	check_counters(health, checks);
	check_keeper(health, checks);
	if (json_is_true(json_object_get(health, "cec")))
		doctor_add(checks, "memory", DOCTOR_OK,
			   "the kernel takes pages with corrected errors out by itself (RAS_CEC); "
			   "until then mc_event and EDAC do not count them");
}
