/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From "host:port" to a connected TCP socket, without blocking the loop. */
#ifndef REPLICATOR_LINK_DIAL_H
#define REPLICATOR_LINK_DIAL_H

#include "common/common.h"
#include <event2/event.h>

struct dial;
/*
 * The end of a dial, once, from the loop and never from inside dial_start: fd is a connected
 * non-blocking socket (the callee's from now on), or -1 with rc and a sentence. dial_free is
 * allowed inside.
 */
typedef void dial_done(int fd, int rc, const char *why, void *arg);

int dial_start(struct event_base *base, const char *host, uint16_t port, dial_done *done, void *arg,
	       struct dial **out, struct tv_err *e) TV_MUST_CHECK;
/* Is the name's address still being looked up? */
bool dial_is_looking_up(const struct dial *d);
/*
 * Stops and frees; done is not called. A name look-up that is under way ends in the loop's next
 * turns, which free the last of the memory. NULL is allowed.
 */
void dial_free(struct dial *d);

#endif
