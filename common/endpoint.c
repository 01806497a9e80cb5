/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/endpoint.h"

#include <stdio.h>
#include <string.h>

const char *tv_endpoint(char out[TV_ENDPOINT_ROOM], const char *host, unsigned port)
{
	snprintf(out, TV_ENDPOINT_ROOM, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	return out;
}
