/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is connected: how many at once, in all and from one address, and for how long one may take
 * for a request. evhttp has no limit of its own, and no call for the end of a connection: a table of
 * sockets is compared with what is open. Private to web/.
 */
#ifndef WEB_VISITORS_H
#define WEB_VISITORS_H

#include "common/common.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

#define VISITORS_MAX 256
#define VISITORS_OF_ADDRESS 64
#define VISITOR_SLOW_NS (10 * TV_NS_PER_S)
#define VISITOR_ADDRESS_BYTES 46

struct visitors;
/* -ENOMEM. */
int visitors_new(struct event_base *base, struct visitors **out) TV_MUST_CHECK;
void visitors_free(struct visitors *v);
/* A connection was accepted, and will have its socket in the loop's next turn; one too many is
 * closed then. */
void visitors_come(struct visitors *v, struct bufferevent *bev);
/* A whole request has come, or is answered: the time for the next one begins. */
void visitors_asked(struct visitors *v, int fd);
/* It waits, or is answered without an end: no time limit until visitors_asked. */
void visitors_stays(struct visitors *v, int fd);
unsigned visitors_count(const struct visitors *v);

#endif
