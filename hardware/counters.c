/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * EDAC drivers count in sysfs also what the kernel's collector of corrected errors (RAS_CEC) keeps
 * from them least: they are not added to what events report, one error makes both.
 */
#include "hardware/counters.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES 65536
#define CPUINFO_BYTES (8u << 20) /* of many CPUs */
#define MAX_CONTROLLERS 64

uint64_t hw_number_after(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p ? 1 : 0)
		if (!strncmp(p, name, n) && p[n] == ':')
			return strtoull(p + n + 1, NULL, 10);
	return 0;
}

/* A file of sysfs as text without the end of its line; "": there is none. */
static void text_of(const char *dir, const char *name, char *out, size_t room)
{
	TV_FREE char *text = NULL;
	char path[512];
	size_t bytes;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (tv_read_file(path, FILE_BYTES, &text, &bytes))
		return;
	text[strcspn(text, "\n")] = '\0';
	tv_mend_utf8(text);
	tv_copy(out, room, text);
}

static uint64_t count_of(const char *dir, const char *name)
{
	char text[32];

	text_of(dir, name, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* Folders called PREFIX and a number. */
static bool numbered(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);

	return !strncmp(name, prefix, n) && isdigit((unsigned char)name[n]);
}

static void dimms(const char *dir, const char *mc, json_t *list)
{
	char path[512], label[96], where[96];
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) && json_array_size(list) < HW_MAX_DIMMS) {
		if (!numbered(e->d_name, "dimm") && !numbered(e->d_name, "rank"))
			continue;
		snprintf(path, sizeof(path), "%s/%.64s", dir, e->d_name);
		text_of(path, "dimm_label", label, sizeof(label));
		text_of(path, "dimm_location", where, sizeof(where));
		json_array_append_new(
			list, json_pack("{ss ss ss ss sI sI}", "mc", mc, "dimm", e->d_name, "label",
					label, "location", where, "corrected",
					(json_int_t)count_of(path, "dimm_ce_count"), "uncorrected",
					(json_int_t)count_of(path, "dimm_ue_count")));
	}
	if (d)
		closedir(d);
}

static json_t *edac(const char *edac_dir)
{
	uint64_t corrected = 0, uncorrected = 0;
	json_t *list = json_array();
	DIR *d = opendir(edac_dir);
	struct dirent *e;
	char path[512];
	int n = 0;

	while (d && (e = readdir(d)) && n < MAX_CONTROLLERS) {
		if (!numbered(e->d_name, "mc"))
			continue;
		n++;
		snprintf(path, sizeof(path), "%s/%.64s", edac_dir, e->d_name);
		corrected += count_of(path, "ce_count");
		uncorrected += count_of(path, "ue_count");
		dimms(path, e->d_name, list);
	}
	if (d)
		closedir(d);
	return json_pack("{si sI sI so}", "controllers", n, "corrected", (json_int_t)corrected,
			 "uncorrected", (json_int_t)uncorrected, "dimms", list);
}

/* A counter of a device: a line for each kind of error, and "TOTAL_ERR_..." with the sum. False: it has none. */
static bool aer_count(const char *dir, const char *device, const char *name, uint64_t *out)
{
	TV_FREE char *text = NULL;
	char path[512];
	const char *p;
	size_t bytes;

	snprintf(path, sizeof(path), "%s/%.32s/aer_dev_%s", dir, device, name);
	if (tv_read_file(path, FILE_BYTES, &text, &bytes) || !(p = strstr(text, "TOTAL_ERR_")))
		return false;
	p += strcspn(p, " \n");
	*out = strtoull(p, NULL, 10);
	return true;
}

static json_t *aer(const char *pci_dir)
{
	uint64_t corrected = 0, nonfatal = 0, fatal = 0, c, n, f;
	json_t *list = json_array();
	DIR *d = opendir(pci_dir);
	struct dirent *e;
	int counting = 0;

	while (d && (e = readdir(d))) {
		if (!isxdigit((unsigned char)e->d_name[0]) ||
		    !aer_count(pci_dir, e->d_name, "correctable", &c) ||
		    !aer_count(pci_dir, e->d_name, "nonfatal", &n) ||
		    !aer_count(pci_dir, e->d_name, "fatal", &f))
			continue;
		counting++;
		corrected += c;
		nonfatal += n;
		fatal += f;
		if (json_array_size(list) < HW_MAX_DEVICES)
			json_array_append_new(list,
					      json_pack("{ss sI sI sI}", "device", e->d_name,
							"corrected", (json_int_t)c, "nonfatal",
							(json_int_t)n, "fatal", (json_int_t)f));
	}
	if (d)
		closedir(d);
	return json_pack("{si sI sI sI so}", "counting", counting, "corrected",
			 (json_int_t)corrected, "nonfatal", (json_int_t)nonfatal, "fatal",
			 (json_int_t)fatal, "devices", list);
}

json_t *hw_counters(const char *meminfo, const char *edac_dir, const char *pci_dir)
{
	json_t *corrupted = json_null();
	TV_FREE char *text = NULL;
	size_t bytes;

	if (!tv_read_file(meminfo, FILE_BYTES, &text, &bytes) && strstr(text, "HardwareCorrupted:"))
		corrupted = json_integer((json_int_t)hw_number_after(text, "HardwareCorrupted"));
	return json_pack("{ss so so so}", "op", "counters", "corrupted_kib", corrupted, "edac",
			 edac(edac_dir), "aer", aer(pci_dir));
}

/* Is it one of the words of a line? */
static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word), end = strcspn(line, "\n");

	for (const char *p = line; (p = strstr(p, word)) && p < line + end; p += n)
		if (p > line && p[-1] == ' ' && (p[n] == ' ' || p[n] == '\n' || !p[n]))
			return true;
	return false;
}

struct ras_cpu hw_cpu(const char *cpuinfo)
{
	struct ras_cpu out = {0};
	TV_FREE char *text = NULL;
	const char *flags;
	size_t bytes;

	if (tv_read_file(cpuinfo, CPUINFO_BYTES, &text, &bytes))
		return out;
	flags = strstr(text, "\nflags");
	if (flags) {
		out.known = true;
		out.succor = has_word(flags + 1, "succor");
		out.overflow_recov = has_word(flags + 1, "overflow_recov");
	}
	return out;
}

bool hw_is_intel(const char *cpuinfo)
{
	TV_FREE char *text = NULL;
	size_t bytes;

	return !tv_read_file(cpuinfo, CPUINFO_BYTES, &text, &bytes) && strstr(text, "GenuineIntel");
}
