/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device state is a row of sections: 0x04, id, name, instance, version, data, and the footer 0x7e,
 * id. Without a description (suppress-vmdesc) the data have no length: the next footer with this id
 * and the head of a section or the state's last byte behind it ends them. (Less would not do: the
 * first section has a small id, and data often have 0x7e with zeroes behind it.) Data that a guest
 * has made look like that give a list that is not true: whoever uses it comes to no harm by that.
 */
#include "hv/qemu/sections.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FULL 0x04
#define FOOTER 0x7e
#define END 0x00
#define HEADER_BYTES 8 /* magic, version */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Does a section begin there, or the end? */
static bool is_head(const struct hv_sections *w, size_t at)
{
	const uint8_t *s = w->p + at;
	size_t left = w->bytes - at, n;

	if (*s == END)
		return left == 1;
	if (left < 6 || *s != FULL || s[1] || s[2] || !(n = s[5]) || left < 14 + n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[6 + i] <= ' ' || s[6 + i] > '~')
			return false;
	return true;
}

/* Where the section behind the one with this id begins; 0: nowhere. */
static size_t behind(const struct hv_sections *w, size_t at, const uint8_t *id)
{
	while (at + 5 < w->bytes) {
		const uint8_t *f = memchr(w->p + at, FOOTER, w->bytes - at - 5);

		if (!f)
			return 0;
		at = (size_t)(f - w->p) + 1;
		if (!memcmp(f + 1, id, 4) && is_head(w, at + 4))
			return at + 4;
	}
	return 0;
}

int hv_sections_next(struct hv_sections *w)
{
	size_t begin = w->at ? w->at : HEADER_BYTES, n;
	const uint8_t *s = w->p + begin;

	if (w->bytes <= begin || !is_head(w, begin))
		return -EBADMSG;
	if (*s == END)
		return 0;
	n = s[5];
	snprintf(w->name, sizeof(w->name), "%.*s#%u", (int)n, s + 6, be32(s + 6 + n));
	w->data = begin + 14 + n;
	w->at = behind(w, w->data, s + 1);
	w->size = w->at - begin;
	return w->at ? 1 : -EBADMSG;
}

bool hv_section_is_device(const char *name)
{
	return strchr(name, '/') || !strncmp(name, "cpu_common#", 11);
}

int hv_sections_list(const uint8_t *state, size_t bytes, struct tv_buf *out)
{
	struct hv_sections w = {.p = state, .bytes = bytes};
	int rc, r = tv_buf_add(out, "\n", 1);

	while ((rc = hv_sections_next(&w)) > 0 && !r)
		if (hv_section_is_device(w.name)) {
			r = tv_buf_add(out, w.name, strlen(w.name));
			r = r ? r : tv_buf_add(out, "\n", 1);
		}
	r = r ? r : tv_buf_add(out, "", 1);
	return r ? r : rc;
}

/* "0000:00:02.0/e1000e#0" -> "e1000e at 0000:00:02.0"; "cpu_common#3" -> "CPU 3" */
static void write_name(const char *name, size_t n, char *out, size_t room)
{
	size_t slash = n, hash = n;

	for (size_t i = 0; i < n; i++) {
		slash = name[i] == '/' ? i : slash;
		hash = name[i] == '#' ? i : hash;
	}
	if (slash < hash)
		snprintf(out, room, "%.*s at %.*s", (int)(hash - slash - 1), name + slash + 1,
			 (int)slash, name);
	else
		snprintf(out, room, "CPU %.*s", (int)(n - hash - (hash < n)),
			 name + hash + (hash < n));
	tv_mend_utf8(out);
}

bool hv_sections_missing(const char *list, const char *other, char *out, size_t room)
{
	char line[HV_SECTION_NAME_BYTES + 3];

	for (const char *p = list; *p == '\n' && p[1];) {
		size_t n = strcspn(p + 1, "\n");

		snprintf(line, sizeof(line), "\n%.*s\n", (int)n, p + 1);
		if (!strstr(other, line)) {
			write_name(p + 1, n, out, room);
			return true;
		}
		p += n + 1;
	}
	return false;
}
