/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: who may connect
 *
 * The `peer.NAME` lines are an accept-list in both directions. A host whose certificate has another
 * name is refused inside the TLS handshake, before anything that it sends is parsed, also when this
 * host dialled it by an address (protect --to HOST:PORT, a member of the arbiter, an old primary).
 * A certificate of the CA alone is not enough: the CA may sign printers, too.
 *
 * `revoked` names hosts whose certificates do not count any more; `crl` is the CA's own list.
 * Replicators read the configuration when they start, so both count for the next session; sessions with
 * a host of `revoked` that run are ended by the daemon (daemon/roster.c).
 *
 * A private key that another user can read is no secret: it is refused wherever the configuration
 * is read.
 */
#include "replicator/session/config.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_word(const char *list, const char *separators, const char *word)
{
	size_t n = strlen(word), len;

	for (const char *p = list; *(p += strspn(p, separators)); p += len) {
		len = strcspn(p, separators);
		if (len == n && !memcmp(p, word, n))
			return true;
	}
	return false;
}

static bool is_peer(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!strcmp(c->peers[i].name, name))
			return true;
	return false;
}

int config_admit(const char *name, const void *config, struct tv_err *why)
{
	const struct config *c = config;

	if (has_word(c->revoked, " \t,", name))
		return tv_fail(why, -EKEYREVOKED, "the certificate of %s is revoked (see %s)", name,
			       c->path);
	if (is_peer(c, name))
		return 0;
	if (!strcmp(name, c->host))
		return tv_fail(why, -ELOOP, "%s is this host itself", name);
	return tv_fail(why, -EPERM, "%s is not a peer of %s: add peer.%s to its configuration",
		       name, c->host, name);
}

struct repl_tls_conf config_tls(const struct config *c)
{
	return (struct repl_tls_conf){.ca = c->ca,
				      .cert = c->cert,
				      .key = c->key,
				      .crl = c->crl,
				      .admit = config_admit,
				      .admit_arg = c};
}

int config_check_tls(const struct config *c, struct tv_err *e)
{
	struct repl_tls_conf conf = config_tls(c);
	struct repl_tls *tls;
	int rc = repl_tls_new(&conf, &tls, e);

	if (!rc)
		repl_tls_free(tls);
	return rc;
}

int config_check_arbiter(const struct config *c, const char *url, struct tv_err *e)
{
	if (!strcmp(url, c->arbiter) || has_word(c->arbiters, " \t", url))
		return 0;
	return tv_fail(e, TV_E_REFUSED,
		       "the arbiter %s is not one of this host: set arbiter, or arbiters, in %s",
		       url, c->path);
}

int config_sink_user(const struct config *c, uid_t *uid, gid_t *gid, struct tv_err *e)
{
	struct passwd p, *found = NULL;
	char room[4096];
	int rc = getpwnam_r(c->sink_user, &p, room, sizeof(room), &found);

	if (!found)
		return tv_fail(e, rc ? -rc : -ENOENT,
			       "%s has no user '%s', whose rights the receiving side of a "
			       "protection runs with: make it (useradd --system --user-group %s), "
			       "or name another one with sink_user in %s",
			       c->host, c->sink_user, c->sink_user, c->path);
	if (!p.pw_uid)
		return tv_fail(e, -EPERM, "sink_user in %s is root: name a user without rights",
			       c->path);
	*uid = p.pw_uid;
	*gid = p.pw_gid;
	return 0;
}

int config_check_secret(const char *key, const char *path, struct tv_err *e)
{
	struct stat st;

	if (!path[0] || stat(path, &st))
		return 0; /* whoever needs it names it */
	if (st.st_uid && st.st_uid != geteuid())
		return tv_fail(e, -EPERM,
			       "%s %s belongs to user %u, who can read it: chown root, chmod 600 "
			       "and use a new key",
			       key, path, (unsigned)st.st_uid);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return tv_fail(e, -EPERM, "%s %s can be read by other users (mode %03o): chmod 600",
			       key, path, (unsigned)st.st_mode & 0777);
	return 0;
}
