/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Of a VM that is a domain of libvirt, what the backup's libvirt needs: the domain's XML as it is, which
 * disk is which replica, and which of the files that it only reads are copies here. The XML is read in
 * a process of its own (lv/), which takes nothing of this for granted.
 */
#include "hv/standby/standby_int.h"

#include <string.h>

static const char *text_of(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_t *disks_of(json_t *desc)
{
	json_t *list = json_array(), *d;
	size_t i;

	json_array_foreach(json_object_get(desc, "disks"), i, d)
		json_array_append_new(list, json_pack("{s:s, s:s}", "node", text_of(d, "node"),
						      "file", text_of(d, "file")));
	return list;
}

static json_t *files_of(json_t *desc, const struct hv_standby_conf *conf)
{
	json_t *list = json_array(), *f;
	size_t i;

	json_array_foreach(json_object_get(desc, "copies"), i, f) {
		const char *copy = i < conf->n_copies && conf->copies ? conf->copies[i] : NULL;
		const char *slash = copy ? strrchr(copy, '/') : NULL;

		json_array_append_new(list, json_pack("{s:s, s:s}", "path", text_of(f, "path"),
						      "copy", slash ? slash + 1 : ""));
	}
	return list;
}

char *hv_standby_domain(json_t *desc, const struct hv_standby_conf *conf)
{
	const char *xml = text_of(json_object_get(desc, "libvirt"), "xml");
	char *text = NULL;
	json_t *j;

	if (!*xml)
		return NULL;
	j = json_pack("{s:s, s:o, s:o}", "xml", xml, "disks", disks_of(desc), "files",
		      files_of(desc, conf));
	if (j)
		text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	return text;
}
