/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is not a device: name, firmware, kernel, memory, and what libvirt passes on to QEMU. */
#include "lv/xml_int.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* It becomes part of files' names. */
bool lv_xml_name_of(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *name = lv_xml_text(in);

	if (!name || !isalnum((unsigned char)*name) ||
	    !tv_copy(x->made->name, sizeof(x->made->name), name))
		lv_xml_deny(x, "rename it (virsh domrename)", "the name %.100s", name ? name : "");
	for (const char *p = name; p && *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._+-", *p))
			lv_xml_deny(x, "rename it (virsh domrename)", "the name %.100s", name);
	lv_xml_set_text(x, out, name);
	return true;
}

static bool is_uuid(const char *s)
{
	for (unsigned i = 0; i < LV_UUID_ROOM - 1; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-'
							    : !isxdigit((unsigned char)s[i]))
			return false;
	return !s[LV_UUID_ROOM - 1];
}

bool lv_xml_uuid_of(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *uuid = lv_xml_text(in);

	if (!uuid || !is_uuid(uuid) || !tv_copy(x->made->uuid, sizeof(x->made->uuid), uuid))
		lv_xml_deny(x, NULL, "the UUID %.100s", uuid ? uuid : "");
	lv_xml_set_text(x, out, uuid);
	return true;
}

/* ---- firmware and kernel ---- */

bool lv_xml_loader(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *path = lv_xml_text(in);

	if (lv_xml_is(in, "readonly", "no"))
		lv_xml_deny(x, "let it have an NVRAM of its own", "a <loader> that is written");
	if (path && *path)
		lv_xml_set_text(x, out, lv_xml_here(x, path, "the <loader>"));
	return true;
}

/* It is one of the VM's disks: what the guest writes into it is replicated. */
bool lv_xml_nvram(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	xmlNode *source = lv_xml_child(in, "source");
	TV_FREE char *path = source ? lv_xml_get(source, "file") : lv_xml_text(in);
	const char *image = path ? lv_xml_image(x, NULL, path) : NULL;

	if (!image)
		lv_xml_deny(x, "keep it in a file",
			    "the <nvram> %.150s, which is no disk of the VM", path ? path : "");
	else
		lv_xml_set_text(x, out, image);
	return true;
}

bool lv_xml_kernel(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *path = lv_xml_text(in);

	lv_xml_set_text(x, out, lv_xml_here(x, path, (const char *)in->name));
	return true;
}

bool lv_xml_emulator(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	(void)in;
	lv_xml_set_text(x, out, x->ask->emulator);
	return true;
}

/* ---- the rest ---- */

/* The live domain's is made anew (xml.c). */
bool lv_xml_memory(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	(void)x;
	(void)in;
	lv_xml_remove_child(out, "source");
	lv_xml_remove_child(out, "access");
	return true;
}

/* No core of a guest is written to this host's disk. */
bool lv_xml_crash(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *what = lv_xml_text(in);
	xmlNode *text = out->children;
	const char *dump = "coredump-";

	if (!what || strncmp(what, dump, strlen(dump)) != 0)
		return true;
	if (text) {
		xmlUnlinkNode(text);
		xmlFreeNode(text);
	}
	lv_xml_set_text(x, out, what + strlen(dump));
	return true;
}

/* Of the primary's own arguments only those that twinvm needs: the standby gets its own. */
bool lv_xml_qemu_arg(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	TV_FREE char *option = NULL;

	(void)out;
	for (xmlNode *c = in->children; c && !x->rc; c = c->next) {
		char *value;
		bool known;

		if (c->type != XML_ELEMENT_NODE)
			continue;
		value = lv_xml_get(c, "value");
		if (!option) {
			known = value && (!strcmp(value, "-qmp") || !strcmp(value, "-incoming"));
			if (!known)
				lv_xml_deny(x, NULL, "<qemu:arg value='%.100s'>",
					    value ? value : "");
			option = value;
			continue;
		}
		known = value && (!strcmp(option, "-qmp") ? !strncmp(value, "unix:", 5)
							  : !strcmp(value, "defer"));
		if (!known)
			lv_xml_deny(x, NULL, "<qemu:arg value='%s'> with %.100s", option,
				    value ? value : "");
		free(value);
		free(option);
		option = NULL;
	}
	if (option)
		lv_xml_deny(x, NULL, "<qemu:arg value='%s'> without a value", option);
	return false;
}
