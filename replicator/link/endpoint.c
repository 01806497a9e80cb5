/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses with a port, as people and configurations write them. */
#include "replicator/link/link.h"

#include <stdio.h>
#include <string.h>

const char *repl_endpoint(char out[REPL_ENDPOINT_ROOM], const char *host, unsigned port)
{
	snprintf(out, REPL_ENDPOINT_ROOM, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	return out;
}
