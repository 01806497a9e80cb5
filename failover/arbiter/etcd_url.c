/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "failover/arbiter/etcd_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
#define V6_CHARS "0123456789abcdefABCDEF:.%"

/* HOST, HOST:PORT, [V6] or [V6]:PORT to HOST:PORT. */
static int parse_member(const char *text, char *out, size_t room)
{
	const char *end = text + strcspn(text, ":");
	long port = ETCD_DEFAULT_PORT;
	char *rest;

	if (*text == '[') {
		size_t n = strspn(text + 1, V6_CHARS);

		end = text + 1 + n + 1;
		if (!n || text[1 + n] != ']')
			return -EINVAL;
	} else if (end == text || strspn(text, NAME_CHARS) != (size_t)(end - text)) {
		return -EINVAL;
	}
	if (*end == ':') {
		if (!end[1] || strspn(end + 1, "0123456789") != strlen(end + 1) ||
		    strlen(end + 1) > 5)
			return -EINVAL;
		port = strtol(end + 1, &rest, 10);
	} else if (*end) {
		return -EINVAL;
	}
	if (port < 1 || port > 65535)
		return -EINVAL;
	return snprintf(out, room, "%.*s:%ld", (int)(end - text), text, port) < (int)room ? 0
											  : -EINVAL;
}

static int add_member(struct etcd_url *u, const char *text, struct tv_err *e)
{
	if (u->n == ETCD_MAX_MEMBERS)
		return tv_fail(e, -EINVAL, "at most %d etcd members can be named",
			       ETCD_MAX_MEMBERS);
	if (parse_member(text, u->member[u->n], sizeof(u->member[0])))
		return tv_fail(e, -EINVAL, "'%.100s' is not HOST:PORT", text);
	for (unsigned i = 0; i < u->n; i++)
		if (!strcmp(u->member[i], u->member[u->n]))
			return tv_fail(e, -EINVAL, "%s is named twice", u->member[i]);
	u->n++;
	return 0;
}

int etcd_url_parse(const char *url, struct etcd_url *out, struct tv_err *e)
{
	char copy[256], *p = copy, *one;
	int rc = 0;

	*out = (struct etcd_url){.tls = !strncmp(url, "etcds://", 8)};
	if ((!out->tls && strncmp(url, "etcd://", 7) != 0) || strlen(url) >= sizeof(copy))
		rc = tv_fail(e, -EINVAL, "it must be shorter than %zu characters", sizeof(copy));
	else
		strcpy(copy, url + (out->tls ? 8 : 7));
	while (!rc && (one = strsep(&p, ",")))
		rc = add_member(out, one, e);
	return rc ? tv_fail_prefix(e, rc,
				   "arbiter '%.120s' is not etcd://HOST:PORT,HOST:PORT,... or "
				   "etcds://...",
				   url)
		  : 0;
}
