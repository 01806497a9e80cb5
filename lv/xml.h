/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XML of another host's domain is made into that of a standby here. Pure. Private to lv/.
 *
 * Whoever has a certificate of the cluster may send an XML, and this host's libvirt, which is root,
 * would open, give away or run what it names. So nothing is taken out of it: a new document is made,
 * with the elements and attributes that xml_rules.c knows to be harmless, and values without a
 * slash. Every file, folder, bridge and program in it is this host's choice.
 */
#ifndef LV_XML_H
#define LV_XML_H

#include "lv/lv.h"

#define LV_XML_BYTES (1u << 20)
#define LV_NAME_ROOM 61 /* with its NUL: a socket's path has to hold it */

struct lv_xml_disk {
	const char *node, *file; /* of the primary's QEMU, and there */
	const char *image;	 /* the replica on this host, raw */
};
struct lv_xml_file {
	const char *path; /* on the primary */
	const char *here;
};
/* All but xml, and the names on the primary, was chosen or checked on this host. */
struct lv_xml_ask {
	const char *xml;
	size_t bytes;
	const char *emulator;
	const struct lv_xml_disk *disks;
	unsigned n_disks;
	const struct lv_xml_file *files; /* that may be read */
	unsigned n_files;
	const char *const *bridges; /* one for each NIC with a tap, in order; "": none */
	unsigned n_bridges;
	const char *owner; /* user and group of libvirt's QEMUs, "+64055:+64055"; NULL: no label */
	const char *qmp_path; /* the socket of twinvm's monitor */
	const char *vm_id;
	const char
		*before; /* the definition that is replaced, to be put back; NULL: there is none */
};
struct lv_xml_made {
	char *live;  /* started now: shared memory, waits for a state */
	char *clean; /* stored: what a cold start uses */
	char name[LV_NAME_ROOM], uuid[LV_UUID_ROOM];
};
/*
 * Makes both texts, which the caller frees with lv_xml_free; on failure there are none.
 * TV_E_REFUSED: the sentence names the element or attribute, and the remedy. -ENOMEM
 */
int lv_xml_make(const struct lv_xml_ask *ask, struct lv_xml_made *out,
		struct tv_err *e) TV_MUST_CHECK;
void lv_xml_free(struct lv_xml_made *m);

/*
 * Is a definition of libvirt's one that was made here, for that VM? *before, the caller's to free,
 * is the definition that it replaced, or NULL.
 */
bool lv_xml_is_ours(const char *definition, const char *vm_id, char **before);

/*
 * May a standby take the place of that definition, of the same name and UUID? Only of one that this
 * host knows as a VM of twinvm's: it was made here, for whichever VM, or own_uuid ("": none), that of a
 * VM which has run here by twinvmd's notes, is its UUID.
 */
bool lv_xml_may_replace(const char *definition, const char *uuid, const char *own_uuid);

#endif
