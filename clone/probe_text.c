/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a probe's text means: a built-in one, or else a command. Pure. */
#include "clone/clone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_PORT 6379
#define HTTP_PORT 80

static int port_of(const char *text, uint16_t *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !n || n > UINT16_MAX)
		return -EINVAL;
	*out = (uint16_t)n;
	return 0;
}

/* http://HOST[:PORT][/PATH]: HOST is what the request says, the guest is what is asked. */
static int url_of(const char *url, struct clone_probe *out, struct tv_err *e)
{
	const char *rest = url + strlen("http://"), *colon;
	size_t n;

	if (strncmp(url, "http://", strlen("http://")) != 0)
		return tv_fail(e, -EINVAL,
			       "the probe http:%.200s is no http:http://HOST[:PORT][/PATH]", url);
	n = strcspn(rest, "/");
	if (!n || !tv_copy_n(out->host, sizeof(out->host), rest, n) ||
	    !tv_copy(out->path, sizeof(out->path), rest[n] ? rest + n : "/"))
		return tv_fail(e, -EINVAL, "the probe http:%.200s has no host, or is too long",
			       url);
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return tv_fail(e, -EINVAL,
				       "the probe http:%.200s has a blank or a control character",
				       url);
	out->port = HTTP_PORT;
	colon = strrchr(out->host, ':');
	if (colon && port_of(colon + 1, &out->port))
		return tv_fail(e, -EINVAL, "the probe http:%.200s has no valid port", url);
	return 0;
}

int clone_probe_parse(const char *text, struct clone_probe *out, struct tv_err *e)
{
	*out = (struct clone_probe){.kind = CLONE_COMMAND};
	if (!*text)
		return tv_fail(e, -EINVAL, "an empty probe");
	if (!tv_copy(out->text, sizeof(out->text), text))
		return tv_fail(e, -EINVAL, "a probe has more than %zu bytes: put it into a script",
			       sizeof(out->text) - 1);
	if (!strcmp(text, "agent") || !strcmp(text, "screen")) {
		out->kind = *text == 'a' ? CLONE_AGENT : CLONE_SCREEN;
	} else if (!strcmp(text, "redis")) {
		out->kind = CLONE_REDIS;
		out->port = REDIS_PORT;
	} else if (!strncmp(text, "redis:", 6) || !strncmp(text, "tcp:", 4)) {
		out->kind = *text == 'r' ? CLONE_REDIS : CLONE_TCP;
		if (port_of(strchr(text, ':') + 1, &out->port))
			return tv_fail(e, -EINVAL, "the probe %.200s has no valid port", text);
	} else if (!strncmp(text, "named:", 6)) {
		out->kind = CLONE_NAMED;
	} else if (!strncmp(text, "http:", 5)) {
		out->kind = CLONE_HTTP;
		return url_of(text + 5, out, e);
	}
	return 0;
}
