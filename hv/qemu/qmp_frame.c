/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/qemu/qmp_frame.h"

#include <string.h>

/* One byte of JSON text: keeps track of strings and brackets only. */
static void step(struct hv_qmp_frame *f, char c)
{
	if (f->in_string) {
		if (f->escaped)
			f->escaped = false;
		else if (c == '\\')
			f->escaped = true;
		else if (c == '"')
			f->in_string = false;
	} else if (c == '"') {
		f->in_string = true;
	} else if (c == '{' || c == '[') {
		f->depth++;
	} else if ((c == '}' || c == ']') && f->depth > 0) {
		f->depth--;
	}
}

size_t hv_qmp_frame_end(struct hv_qmp_frame *f, const char *buf, size_t n)
{
	while (f->pos < n) {
		char c = buf[f->pos++];

		step(f, c);
		if ((c == '}' || c == ']') && !f->in_string && f->depth == 0) {
			size_t len = f->pos;

			*f = (struct hv_qmp_frame){0};
			return len;
		}
	}
	return 0;
}

static enum hv_qmp_kind kind_of_key(const char *key, size_t n)
{
	static const struct {
		const char *key;
		enum hv_qmp_kind kind;
	} kinds[] = {
		{"QMP", HV_QMP_GREETING},
		{"return", HV_QMP_RETURN},
		{"error", HV_QMP_ERROR},
		{"event", HV_QMP_EVENT},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strlen(kinds[i].key) == n && !memcmp(kinds[i].key, key, n))
			return kinds[i].kind;
	return HV_QMP_OTHER;
}

enum hv_qmp_kind hv_qmp_frame_kind(const char *obj, size_t n, const char **id, size_t *id_bytes)
{
	enum hv_qmp_kind kind = HV_QMP_OTHER;
	struct hv_qmp_frame f = {0};
	size_t start = 0, end = 0; /* the last string at depth 1 */
	bool id_next = false;

	if (id)
		*id_bytes = 0;
	for (size_t i = 0; i < n; i++) {
		bool was = f.in_string;

		step(&f, obj[i]);
		if (f.depth != 1)
			continue;
		if (!was && f.in_string) {
			start = i + 1;
		} else if (was && !f.in_string) {
			end = i;
			if (id_next && id) {
				*id = obj + start;
				*id_bytes = end - start;
			}
			id_next = false;
		} else if (!f.in_string && obj[i] == ':' && end >= start) {
			enum hv_qmp_kind k = kind_of_key(obj + start, end - start);

			kind = k != HV_QMP_OTHER ? k : kind;
			id_next = end - start == 2 && !memcmp(obj + start, "id", 2);
		}
	}
	return kind;
}
