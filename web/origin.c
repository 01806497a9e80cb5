/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "web/origin.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* NAME, NAME:PORT, [V6] or [V6]:PORT without its port; false: none of these. */
static bool split(const char *host, char *out, size_t room, bool *bracket)
{
	const char *end, *port;

	*bracket = *host == '[';
	host += *bracket;
	end = host + strcspn(host, *bracket ? "]" : ":");
	if (end == host || (*bracket && !*end))
		return false;
	port = end + *bracket;
	if (*port && (*port != ':' || !port[1] || port[1 + strspn(port + 1, "0123456789")]))
		return false;
	return tv_copy_n(out, room, host, (size_t)(end - host));
}

static bool has_name(const char *list, const char *name)
{
	size_t n = strlen(name), len;

	for (const char *p = list; *(p += strspn(p, " \t,")); p += len) {
		len = strcspn(p, " \t,");
		if (len == n && !strncasecmp(p, name, n))
			return true;
	}
	return false;
}

bool origin_host_is_ours(const char *host, const char *name, const char *names, bool loopback)
{
	struct in6_addr v6;
	struct in_addr v4;
	char bare[256];
	bool bracket;

	if (!split(host, bare, sizeof(bare), &bracket))
		return false;
	if (bracket)
		return inet_pton(AF_INET6, bare, &v6) == 1;
	if (inet_pton(AF_INET, bare, &v4) == 1 || !strcasecmp(bare, name) || has_name(names, bare))
		return true;
	return loopback && !strcasecmp(bare, "localhost");
}

bool origin_is_same(const char *origin, const char *host, bool tls)
{
	const char *scheme = tls ? "https://" : "http://";
	size_t n = strlen(scheme);

	return !strncmp(origin, scheme, n) && !strcasecmp(origin + n, host);
}
