/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What rehearsals.c keeps of one VM, and how that is a text (rehearsals_text.c). Private to the two. */
#ifndef DAEMON_REHEARSALS_STORE_H
#define DAEMON_REHEARSALS_STORE_H

#include "daemon/rehearsals.h"

#include <sys/queue.h>

struct past {
	TAILQ_ENTRY(past) link;
	char id[33];
	uint64_t next; /* id of the next entry */
	double since;  /* kept since then; 0: not known */
	unsigned n;    /* oldest first */
	struct rehearsal list[REHEARSALS_KEPT];
};

/* Texts become UTF-8 of one line. */
void past_make_plain(struct rehearsal *r);
/* The newest of that kind with that result; any_end: or with any but RUNNING. NULL: none. */
const struct rehearsal *past_newest(const struct past *h, enum rehearsal_kind kind,
				    enum rehearsal_result result, bool any_end);
/* A fresh entry, all 0; when there is no room the oldest goes of which status shows nothing. */
struct rehearsal *past_append(struct past *h);
void past_remove_at(struct past *h, unsigned i);
/* Adds what a file has; what is damaged is passed over, its count is returned. */
unsigned past_read(const char *text, struct past *h);
/* The caller's. NULL: no memory. */
char *past_write(const struct past *h);
/* How long the JSON text of it is. */
size_t past_bytes_of(const json_t *v);

#endif
