/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses with a port, as people and configurations write them. */
#ifndef TV_ENDPOINT_H
#define TV_ENDPOINT_H

/* HOST:PORT, an IPv6 address in brackets. Returns out. */
#define TV_ENDPOINT_ROOM 160
const char *tv_endpoint(char out[TV_ENDPOINT_ROOM], const char *host, unsigned port);

#endif
