/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rooms for spools, as many as a test wants; they live as long as its process. */
#ifndef ROOM_KIT_H
#define ROOM_KIT_H

#include "checkpoint/checkpoint.h"

#include <stdlib.h>

static inline struct ckpt_room *room_kit(const char *dir, uint64_t spool_bytes)
{
	static struct ckpt_room **rooms;
	static unsigned n;

	rooms = realloc(rooms, (n + 1) * sizeof(*rooms));
	if (!rooms || ckpt_room_new(dir, spool_bytes, 0, &rooms[n]))
		abort();
	return rooms[n++];
}

#endif
