/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which sections a saved device state consists of. Pure. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_SECTIONS_H
#define HV_QEMU_SECTIONS_H

#include "common/common.h"

#define HV_SECTION_NAME_BYTES 272

struct hv_sections { /* a walk along them; zero-initialise it but for p and bytes */
	const uint8_t *p;
	size_t bytes, at;
	char name[HV_SECTION_NAME_BYTES]; /* "0000:00:02.0/e1000e#0": name, instance */
	size_t data;			  /* where its data begin */
	size_t size;			  /* of the section, with head and footer */
};
/* The next one: 1, 0 at the end, -EBADMSG where none can be read. */
int hv_sections_next(struct hv_sections *w);
/* Does a section stand for a device on a bus, or for a CPU? Others may come and go with what the
 * guest does. */
bool hv_section_is_device(const char *name);
/* The names of all that do, each with a line end on both sides and a NUL behind the last. -EBADMSG:
 * not all could be read; -ENOMEM, -ENOBUFS. */
int hv_sections_list(const uint8_t *state, size_t bytes, struct tv_buf *out) TV_MUST_CHECK;
/* The first name in a list that is not in the other, written as people do ("e1000e at
 * 0000:00:02.0"); false: there is none. */
bool hv_sections_missing(const char *list, const char *other, char *out, size_t room);

#endif
