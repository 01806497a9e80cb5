/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mark of a definition that twinvm made (lv/xml.c: add_mark), for whoever is not linked with libxml2. */
#include "lv/lv.h"

#include <string.h>

#define ID_CHARS 32

/* In an attribute's value and in a text libvirt writes '<' as an entity: a '<' begins a tag. */
static bool tag_around(const char *xml, const char *at, const char **begin, const char **end)
{
	const char *p = at;

	while (p > xml && *p != '<')
		p--;
	*begin = p;
	*end = strchr(at, '>');
	return *p == '<' && *end;
}

static bool id_in(const char *begin, const char *end, char vm_id[LV_VM_ID_ROOM])
{
	const char *name = begin + 1 + strcspn(begin + 1, ": \t\n>"), *p;

	if (*name == ':')
		name++;
	else
		name = begin + 1;
	if (strncmp(name, "standby", 7) != 0 || !strchr(" \t\n", name[7]))
		return false;
	for (p = name; p + ID_CHARS + 5 < end; p++) {
		if (!strchr(" \t\n", *p) || strncmp(p + 1, "vm=", 3) != 0 ||
		    (p[4] != '"' && p[4] != '\'') ||
		    strspn(p + 5, "0123456789abcdef") != ID_CHARS || p[5 + ID_CHARS] != p[4])
			continue;
		memcpy(vm_id, p + 5, ID_CHARS);
		vm_id[ID_CHARS] = '\0';
		return true;
	}
	return false;
}

bool lv_mark_of(const char *xml, char vm_id[LV_VM_ID_ROOM])
{
	const char *begin, *end;

	for (const char *p = xml; (p = strstr(p, LV_METADATA_URI)); p++)
		if (tag_around(xml, p, &begin, &end) && id_in(begin, end, vm_id))
			return true;
	return false;
}
