/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is out of service, in state_dir/retired.json: a daemon that is started anew still knows which CPUs to
 * bring back, and how many pages of a DIMM are gone. After a boot everything is in service again: the file of
 * another life of the host counts for nothing.
 */
#include "daemon/daemon.h"
#include "daemon/retire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_BYTES (4 << 20)
#define MAX_PAGES 1024

static json_t *record; /* NULL: not loaded */

static void boot_id(char out[40])
{
	TV_FREE char *text = NULL;

	out[0] = '\0';
	if (!tv_read_file("/proc/sys/kernel/random/boot_id", 64, &text, NULL)) {
		text[strcspn(text, "\n")] = '\0';
		tv_copy(out, 40, text);
	}
}

static void path_of(const struct daemon *d, char *out, size_t room)
{
	snprintf(out, room, "%s/retired.json", d->conf.state_dir);
}

static json_t *list(const char *key)
{
	return json_object_get(record, key);
}

static bool is_sound(const json_t *o, const char *boot)
{
	const char *of = json_string_value(json_object_get(o, "boot"));
	struct retire_cpus cpus;
	json_t *c;
	size_t i;

	if (!of || strcmp(of, boot) != 0 || !json_is_array(json_object_get(o, "pages")) ||
	    !json_is_array(json_object_get(o, "cpus")))
		return false;
	json_array_foreach(json_object_get(o, "cpus"), i, c)
		if (!json_is_string(json_object_get(c, "cpus")) ||
		    !retire_cpus_of(json_string_value(json_object_get(c, "cpus")), &cpus))
			return false;
	return true;
}

void retire_record_load(struct daemon *d)
{
	TV_FREE char *text = NULL;
	char path[300], boot[40];

	boot_id(boot);
	path_of(d, path, sizeof(path));
	json_decref(record);
	record = NULL;
	if (!tv_read_file(path, FILE_BYTES, &text, NULL))
		record = json_loads(text, 0, NULL);
	if (record && is_sound(record, boot))
		return;
	json_decref(record);
	record = json_pack("{ss s[] s[]}", "boot", boot, "pages", "cpus");
}

static void save(struct daemon *d)
{
	TV_FREE char *text = json_dumps(record, JSON_INDENT(1));
	char path[300];

	path_of(d, path, sizeof(path));
	if (text)
		durable_write_later(d, path, text);
}

bool retire_record_page(struct daemon *d, uint64_t page, const char *dimm)
{
	char text[24];
	json_t *o;
	size_t i;

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)page);
	json_array_foreach(list("pages"), i, o)
		if (!strcmp(json_string_value(json_object_get(o, "page")) ?: "", text))
			return false;
	if (json_array_size(list("pages")) >= MAX_PAGES)
		json_array_remove(list("pages"), 0);
	json_array_append_new(list("pages"),
			      json_pack("{ss so sf}", "page", text, "dimm", events_text(dimm),
					"time", (double)time(NULL)));
	save(d);
	return true;
}

void retire_record_cpus(struct daemon *d, const struct retire_cpus *cpus, const char *why,
			json_t *threads)
{
	char text[4096];

	retire_cpus_text(cpus, text, sizeof(text));
	retire_record_forget(d, text);
	json_array_append_new(list("cpus"),
			      json_pack("{ss so sf so}", "cpus", text, "why", events_text(why),
					"time", (double)time(NULL), "threads", threads));
	save(d);
}

void retire_record_forget(struct daemon *d, const char *cpus)
{
	json_t *o;
	size_t i;

	json_array_foreach(list("cpus"), i, o)
		if (!strcmp(json_string_value(json_object_get(o, "cpus")), cpus)) {
			json_array_remove(list("cpus"), i);
			save(d);
			return;
		}
}

unsigned retire_record_dimm(const char *dimm)
{
	unsigned n = 0;
	json_t *o;
	size_t i;

	json_array_foreach(list("pages"), i, o)
		n += !strcmp(json_string_value(json_object_get(o, "dimm")) ?: "", dimm);
	return n;
}

const json_t *retire_record(void)
{
	return record;
}
