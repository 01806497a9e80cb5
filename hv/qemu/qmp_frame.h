/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cutting QMP's byte stream into JSON objects, and telling answers from events, without parsing
 * them: the hot path may not allocate. Pure. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_QMP_FRAME_H
#define HV_QEMU_QMP_FRAME_H

#include <stdbool.h>
#include <stddef.h>

/* Where the scan of an unfinished object stands; zero-initialise for the start of an object. */
struct hv_qmp_frame {
	size_t pos; /* bytes of the buffer that were looked at */
	unsigned depth;
	bool in_string, escaped;
};

/*
 * Scans buf[0..n) further for the end of the object that starts at buf[0] (white space before it
 * counts as part of it). Returns its length and resets f, or 0 when more bytes are needed. By
 * brackets and not by lines, because -qmp-pretty spreads an object over many.
 */
size_t hv_qmp_frame_end(struct hv_qmp_frame *f, const char *buf, size_t n);

enum hv_qmp_kind { HV_QMP_OTHER, HV_QMP_GREETING, HV_QMP_RETURN, HV_QMP_ERROR, HV_QMP_EVENT };
/*
 * What a whole object is, by its top-level keys. *id (NULL: not wanted) points to its top-level
 * "id" inside obj, without quotes, and *id_bytes is its length; 0 when it has none.
 */
enum hv_qmp_kind hv_qmp_frame_kind(const char *obj, size_t n, const char **id, size_t *id_bytes);

#endif
