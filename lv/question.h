/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `standby` is asked for, as JSON. Of this host: "emulator", "folder" (of replicas and copies),
 * "media" (folders), "id" (how this VM's files begin there), "vm_id", "note", "nonce", "images" and
 * "bridges". Of the peer, in the text "ask": "xml", "disks":[{"node":..,"file":..}] in the order of
 * "images", "files":[{"path":..,"copy":NAME or ""}]. Private to the program twinvm-libvirt.
 */
#ifndef LV_QUESTION_H
#define LV_QUESTION_H

#include "lv/lv_int.h"
#include "lv/xml.h"

#include <jansson.h>
#include <limits.h>

#define LV_QUESTION_BYTES (2u << 20)
#define LV_MAX_FILES 64
#define LV_MAX_DISKS 64
#define LV_MAX_NICS 64

struct lv_question {
	json_t *j, *ask; /* ours, and in it the peer's */
	struct lv_xml_ask xml;
	struct lv_xml_disk disks[LV_MAX_DISKS];
	struct lv_xml_file files[LV_MAX_FILES];
	char here[LV_MAX_FILES][PATH_MAX];
	const char *bridges[LV_MAX_NICS];
	const char *own_uuid; /* of a VM that has run here, by twinvmd's notes; "": none */
};
/*
 * Fills all of xml but owner, qmp_path and before; it points into the question, and into j and ask,
 * which live as long as the process. A file that is neither a copy of this VM nor below "media" is not
 * in it. An enum lv_exit, with its sentence.
 */
int lv_question_take(const char *text, size_t bytes, struct lv_question *out) TV_MUST_CHECK;
/* "" where there is no such text. */
const char *lv_question_text(const json_t *o, const char *key);

#endif
