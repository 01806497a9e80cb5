/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The folder of `twinvm cluster`: what of the configuration comes from there. */
#include "replicator/session/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void set_path(char *to, size_t room, const char *folder, const char *name)
{
	if (!to[0])
		snprintf(to, room, "%s/%s", folder, name);
}

static bool has_peer(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!strcmp(c->peers[i].name, name))
			return true;
	return false;
}

/* `peer.NAME = HOST:PORT` and `revoked = NAME`; what the operator has written counts more. */
static int set_member(struct config *c, const char *key, const char *value,
		      config_set_peer *set_peer, struct tv_err *e)
{
	size_t n = strlen(c->revoked);

	if (!strncmp(key, "peer.", 5))
		return has_peer(c, key + 5) ? 0 : set_peer(c, key + 5, value, e);
	if (strcmp(key, "revoked") != 0)
		return tv_fail(e, -EINVAL, "unknown key '%s'", key);
	if (n + strlen(value) + 2 > sizeof(c->revoked))
		return tv_fail(e, -EINVAL, "value of 'revoked' is too long");
	snprintf(c->revoked + n, sizeof(c->revoked) - n, " %s", value);
	return 0;
}

/* As cluster/roster.c writes it: `key = value`, one blank on each side, or a comment. */
static int read_members(struct config *c, config_set_peer *set_peer, struct tv_err *e)
{
	char path[sizeof(c->cluster) + 32];
	TV_FREE char *text = NULL;
	char *line, *value;
	int rc;

	snprintf(path, sizeof(path), "%s/" CONFIG_MEMBERS, c->cluster);
	rc = tv_read_file(path, 1 << 16, &text, NULL);
	if (rc)
		return tv_fail(e, rc,
			       "cluster = %s: %s; 'twinvm cluster init' or 'twinvm cluster "
			       "join' makes that folder",
			       c->cluster, tv_strerror(rc));
	for (char *p = text; !rc && (line = strsep(&p, "\n"));) {
		if (!*line || *line == '#')
			continue;
		value = strstr(line, " = ");
		if (value)
			*value = 0;
		rc = value ? set_member(c, line, value + 3, set_peer, e)
			   : tv_fail(e, -EINVAL, "'key = value' expected");
	}
	return rc ? tv_fail_prefix(e, rc, "%s", path) : 0;
}

int config_cluster(struct config *c, config_set_peer *set_peer, struct tv_err *e)
{
	if (!c->cluster[0])
		return 0;
	set_path(c->ca, sizeof(c->ca), c->cluster, "ca.crt");
	set_path(c->cert, sizeof(c->cert), c->cluster, "host.pem");
	set_path(c->key, sizeof(c->key), c->cluster, "host.pem");
	set_path(c->crl, sizeof(c->crl), c->cluster, "crl.pem");
	return read_members(c, set_peer, e);
}
