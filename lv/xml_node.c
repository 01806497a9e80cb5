/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small steps on libxml2's trees, and the sentence of a refusal. */
#include "lv/xml_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 256
#define TEXT_BYTES 4096
#define OTHERS ".,:;_+-=()"

#define X(s) ((const xmlChar *)(s))

void lv_xml_deny(struct lv_xml *x, const char *remedy, const char *fmt, ...)
{
	char what[300];
	va_list ap;

	if (x->rc)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	x->rc = tv_fail(x->e, TV_E_REFUSED,
			"the domain's XML has %s: not allowed in a standby on this host; %s", what,
			remedy ? remedy : "define the domain without");
}

void lv_xml_no_memory(struct lv_xml *x)
{
	if (!x->rc)
		x->rc = tv_fail(x->e, -ENOMEM, "no memory for the domain's XML");
}

bool lv_xml_is_word(const char *s)
{
	size_t n = strlen(s);

	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(OTHERS, *p))
			return false;
	/* ".." is part of paths only. */
	return n <= WORD_BYTES && !strstr(s, "..");
}

bool lv_xml_is_text(const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			return false;
	return strlen(s) <= TEXT_BYTES && tv_is_utf8(s);
}

char *lv_xml_get(const xmlNode *n, const char *name)
{
	return n ? (char *)xmlGetNoNsProp(n, X(name)) : NULL;
}

bool lv_xml_is(const xmlNode *n, const char *attr, const char *value)
{
	TV_FREE char *have = lv_xml_get(n, attr);

	return have && !strcmp(have, value);
}

void lv_xml_set(struct lv_xml *x, xmlNode *n, const char *name, const char *value)
{
	if (!n || !value || !xmlSetProp(n, X(name), X(value)))
		lv_xml_no_memory(x);
}

xmlNode *lv_xml_child(const xmlNode *n, const char *name)
{
	for (xmlNode *c = n ? n->children : NULL; c; c = c->next)
		if (c->type == XML_ELEMENT_NODE && !strcmp((const char *)c->name, name))
			return c;
	return NULL;
}

xmlNode *lv_xml_add(struct lv_xml *x, xmlNode *n, const char *name, const char *attr,
		    const char *value)
{
	xmlNode *c = n ? xmlNewChild(n, NULL, X(name), NULL) : NULL;

	if (!c)
		lv_xml_no_memory(x);
	else if (attr)
		lv_xml_set(x, c, attr, value);
	return c;
}

void lv_xml_set_text(struct lv_xml *x, xmlNode *n, const char *text)
{
	xmlNode *t = n && text ? xmlNewDocText(n->doc, X(text)) : NULL;

	if (!t || !xmlAddChild(n, t))
		lv_xml_no_memory(x);
}

char *lv_xml_text(const xmlNode *n)
{
	char *all = n ? (char *)xmlNodeGetContent(n) : NULL;
	size_t first, end;

	if (!all)
		return NULL;
	first = strspn(all, " \t\r\n");
	for (end = strlen(all); end > first && strchr(" \t\r\n", all[end - 1]); end--)
		;
	memmove(all, all + first, end - first);
	all[end - first] = '\0';
	return all;
}

void lv_xml_remove_child(xmlNode *n, const char *name)
{
	xmlNode *c;

	while ((c = lv_xml_child(n, name))) {
		xmlUnlinkNode(c);
		xmlFreeNode(c);
	}
}

const char *lv_xml_here(struct lv_xml *x, const char *path, const char *what)
{
	for (unsigned i = 0; path && i < x->ask->n_files; i++)
		if (!strcmp(x->ask->files[i].path, path))
			return x->ask->files[i].here;
	lv_xml_deny(x, "it is none of the files that came with the VM: protect it again",
		    "%s %.150s", what, path ? path : "without a file");
	return "";
}

const char *lv_xml_image(struct lv_xml *x, const char *node, const char *file)
{
	for (unsigned i = 0; i < x->ask->n_disks && i < sizeof(x->disk_found); i++) {
		const struct lv_xml_disk *d = &x->ask->disks[i];

		if (node ? strcmp(d->node, node) != 0 : !file || strcmp(d->file, file) != 0)
			continue;
		if (x->disk_found[i])
			lv_xml_deny(x, NULL, "the disk %.150s twice", file ? file : node);
		x->disk_found[i] = true;
		return d->image;
	}
	return NULL;
}
