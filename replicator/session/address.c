/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of the configuration. */
#include "replicator/session/config.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

static int parse_port(const char *text, uint16_t *port)
{
	char *rest;
	long p = strtol(text, &rest, 10);

	if (*rest || rest == text || p < 1 || p > 65535)
		return -EINVAL;
	*port = (uint16_t)p;
	return 0;
}

int config_address(const char *text, char *host, size_t room, uint16_t *port)
{
	const char *colon = strrchr(text, ':'), *end = text + strlen(text);
	uint16_t p = CONFIG_DEFAULT_PORT;

	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') == colon) {
		end = colon;
	} else {
		colon = NULL; /* a bare IPv6 address has many colons and no port */
	}
	if (colon && parse_port(colon + 1, &p))
		return -EINVAL;
	if (end == text || (size_t)(end - text) >= room)
		return -EINVAL;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = 0;
	*port = p;
	return 0;
}

bool config_is_number(const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *ai;

	if (!*host || getaddrinfo(host, NULL, &hints, &ai))
		return false;
	freeaddrinfo(ai);
	return true;
}
