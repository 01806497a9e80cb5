/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: how far each disk is, for the daemon. */
#include "replicator/source/source_int.h"

#include <math.h>
#include <stdlib.h>

void src_disks_attached(struct source *s)
{
	json_t *description = json_loads(s->vm.description, 0, NULL);

	if (!s->known_disks.list)
		s->known_disks.list = calloc(SESSION_MAX_DISKS, sizeof(*s->known_disks.list));
	if (s->known_disks.list)
		s->known_disks.n = session_disks_described(description, s->known_disks.list);
	json_decref(description);
}

void src_disks_progress(struct source *s, const struct cap_event *ev)
{
	for (unsigned i = 0; i < ev->ndisks && i < s->known_disks.n; i++)
		s->known_disks.list[i].progress = (double)ev->copied[i];
}

void src_disks_report(struct source *s, const struct disks_stats *now)
{
	for (unsigned i = 0; i < s->known_disks.n; i++) {
		struct session_disk *d = &s->known_disks.list[i];

		tv_copy(d->state, sizeof(d->state), now->copied ? "mirrored" : "copying");
		d->behind_bytes = now->copied ? now->behind_bytes[i] : UINT64_MAX;
		if (now->copied)
			d->progress = NAN;
	}
	report_send(s->report, session_disks_message(s->known_disks.list, s->known_disks.n));
}
