/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts that are or are not UTF-8, and how they are cut: see common.h. */
#include "common/common.h"

#include <string.h>

size_t tv_utf8_letter(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	if (p[0] < 0x80)
		return p[0] != 0;
	n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
	    : p[0] >= 0xe0 && p[0] <= 0xef ? 3
	    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
					   : 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool tv_is_utf8(const char *s)
{
	size_t n;

	while ((n = tv_utf8_letter(s)))
		s += n;
	return !*s;
}

/* Is what is left only the beginning of a letter? */
static bool is_cut(const char *s)
{
	size_t n = strlen(s);
	char whole[8];

	if (n > 3 || !(s[0] & 0x40)) /* no first byte of a letter */
		return false;
	memcpy(whole, s, n);
	for (; n < 4; n++) {
		whole[n] = (char)0x90;
		whole[n + 1] = 0;
		if (tv_utf8_letter(whole) == n + 1)
			return true;
	}
	return false;
}

void tv_mend_utf8(char *s)
{
	size_t n;

	while (*s) {
		n = tv_utf8_letter(s);
		if (!n && is_cut(s)) {
			*s = 0;
			return;
		}
		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
}

bool tv_copy_n(char *to, size_t room, const char *from, size_t n)
{
	bool fits = n < room;

	if (!fits) {
		n = room - 1;
		while (n && ((unsigned char)from[n] & 0xc0) == 0x80) /* in the middle of a letter */
			n--;
	}
	memmove(to, from ? from : "", n);
	to[n] = 0;
	return fits;
}

bool tv_copy(char *to, size_t room, const char *from)
{
	return tv_copy_n(to, room, from, from ? strlen(from) : 0);
}
