/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML is read, walked by the rules into a new document, and written: see xml.h. */
#include "lv/xml_int.h"

#include <errno.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ELEMENTS 20000
#define PATH_BYTES 200

#define X(s) ((const xmlChar *)(s))

/* ---- reading ---- */

/* No document type: so no entities, no files and no network. */
static xmlDoc *parse(const char *xml, size_t bytes, struct tv_err *e)
{
	xmlDoc *doc = NULL;
	int rc = 0;

	if (!xml || !bytes || bytes > LV_XML_BYTES || strnlen(xml, bytes) != bytes)
		rc = tv_fail(e, TV_E_REFUSED, "the domain's XML is empty or larger than %u KiB",
			     LV_XML_BYTES >> 10);
	else if (memmem(xml, bytes, "<!DOCTYPE", 9) || memmem(xml, bytes, "<!ENTITY", 8))
		rc = tv_fail(e, TV_E_REFUSED,
			     "the domain's XML has a document type: not allowed on this host");
	if (rc)
		return NULL;
	doc = xmlReadMemory(xml, (int)bytes, "domain", "UTF-8",
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
				    XML_PARSE_NOCDATA);
	if (doc && !doc->intSubset && !doc->extSubset && xmlDocGetRootElement(doc))
		return doc;
	(void)tv_fail(e, TV_E_REFUSED, "the domain's XML cannot be read");
	xmlFreeDoc(doc);
	return NULL;
}

/* ---- attributes ---- */

/* One of "name", "-name", "name:", "name=a|b" in a list: *n its length; NULL: not in it. */
static const char *spec_of(const char *list, const char *name, size_t *n)
{
	size_t bytes = strlen(name);

	for (const char *p = list; *p; p += strspn(p, " ")) {
		const char *key = p + (*p == '-');
		size_t k = strcspn(key, " =:");

		*n = strcspn(p, " ");
		if (k == bytes && !memcmp(key, name, k))
			return p;
		p += *n;
	}
	return NULL;
}

static bool is_one_of(const char *list, const char *end, const char *value)
{
	size_t bytes = strlen(value);

	while (list < end) {
		size_t n = strcspn(list, "| ");

		if (n == bytes && !memcmp(list, value, n))
			return true;
		list += n + 1;
	}
	return false;
}

static void keep_attr(struct lv_xml *x, const char *spec, size_t n, const char *element,
		      const char *name, const char *value, xmlNode *out)
{
	const char *choice = memchr(spec, '=', n);

	if (choice		 ? !is_one_of(choice + 1, spec + n, value)
	    : spec[n - 1] == ':' ? !lv_xml_is_text(value)
				 : !lv_xml_is_word(value))
		lv_xml_deny(x, NULL, "<%s %s='%.100s'>", element, name, value);
	else
		lv_xml_set(x, out, name, value);
}

static void keep_attrs(struct lv_xml *x, const struct lv_xml_rule *rule, const xmlNode *in,
		       xmlNode *out)
{
	const char *element = (const char *)in->name;

	for (xmlAttr *a = in->properties; a && !x->rc; a = a->next) {
		const char *name = (const char *)a->name, *spec;
		TV_FREE char *value = NULL;
		size_t n;

		spec = a->ns ? NULL : spec_of(rule->attrs, name, &n);
		if (!spec) {
			lv_xml_deny(x, NULL, "<%s %s%.60s=>", element,
				    a->ns && a->ns->prefix ? (const char *)a->ns->prefix : "",
				    name);
			return;
		}
		if (*spec == '-')
			continue;
		value = lv_xml_get(in, name);
		if (!value)
			lv_xml_no_memory(x);
		else
			keep_attr(x, spec, n, element, name, value, out);
	}
}

/* ---- elements ---- */

static bool is_blank(const xmlChar *s)
{
	return !s || !s[strspn((const char *)s, " \t\r\n")];
}

/* An element's own text, in one piece. */
static void keep_text(struct lv_xml *x, const struct lv_xml_rule *rule, const xmlNode *in,
		      xmlNode *out)
{
	TV_FREE char *text = NULL;
	bool any = false;

	for (const xmlNode *c = in->children; c; c = c->next) {
		if (c->type == XML_TEXT_NODE)
			any |= !is_blank(c->content);
		else if (c->type != XML_ELEMENT_NODE && c->type != XML_COMMENT_NODE)
			lv_xml_deny(x, NULL, "<%s> with what is neither text nor element",
				    in->name);
	}
	if (!any || rule->text == LV_TEXT_REPLACED || x->rc)
		return;
	text = lv_xml_text(in);
	if (!text)
		lv_xml_no_memory(x);
	else if (lv_xml_child(in, (const char *)in->name) || rule->text == LV_TEXT_NONE ||
		 (rule->text == LV_TEXT_WORD ? !lv_xml_is_word(text) : !lv_xml_is_text(text)))
		lv_xml_deny(x, NULL, "<%s>%.100s", in->name, text);
	else
		lv_xml_set_text(x, out, text);
}

/* "os/loader", below "os"; QEMU's own elements as "qemu:arg". */
static bool path_of(struct lv_xml *x, const char *above, const xmlNode *n, char path[PATH_BYTES])
{
	bool qemu = n->ns && !strcmp((const char *)n->ns->href, LV_QEMU_URI);

	if (n->ns && !qemu) {
		lv_xml_deny(x, NULL, "<%.60s> of the name space %.100s", n->name, n->ns->href);
		return false;
	}
	if (snprintf(path, PATH_BYTES, "%s%s%s%s", above, *above ? "/" : "", qemu ? "qemu:" : "",
		     n->name) < PATH_BYTES)
		return true;
	lv_xml_deny(x, NULL, "<%.60s>", n->name);
	return false;
}

static void keep(struct lv_xml *x, const struct lv_xml_rule *rule, const char *path, xmlNode *in,
		 xmlNode *out);

static void walk(struct lv_xml *x, const char *above, xmlNode *in, xmlNode *out)
{
	for (xmlNode *c = in->children; c && !x->rc; c = c->next) {
		const struct lv_xml_rule *rule;
		char path[PATH_BYTES];
		xmlNode *copy;

		if (c->type != XML_ELEMENT_NODE || !path_of(x, above, c, path))
			continue;
		rule = lv_xml_rule(path);
		if (!rule || rule->what == LV_REFUSE) {
			lv_xml_deny(x, rule ? rule->remedy : NULL, "<%s>", path);
			return;
		}
		if (rule->what == LV_DROP)
			continue;
		if (++x->n_elements > MAX_ELEMENTS) {
			lv_xml_deny(x, NULL, "more than %d elements", MAX_ELEMENTS);
			return;
		}
		copy = lv_xml_add(x, out, (const char *)c->name, NULL, NULL);
		if (copy)
			keep(x, rule, path, c, copy);
		if (copy && !x->rc && rule->hook && !rule->hook(x, c, copy)) {
			xmlUnlinkNode(copy);
			xmlFreeNode(copy);
		}
	}
}

/* The rules bound the depth. */
static void keep(struct lv_xml *x, const struct lv_xml_rule *rule, const char *path, xmlNode *in,
		 xmlNode *out)
{
	keep_attrs(x, rule, in, out);
	keep_text(x, rule, in, out);
	walk(x, path, in, out);
}

/* ---- what is ours ---- */

static void add_arg(struct lv_xml *x, xmlNode *line, xmlNs *ns, const char *arg)
{
	xmlNode *n = lv_xml_add(x, line, "arg", "value", arg);

	if (n)
		xmlSetNs(n, ns);
}

static void add_line(struct lv_xml *x, xmlNode *root, bool live)
{
	xmlNs *ns = xmlNewNs(root, X(LV_QEMU_URI), X("qemu"));
	xmlNode *line = lv_xml_add(x, root, "commandline", NULL, NULL);
	char qmp[256];

	if (!ns || !line) {
		lv_xml_no_memory(x);
		return;
	}
	xmlSetNs(line, ns);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", x->ask->qmp_path);
	add_arg(x, line, ns, "-qmp");
	add_arg(x, line, ns, qmp);
	if (live) {
		add_arg(x, line, ns, "-incoming");
		add_arg(x, line, ns, "defer");
	}
}

/* libvirt changes the owner of nothing: the images and files have the rights that they need. */
static void add_label(struct lv_xml *x, xmlNode *root)
{
	xmlNode *n;

	if (!x->ask->owner)
		return;
	n = lv_xml_add(x, root, "seclabel", "type", "static");
	lv_xml_set(x, n, "model", "dac");
	lv_xml_set(x, n, "relabel", "no");
	lv_xml_set_text(x, lv_xml_add(x, n, "label", NULL, NULL), x->ask->owner);
}

static void add_mark(struct lv_xml *x, xmlNode *root)
{
	xmlNode *mark = lv_xml_add(x, lv_xml_add(x, root, "metadata", NULL, NULL), "standby", "vm",
				   x->ask->vm_id);
	xmlNs *ns = mark ? xmlNewNs(mark, X(LV_METADATA_URI), X("twinvm")) : NULL;

	if (!ns) {
		lv_xml_no_memory(x);
		return;
	}
	xmlSetNs(mark, ns);
	if (x->ask->before) {
		xmlNode *n = lv_xml_add(x, mark, "before", NULL, NULL);

		xmlSetNs(n, ns);
		lv_xml_set_text(x, n, x->ask->before);
	}
}

/* Its main memory is a file that we map as well. */
static void add_memory(struct lv_xml *x, xmlNode *root)
{
	xmlNode *n = lv_xml_child(root, "memoryBacking");

	if (!n)
		n = lv_xml_add(x, root, "memoryBacking", NULL, NULL);
	lv_xml_add(x, n, "source", "type", "memfd");
	lv_xml_add(x, n, "access", "mode", "shared");
}

static char *text_of(struct lv_xml *x, xmlNode *root)
{
	xmlBuffer *b = xmlBufferCreate();
	char *text = NULL;

	if (b && xmlNodeDump(b, root->doc, root, 0, 1) >= 0)
		text = strdup((const char *)xmlBufferContent(b));
	xmlBufferFree(b);
	if (!text)
		lv_xml_no_memory(x);
	return text;
}

static void make_one(struct lv_xml *x, xmlNode *in, bool live, char **text)
{
	xmlDoc *doc = x->rc ? NULL : xmlNewDoc(X("1.0"));
	xmlNode *root = doc ? xmlNewNode(NULL, X("domain")) : NULL;

	if (!root) {
		lv_xml_no_memory(x);
		xmlFreeDoc(doc);
		return;
	}
	xmlDocSetRootElement(doc, root);
	memset(x->disk_found, 0, sizeof(x->disk_found));
	x->n_taps = x->n_elements = 0;
	keep(x, lv_xml_rule(""), "", in, root);
	if (!x->rc && x->n_taps != x->ask->n_bridges)
		lv_xml_deny(x, "protect it again", "%u NICs on a bridge, and the VM has %u",
			    x->n_taps, x->ask->n_bridges);
	for (unsigned i = 0; i < x->ask->n_disks && !x->rc; i++)
		if (!x->disk_found[i])
			lv_xml_deny(x, "protect it again", "no disk %.150s, which the VM has",
				    x->ask->disks[i].file);
	if (!x->rc && live)
		add_memory(x, root);
	if (!x->rc) {
		add_label(x, root);
		add_mark(x, root);
		add_line(x, root, live);
	}
	if (!x->rc)
		*text = text_of(x, root);
	xmlFreeDoc(doc);
}

/* ---- door ---- */

static xmlNode *domain_of(xmlDoc *doc, struct tv_err *e)
{
	xmlNode *root = xmlDocGetRootElement(doc);

	if (!root->ns && !strcmp((const char *)root->name, "domain"))
		return root;
	(void)tv_fail(e, TV_E_REFUSED, "the domain's XML is that of a <%.60s>", root->name);
	return NULL;
}

static void take_once(struct lv_xml *x, xmlNode *root, const char *name)
{
	xmlNode *first = lv_xml_child(root, name), *n = first;

	while (n && (n = n->next))
		if (n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name))
			lv_xml_deny(x, NULL, "<%s> twice", name);
	if (!first)
		lv_xml_deny(x, "give it one", "no <%s>", name);
}

int lv_xml_make(const struct lv_xml_ask *ask, struct lv_xml_made *out, struct tv_err *e)
{
	static const char *const once[] = {"name", "uuid", "os", "memory", "devices"};
	struct lv_xml x = {.ask = ask, .made = out, .e = e};
	xmlDoc *doc;
	xmlNode *root;

	*out = (struct lv_xml_made){0};
	if (ask->n_disks > sizeof(x.disk_found))
		return tv_fail(e, TV_E_REFUSED, "the domain has too many disks");
	doc = parse(ask->xml, ask->bytes, e);
	if (!doc)
		return TV_E_REFUSED;
	root = domain_of(doc, e);
	x.rc = root ? 0 : TV_E_REFUSED;
	for (unsigned i = 0; i < sizeof(once) / sizeof(*once) && !x.rc; i++)
		take_once(&x, root, once[i]);
	if (!x.rc) {
		make_one(&x, root, true, &out->live);
		make_one(&x, root, false, &out->clean);
	}
	xmlFreeDoc(doc);
	if (x.rc)
		lv_xml_free(out);
	return x.rc;
}

void lv_xml_free(struct lv_xml_made *m)
{
	free(m->live);
	free(m->clean);
	*m = (struct lv_xml_made){0};
}

static xmlNode *mark_in(xmlNode *metadata)
{
	for (xmlNode *n = metadata ? metadata->children : NULL; n; n = n->next)
		if (n->type == XML_ELEMENT_NODE && n->ns &&
		    !strcmp((const char *)n->ns->href, LV_METADATA_URI))
			return n;
	return NULL;
}

bool lv_xml_may_replace(const char *definition, const char *uuid, const char *own_uuid)
{
	xmlDoc *doc = parse(definition, strlen(definition), NULL);
	bool marked;

	if (!doc)
		return false;
	marked = mark_in(lv_xml_child(xmlDocGetRootElement(doc), "metadata")) != NULL;
	xmlFreeDoc(doc);
	return marked || (*own_uuid && !strcasecmp(own_uuid, uuid));
}

bool lv_xml_is_ours(const char *definition, const char *vm_id, char **before)
{
	xmlDoc *doc = parse(definition, strlen(definition), NULL);
	xmlNode *mark;
	bool ours;

	*before = NULL;
	if (!doc)
		return false;
	mark = mark_in(lv_xml_child(xmlDocGetRootElement(doc), "metadata"));
	ours = mark && lv_xml_is(mark, "vm", vm_id);
	if (ours && lv_xml_child(mark, "before"))
		*before = lv_xml_text(lv_xml_child(mark, "before"));
	xmlFreeDoc(doc);
	return ours;
}
