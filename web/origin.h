/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a request mean this host, and does it come from one of its own pages? Private to web/. */
#ifndef WEB_ORIGIN_H
#define WEB_ORIGIN_H

#include "common/common.h"

/*
 * The header Host against DNS rebinding: a page of another name, whose address has become this
 * host's, would otherwise read all that this browser may. Good is an address by number, name,
 * a word of names, and localhost on a loopback address.
 */
bool origin_host_is_ours(const char *host, const char *name, const char *names, bool loopback);
/* The header Origin of a request to that Host: the same scheme, name and port. */
bool origin_is_same(const char *origin, const char *host, bool tls);

#endif
