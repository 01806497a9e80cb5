/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind xml.h share. Private to lv/. */
#ifndef LV_XML_INT_H
#define LV_XML_INT_H

#include "lv/xml.h"

#include <libxml/tree.h>

#define LV_QEMU_URI "http://libvirt.org/schemas/domain/qemu/1.0"

/* One rewriting. After a failure rc is set, and e says why. */
struct lv_xml {
	const struct lv_xml_ask *ask;
	struct lv_xml_made *made;
	bool disk_found[64];
	unsigned n_taps, n_elements;
	int rc;
	struct tv_err *e;
};

/* ---- xml_rules.c ---- */
/*
 * After an element and what is in it were copied: in is the peer's, out the copy. Returns whether
 * the copy stays; a failure is in x.
 */
typedef bool lv_xml_hook(struct lv_xml *x, xmlNode *in, xmlNode *out);
enum lv_xml_text {
	LV_TEXT_NONE, /* but blanks */
	LV_TEXT_WORD,
	LV_TEXT_FREE,	 /* printable */
	LV_TEXT_REPLACED /* not copied: the hook's */
};
struct lv_xml_rule {
	const char *path; /* below <domain>; "*" stands for one element's name */
	enum { LV_KEEP, LV_DROP, LV_REFUSE } what;
	/* of LV_KEEP: names, with blanks between. "-name" is left out; "name:" is free text;
	 * "name=a|b" has one of these values; all others are words. */
	const char *attrs;
	enum lv_xml_text text;
	lv_xml_hook *hook;
	const char *remedy; /* of LV_REFUSE */
};
/* NULL: there is none, it is refused. */
const struct lv_xml_rule *lv_xml_rule(const char *path);
const struct lv_xml_rule *lv_xml_rules(unsigned *n);

/* ---- xml_node.c ---- */
/* Sets rc (the first failure stays) and the sentence: "the domain's XML has WHAT: not allowed in a
 * standby on this host; REMEDY". remedy NULL: to define the domain without. */
void lv_xml_deny(struct lv_xml *x, const char *remedy, const char *fmt, ...) TV_PRINTF(3, 4);
void lv_xml_no_memory(struct lv_xml *x);
/* A name, a number, a list of them: no slash, no blank, nothing that a shell or a path knows. */
bool lv_xml_is_word(const char *s);
/* Printable, at most 4096 bytes. */
bool lv_xml_is_text(const char *s);
/* An attribute's value, to be freed by the caller; NULL: it has none. */
char *lv_xml_get(const xmlNode *n, const char *name);
bool lv_xml_is(const xmlNode *n, const char *attr, const char *value);
void lv_xml_set(struct lv_xml *x, xmlNode *n, const char *name, const char *value);
/* The first element of that name in n; NULL: none. */
xmlNode *lv_xml_child(const xmlNode *n, const char *name);
/* A new element at the end of n, with an attribute where attr is not NULL. */
xmlNode *lv_xml_add(struct lv_xml *x, xmlNode *n, const char *name, const char *attr,
		    const char *value);
void lv_xml_set_text(struct lv_xml *x, xmlNode *n, const char *text);
/* The text in an element, without blanks around it; the caller frees it. */
char *lv_xml_text(const xmlNode *n);
void lv_xml_remove_child(xmlNode *n, const char *name);
/* What a file of the primary is on this host; fails where it is none that the VM was sent with. */
const char *lv_xml_here(struct lv_xml *x, const char *path, const char *what);
/* The replica of a disk, by its node (may be NULL) or else its file; NULL: it is none of them. */
const char *lv_xml_image(struct lv_xml *x, const char *node, const char *file);

/* ---- xml_devices.c, xml_domain.c ---- */
lv_xml_hook lv_xml_disk, lv_xml_interface, lv_xml_rng;
lv_xml_hook lv_xml_serial, lv_xml_channel, lv_xml_graphics, lv_xml_audio;
lv_xml_hook lv_xml_name_of, lv_xml_uuid_of, lv_xml_loader, lv_xml_nvram, lv_xml_kernel,
	lv_xml_emulator, lv_xml_memory, lv_xml_crash, lv_xml_qemu_arg;

#endif
