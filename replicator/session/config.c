/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/session/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { TEXT, NUMBER, BYTES, YES_NO, ADDRESS };
struct key {
	const char *name;
	enum kind kind;
	size_t offset, room;
	long long min, max;
};
#define T(n, f)                                                                            \
	{                                                                                  \
		n, TEXT, offsetof(struct config, f), sizeof(((struct config *)0)->f), 0, 0 \
	}
#define N(n, f, lo, hi)                                          \
	{                                                        \
		n, NUMBER, offsetof(struct config, f), 0, lo, hi \
	}
#define Y(n, f)                                                \
	{                                                      \
		n, YES_NO, offsetof(struct config, f), 0, 0, 0 \
	}
#define S(n, f, lo, hi)                                         \
	{                                                       \
		n, BYTES, offsetof(struct config, f), 0, lo, hi \
	}

static const struct key keys[] = {
	T("host", host),
	{"listen", ADDRESS, 0, 0, 0, 0},
	T("address", address),
	T("socket", socket),
	T("state_dir", state_dir),
	T("replica_dir", replica_dir),
	T("run_dir", run_dir),
	T("ca", ca),
	T("cert", cert),
	T("key", key),
	T("bridge", bridge),
	T("arbiter", arbiter),
	T("arbiter_ca", arbiter_ca),
	T("arbiter_cert", arbiter_cert),
	T("arbiter_key", arbiter_key),
	T("mode", mode),
	T("watchdog", watchdog),
	T("fence_command", fence_command),
	Y("fence_required", fence_required),
	Y("reprotect", reprotect),
	N("heartbeat_ms", heartbeat_ms, 20, 60000),
	N("epoch_ms", epoch_ms, 1, 60000),
	S("staging_mib", staging_bytes, 2, 65536),
	S("cache_mib", cache_bytes, 0, 65536),
	S("spool_mib", spool_bytes, 1, 1 << 24),
};

int config_address(const char *text, char *host, size_t room, uint16_t *port)
{
	const char *colon = strrchr(text, ':'), *end = text + strlen(text);
	long p = CONFIG_DEFAULT_PORT;

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
	if (colon) {
		char *rest;

		errno = 0;
		p = strtol(colon + 1, &rest, 10);
		if (*rest || rest == colon + 1 || p < 1 || p > 65535)
			return -EINVAL;
	}
	if (end == text || (size_t)(end - text) >= room)
		return -EINVAL;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = 0;
	*port = (uint16_t)p;
	return 0;
}

static int set_number(struct config *c, const struct key *k, const char *value)
{
	char *rest;
	long long v;

	errno = 0;
	v = strtoll(value, &rest, 10);
	if (errno || *rest || rest == value || v < k->min || v > k->max)
		return -ERANGE;
	if (k->kind == NUMBER)
		*(int *)((char *)c + k->offset) = (int)v;
	else
		*(uint64_t *)((char *)c + k->offset) = (uint64_t)v << 20;
	return 0;
}

static int set(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	if (!strncmp(name, "peer.", 5)) {
		struct config_peer *p = &c->peers[c->peer_count];

		if (c->peer_count == CONFIG_MAX_PEERS || strlen(name + 5) >= sizeof(p->name))
			return tv_fail(e, -EINVAL, "too many peers or too long a name");
		snprintf(p->name, sizeof(p->name), "%s", name + 5);
		if (config_address(value, p->host, sizeof(p->host), &p->port))
			return tv_fail(e, -EINVAL, "'%s' is not HOST:PORT", value);
		c->peer_count++;
		return 0;
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct key *k = &keys[i];

		if (strcmp(k->name, name) != 0)
			continue;
		if (k->kind == ADDRESS)
			return config_address(value, c->listen_host, sizeof(c->listen_host),
					      &c->listen_port)
				       ? tv_fail(e, -EINVAL, "'%s' is not ADDRESS:PORT", value)
				       : 0;
		if (k->kind == YES_NO) {
			bool yes = !strcmp(value, "yes");

			*(bool *)((char *)c + k->offset) = yes;
			return yes || !strcmp(value, "no")
				       ? 0
				       : tv_fail(e, -EINVAL, "'%s' is yes or no", name);
		}
		if (k->kind == TEXT) {
			if (strlen(value) >= k->room)
				return tv_fail(e, -EINVAL, "value of '%s' is too long", name);
			strcpy((char *)c + k->offset, value);
			return 0;
		}
		return set_number(c, k, value)
			       ? tv_fail(e, -ERANGE, "'%s' must be a number from %lld to %lld",
					 name, k->min, k->max)
			       : 0;
	}
	return tv_fail(e, -EINVAL, "unknown key '%s'", name);
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = 0;
	return s;
}

/* A wildcard is no address to others: then the host's name must do. */
static void default_address(struct config *c)
{
	bool any = !strcmp(c->listen_host, "0.0.0.0") || !strcmp(c->listen_host, "::");
	const char *h = any ? c->host : c->listen_host;

	if (!c->address[0])
		snprintf(c->address, sizeof(c->address), strchr(h, ':') ? "[%s]:%u" : "%s:%u", h,
			 c->listen_port);
}

static int check(const struct config *c, struct tv_err *e)
{
	const struct {
		const char *key, *value;
	} must[] = {{"ca", c->ca}, {"cert", c->cert}, {"key", c->key}};

	for (size_t i = 0; i < sizeof(must) / sizeof(*must); i++)
		if (!*must[i].value)
			return tv_fail(e, -EINVAL,
				       "%s: '%s' is missing: both hosts prove who they are with "
				       "certificates of one CA",
				       c->path, must[i].key);
	if (strcmp(c->mode, "adaptive") != 0 && strcmp(c->mode, "remus") != 0 &&
	    strcmp(c->mode, "kemari") != 0)
		return tv_fail(e, -EINVAL, "%s: mode is adaptive, remus or kemari, not '%s'",
			       c->path, c->mode);
	if (c->fence_command[0] && access(c->fence_command, X_OK))
		return tv_fail(e, -ENOENT, "%s: fence_command %s is no program that can be run",
			       c->path, c->fence_command);
	if (c->watchdog[0] && access(c->watchdog, W_OK))
		return tv_fail(e, -ENOENT,
			       "%s: watchdog %s cannot be written (modprobe softdog gives a "
			       "/dev/watchdog where the hardware has none)",
			       c->path, c->watchdog);
	if (c->fence_required && !c->fence_command[0])
		return tv_fail(e, -EINVAL, "%s: fence_required needs a fence_command", c->path);
	return 0;
}

int config_load(const char *path, struct config *out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	char *line;
	int n = 0, rc;

	*out = (struct config){.listen_host = "0.0.0.0",
			       .listen_port = CONFIG_DEFAULT_PORT,
			       .socket = "/run/twinvm/twinvmd.sock",
			       .state_dir = "/var/lib/twinvm",
			       .run_dir = "/run/twinvm",
			       .arbiter = "none",
			       .heartbeat_ms = 100,
			       .epoch_ms = 25,
			       .mode = "adaptive",
			       .reprotect = true,
			       .staging_bytes = 64u << 20,
			       .cache_bytes = 32u << 20,
			       .spool_bytes = UINT64_C(16) << 30};
	snprintf(out->path, sizeof(out->path), "%s", path);
	gethostname(out->host, sizeof(out->host) - 1);
	rc = tv_read_file(path, 1 << 20, &text, NULL);
	if (rc)
		return tv_fail(e, rc, "configuration %s: %s", path, tv_strerror(rc));
	for (char *p = text; (line = strsep(&p, "\n"));) {
		char *eq, *s;

		n++;
		s = trim(line);
		if (!*s || *s == '#')
			continue;
		eq = strchr(s, '=');
		if (!eq)
			return tv_fail(e, -EINVAL, "%s:%d: 'key = value' expected", path, n);
		*eq = 0;
		rc = set(out, trim(s), trim(eq + 1), e);
		if (rc)
			return tv_fail_prefix(e, rc, "%s:%d", path, n);
	}
	if (!out->replica_dir[0] && snprintf(out->replica_dir, sizeof(out->replica_dir), "%s/disks",
					     out->state_dir) >= (int)sizeof(out->replica_dir))
		return tv_fail(e, -ENAMETOOLONG, "%s: state_dir is too long", path);
	default_address(out);
	return check(out, e);
}

struct fo_arbiter_conf config_arbiter(const struct config *c, const struct fo_times *t)
{
	return (struct fo_arbiter_conf){
		.times = t, .ca = c->arbiter_ca, .cert = c->arbiter_cert, .key = c->arbiter_key};
}

int config_peer(const struct config *c, const char *name, struct config_peer *out, struct tv_err *e)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!strcmp(c->peers[i].name, name)) {
			*out = c->peers[i];
			return 0;
		}
	snprintf(out->name, sizeof(out->name), "%s", ""); /* any name the CA signed */
	if (config_address(name, out->host, sizeof(out->host), &out->port))
		return tv_fail(
			e, -EINVAL,
			"'%s' is neither a configured peer (peer.NAME = HOST:PORT in %s) nor "
			"HOST:PORT",
			name, c->path);
	return 0;
}

static const char *const mode_names[] = {"remus", "kemari", "adaptive"};

int pace_mode_parse(const char *text, enum pace_mode *out)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(*mode_names); i++)
		if (!strcmp(text, mode_names[i])) {
			*out = (enum pace_mode)i;
			return 0;
		}
	return -EINVAL;
}

const char *pace_mode_name(enum pace_mode m)
{
	return mode_names[m];
}
