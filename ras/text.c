/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ras/text.h"

#include <stdio.h>
#include <string.h>

static void add(struct ras_line *l, const char *fmt, va_list ap)
{
	int n = vsnprintf(l->text + l->used, l->room - l->used, fmt, ap);

	if (n < 0)
		n = 0;
	l->used += (size_t)n < l->room - l->used ? (size_t)n : l->room - l->used - 1;
	tv_mend_utf8(l->text);
	l->used = strlen(l->text);
}

void ras_line(struct ras_line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(l, fmt, ap);
	va_end(ap);
}

void ras_text(char *to, size_t room, const char *fmt, ...)
{
	struct ras_line l = {to, room, 0};
	va_list ap;

	va_start(ap, fmt);
	add(&l, fmt, ap);
	va_end(ap);
}

bool ras_copy_text(char *to, size_t room, const uint8_t *from, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n && from[i] && used + 1 < room; i++)
		to[used++] = from[i] >= ' ' && from[i] < 127 ? (char)from[i] : '?';
	while (used && to[used - 1] == ' ')
		used--;
	to[used] = 0;
	return used > 0;
}
