/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: texts that are safe on a terminal, numbers for people, sparklines, lines of a screen. */
#include "cli/top.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* ---- texts ---- */
/* Columns of the character at p, of n bytes; 0: it is not printed. */
static unsigned width_of(const char *p, size_t n)
{
	mbstate_t state = {0};
	wchar_t c;
	int w;

	if (n == 1)
		return *p >= ' ' && *p <= '~';
	if (mbrtowc(&c, p, n, &state) != n)
		return 0;
	w = wcwidth(c);
	return w > 0 ? (unsigned)w : 0;
}

void top_clean(char *to, size_t room, const char *from, bool utf8)
{
	char *end = to + room - 1;

	while (*from && to < end) {
		size_t n = tv_utf8_letter(from);

		if (!n || !width_of(from, n) || (n > 1 && !utf8)) {
			*to++ = '?';
			from += n ? n : 1;
			continue;
		}
		if (to + n > end)
			break;
		memcpy(to, from, n);
		to += n;
		from += n;
	}
	*to = 0;
}

/* Bytes of as much of text as has room in so many columns; *used: columns of that. */
static size_t bytes_in(const char *text, unsigned columns, unsigned *used)
{
	const char *p = text;

	*used = 0;
	while (*p) {
		size_t n = tv_utf8_letter(p);
		unsigned w = n ? width_of(p, n) : 1;

		if (*used + w > columns)
			break;
		*used += w;
		p += n ? n : 1;
	}
	return (size_t)(p - text);
}

unsigned top_columns(const char *text)
{
	unsigned used;

	(void)bytes_in(text, UINT32_MAX, &used);
	return used;
}

void top_cut(char *to, size_t room, const char *text, unsigned columns, bool utf8)
{
	const char *dots = utf8 ? "…" : ">";
	unsigned used;
	size_t n;

	if (top_columns(text) <= columns) {
		tv_copy(to, room, text);
		return;
	}
	n = bytes_in(text, columns ? columns - 1 : 0, &used);
	if (n >= room)
		n = room - 1;
	tv_copy_n(to, room, text, n);
	if (columns)
		tv_copy(to + strlen(to), room - strlen(to), dots);
}

/* ---- numbers ---- */
void top_duration(char out[TOP_WORD], double s)
{
	unsigned long t;

	if (!(s >= 0) || s > 1e9) {
		snprintf(out, TOP_WORD, "-");
		return;
	}
	t = (unsigned long)s;
	if (s < 0.00995)
		snprintf(out, TOP_WORD, "%.1f ms", s * 1e3);
	else if (s < 0.9995)
		snprintf(out, TOP_WORD, "%.0f ms", s * 1e3);
	else if (s < 9.95)
		snprintf(out, TOP_WORD, "%.1f s", s);
	else if (s < 60)
		snprintf(out, TOP_WORD, "%lu s", t);
	else if (s < 3600)
		snprintf(out, TOP_WORD, "%lum%02lus", t / 60, t % 60);
	else if (s < 86400)
		snprintf(out, TOP_WORD, "%luh%02lum", t / 3600, t / 60 % 60);
	else
		snprintf(out, TOP_WORD, "%lud%02luh", t / 86400, t / 3600 % 24);
}

void top_bytes(char out[TOP_WORD], double bytes, const char *per)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	unsigned u = 0;

	if (!(bytes >= 0)) {
		snprintf(out, TOP_WORD, "-");
		return;
	}
	while (bytes >= 999.5 && u < sizeof(units) / sizeof(*units) - 1) {
		bytes /= 1000;
		u++;
	}
	snprintf(out, TOP_WORD, u && bytes < 9.95 ? "%.1f %s%s" : "%.0f %s%s", bytes, units[u],
		 per);
}

void top_clock(char out[TOP_WORD], double wall_s, double now_s)
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (isnan(wall_s) || !localtime_r(&t, &tm)) {
		snprintf(out, TOP_WORD, "-");
		return;
	}
	strftime(out, TOP_WORD, fabs(now_s - wall_s) < 86400 ? "%H:%M:%S" : "%b %d %H:%M", &tm);
}

/* ---- history ---- */
void top_remember(struct top_history *h, double v)
{
	h->v[h->n++ % TOP_HISTORY] = (float)v;
}

/* back: 0 is the newest. */
static double remembered(const struct top_history *h, unsigned back)
{
	if (back >= h->n || back >= TOP_HISTORY)
		return NAN;
	return (double)h->v[(h->n - 1 - back) % TOP_HISTORY];
}

double top_largest(const struct top_history *h, unsigned columns)
{
	double most = NAN, v;

	for (unsigned i = 0; i < columns; i++) {
		v = remembered(h, i);
		if (!isnan(v) && !(v <= most))
			most = v;
	}
	return most;
}

void top_spark(char *to, size_t room, const struct top_history *h, unsigned columns, double floor,
	       bool utf8)
{
	static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char *const plain[] = {"_", ".", ",", "-", "=", "+", "*", "#"};
	double top = top_largest(h, columns), v;

	if (!(top >= floor))
		top = floor;
	*to = 0;
	for (unsigned i = columns; i-- > 0;) {
		size_t n = strlen(to);
		unsigned level;

		v = remembered(h, i);
		level = isnan(v) || v < 0 || top <= 0 ? 0 : (unsigned)(v / top * 7.999);
		tv_copy(to + n, room - n, isnan(v) ? " " : (utf8 ? bars : plain)[level & 7]);
	}
}

/* ---- lines ---- */
struct top_line *top_line(struct top_page *p)
{
	struct top_line *more;

	if (p->n == p->room) {
		more = realloc(p->lines, (p->room + 64) * sizeof(*more));
		if (!more)
			abort();
		p->lines = more;
		p->room += 64;
	}
	more = &p->lines[p->n++];
	more->text[0] = 0;
	more->bytes = more->columns = more->spans = 0;
	more->width = p->width < TOP_MAX_COLUMNS ? p->width : TOP_MAX_COLUMNS;
	return more;
}

void top_put(struct top_line *l, enum top_style style, const char *text)
{
	unsigned used;
	size_t n = bytes_in(text, l->width - l->columns, &used);

	if (n > sizeof(l->text) - 1 - l->bytes)
		return;
	memcpy(l->text + l->bytes, text, n);
	if (n && style != TOP_PLAIN && l->spans < TOP_MAX_SPANS) {
		l->span[l->spans].from = l->bytes;
		l->span[l->spans].bytes = (unsigned)n;
		l->span[l->spans++].style = style;
	}
	l->bytes += (unsigned)n;
	l->columns += used;
	l->text[l->bytes] = 0;
}

void top_printf(struct top_line *l, enum top_style style, const char *fmt, ...)
{
	char text[TOP_MAX_COLUMNS * 4 + 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	top_put(l, style, text);
}

static void fill(struct top_line *l, enum top_style style, unsigned column)
{
	char blanks[TOP_MAX_COLUMNS + 1];
	unsigned n = column > l->columns ? column - l->columns : 0;

	if (n > TOP_MAX_COLUMNS)
		n = TOP_MAX_COLUMNS;
	memset(blanks, ' ', n);
	blanks[n] = 0;
	top_put(l, style, blanks);
}

void top_tab(struct top_line *l, unsigned column)
{
	fill(l, TOP_PLAIN, column);
}

void top_cell(struct top_line *l, enum top_style style, unsigned columns, bool right,
	      const char *text, bool utf8)
{
	/* What fills it looks like the text where a line is one piece. */
	bool whole = style == TOP_SELECTED || style == TOP_TITLE;
	unsigned end = l->columns + columns, used;
	char cut[TOP_MAX_COLUMNS * 4 + 1];

	top_cut(cut, sizeof(cut), text, columns, utf8);
	used = top_columns(cut);
	if (right)
		fill(l, whole ? style : TOP_PLAIN, l->columns + columns - used);
	top_put(l, style, cut);
	fill(l, whole ? style : TOP_PLAIN, end);
}

void top_page_dispose(struct top_page *p)
{
	free(p->lines);
	*p = (struct top_page){0};
}
