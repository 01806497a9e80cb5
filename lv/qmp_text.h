/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's texts on their way through libvirt, which puts its own id on each command. They are cut and
 * not parsed: QEMU's numbers do not all fit into a parser's. Pure. Private to lv/. */
#ifndef LV_QMP_TEXT_H
#define LV_QMP_TEXT_H

#include "common/common.h"

/*
 * Takes the member "id" out of an object, if it is a string: *id is its text (without quotes, escapes
 * as they are), "" when there is none; *rest the object without it, the caller's to free. -EINVAL: it
 * is no object; -E2BIG: the id has no room.
 */
int lv_take_id(const char *object, char *id, size_t id_room, char **rest) TV_MUST_CHECK;
/* Puts it in again, in front. NULL: no memory, or no object. The caller frees it. */
char *lv_put_id(const char *object, const char *id);
/* The value of the member "execute", without quotes; false when it has none. */
bool lv_command_name(const char *object, char *out, size_t room);
/* An event as QEMU would send it, with a newline. data: an object, or NULL. The caller frees it. */
char *lv_event_text(const char *name, const char *data, long long seconds, unsigned micros);
/* An answer without an id that refuses a command. The caller frees it. */
char *lv_refusal(const char *reason);

#endif
