/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Texts of bounded length made of bytes that nobody has checked. */
#ifndef RAS_TEXT_H
#define RAS_TEXT_H

#include "common/common.h"

/* A text that grows at its end until its room is used; always terminated, and UTF-8. */
struct ras_line {
	char *text;
	size_t room, used;
};
void ras_line(struct ras_line *l, const char *fmt, ...) TV_PRINTF(2, 3);
/* The whole of a text at once. */
void ras_text(char *to, size_t room, const char *fmt, ...) TV_PRINTF(3, 4);
/*
 * Copies what a record has of a text: up to its first NUL, spaces at its end left out, '?' for each
 * byte that no terminal should get. Returns whether anything of it is left.
 */
bool ras_copy_text(char *to, size_t room, const uint8_t *from, size_t n);

#endif
