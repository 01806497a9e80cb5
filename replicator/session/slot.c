/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/session/slot.h"

#include "common/common.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void place_names(const char *vm_id, unsigned place, struct place_names *out)
{
	if (!place) {
		snprintf(out->id, sizeof(out->id), "%s", vm_id);
		snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s", vm_id);
		return;
	}
	snprintf(out->id, sizeof(out->id), "%s-%u", vm_id, place);
	/* A letter that is no hexadecimal digit: never part of another VM's id. */
	snprintf(out->tap_prefix, sizeof(out->tap_prefix), "tv%.6s%c", vm_id,
		 'g' + (int)(place % PLACES));
}

/* One short write, not synced: the VM waits for it. */
void promotion_note(const char *dir, uint64_t generation)
{
	TV_CLOSE int fd = -1;
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || dprintf(fd, "%" PRIu64 "\n", generation) < 0)
		tv_log(TV_WARN, "%s cannot be written: if twinvmd dies now, the VM is lost with it",
		       path);
}

uint64_t promotion_noted(const char *dir)
{
	TV_FREE char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	return tv_read_file(path, 64, &text, NULL) ? 0 : strtoull(text, NULL, 10);
}

void promotion_forget(const char *dir)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	unlink(path);
}
