/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks, NICs, and what is behind serial lines, displays and sound cards. */
#include "lv/xml_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- disks ---- */

/* What QEMU has open for it: a file, a device, or something else's name. */
static char *source_of(const xmlNode *disk)
{
	static const char *const names[] = {"file", "dev", "name"};
	const xmlNode *s = lv_xml_child(disk, "source");
	char *path = NULL;

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names) && !path; i++)
		path = lv_xml_get(s, names[i]);
	return path;
}

/* libvirt numbers its nodes; NULL: the XML has no number. */
static char *node_of(const xmlNode *disk)
{
	TV_FREE char *index = lv_xml_get(lv_xml_child(disk, "source"), "index");
	char *node = NULL;

	return index && asprintf(&node, "libvirt-%.16s-format", index) > 0 ? node : NULL;
}

static const char *replica_of(struct lv_xml *x, const xmlNode *disk, const char *path)
{
	TV_FREE char *node = node_of(disk);
	const char *image = node ? lv_xml_image(x, node, NULL) : NULL;

	return image ? image : lv_xml_image(x, NULL, path);
}

/* Raw: QEMU looks into nothing for its format, and for no other file that its head may name. */
static void put_source(struct lv_xml *x, const xmlNode *in, xmlNode *out, const char *path,
		       bool writable)
{
	xmlNode *driver = lv_xml_child(out, "driver");

	if (!driver)
		driver = lv_xml_add(x, out, "driver", "name", "qemu");
	lv_xml_set(x, driver, "type", "raw");
	lv_xml_add(x, out, "source", "file", path);
	if (!writable && !lv_xml_child(out, "readonly"))
		lv_xml_add(x, out, "readonly", NULL, NULL);
	if (writable && lv_xml_child(in, "readonly"))
		lv_xml_deny(x, NULL, "the disk %.150s, which is written, as <readonly>", path);
}

bool lv_xml_disk(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	bool changes = lv_xml_is(in, "device", "cdrom") || lv_xml_is(in, "device", "floppy");
	TV_FREE char *path = source_of(in),
		     *format = lv_xml_get(lv_xml_child(in, "driver"), "type");
	const char *image;

	lv_xml_set(x, out, "type", "file");
	if (!path || !*path) {
		if (!changes)
			lv_xml_deny(x, NULL, "a <disk> without a source");
		return true;
	}
	image = replica_of(x, in, path);
	if (!image && !changes && !lv_xml_child(in, "readonly"))
		lv_xml_deny(x, "protect it again", "the disk %.150s, which is none of the VM's",
			    path);
	if (!image && format && strcmp(format, "raw") != 0)
		lv_xml_deny(x, "use a raw image", "the medium %.150s in the format %.20s", path,
			    format);
	if (image)
		put_source(x, in, out, image, true);
	else
		put_source(x, in, out, lv_xml_here(x, path, "the medium"), false);
	return true;
}

/* ---- NICs ---- */

bool lv_xml_interface(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	unsigned i = x->n_taps;

	if (lv_xml_is(in, "type", "user"))
		return true;
	x->n_taps++;
	lv_xml_set(x, out, "type", "bridge");
	if (i < x->ask->n_bridges && *x->ask->bridges[i])
		lv_xml_add(x, out, "source", "bridge", x->ask->bridges[i]);
	else
		lv_xml_deny(x, "name one in 'bridge' of this host's configuration",
			    "a NIC that has no bridge here");
	return true;
}

/* ---- serial lines: what is behind them on the primary stays there ---- */

bool lv_xml_serial(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	(void)in;
	lv_xml_set(x, out, "type", "pty");
	return true;
}

/* A socket of an agent is where libvirt puts it when none is named. */
bool lv_xml_channel(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	if (lv_xml_is(in, "type", "spicevmc"))
		return true;
	lv_xml_set(x, out, "type", lv_xml_is(in, "type", "pty") ? "pty" : "unix");
	return true;
}

/* ---- displays and sound ---- */

bool lv_xml_graphics(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	/* Others are windows on the primary's screen: the guest does not see them. */
	if (!lv_xml_is(in, "type", "vnc") && !lv_xml_is(in, "type", "spice"))
		return false;
	lv_xml_set(x, out, "autoport", "yes");
	lv_xml_set(x, out, "listen", "127.0.0.1");
	return true;
}

bool lv_xml_audio(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	(void)in;
	lv_xml_set(x, out, "type", "none");
	return true;
}

/* Whatever the primary reads from, here it is the kernel. */
bool lv_xml_rng(struct lv_xml *x, xmlNode *in, xmlNode *out)
{
	if (lv_xml_is(in, "model", "random"))
		lv_xml_set_text(x, out, "/dev/urandom");
	return true;
}
