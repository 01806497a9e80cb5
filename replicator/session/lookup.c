/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What others ask a configuration for. */
#include "replicator/session/config.h"

#include <errno.h>
#include <string.h>

const char *config_probe(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->probe_count; i++)
		if (!strcmp(c->probes[i].name, name))
			return c->probes[i].command;
	return NULL;
}

bool config_fails_over_hung(const struct config *c)
{
	return !strcmp(c->hung_qemu, "failover");
}

bool config_health_acts(const struct config *c)
{
	return !strcmp(c->health_action, "act");
}

const struct config_vm *config_vm(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->vm_count; i++)
		if (!strcmp(c->vms[i].name, name))
			return &c->vms[i];
	return NULL;
}

const char *config_vm_backup(const struct config *c, const char *name)
{
	const struct config_vm *own = config_vm(c, name);
	const char *only = NULL;

	/* The hosts may have the same file: the one that is named there has the VM now. */
	if (own && own->backup[0] && strcmp(own->backup, c->host) != 0)
		return own->backup;
	for (unsigned i = 0; i < c->peer_count; i++) {
		if (!strcmp(c->peers[i].name, c->host))
			continue;
		if (only)
			return NULL;
		only = c->peers[i].name;
	}
	return only;
}

int config_priority(const struct config *c, const char *vm)
{
	const struct config_vm *own = config_vm(c, vm);

	if (own && own->priority >= 0)
		return own->priority;
	for (unsigned i = c->priority_count; i-- > 0;) /* the last line counts */
		if (!strcmp(c->priorities[i].vm, vm))
			return c->priorities[i].priority;
	return FO_PRIORITY_DEFAULT;
}

bool config_has_libvirt(const struct config *c)
{
	return !strcmp(c->libvirt, "auto");
}

/* ---- what others make of it ---- */

struct fo_arbiter_conf config_arbiter(const struct config *c, const struct fo_times *t)
{
	return (struct fo_arbiter_conf){.times = t,
					.ca = c->arbiter_ca,
					.cert = c->arbiter_cert,
					.key = c->arbiter_key,
					.user = c->arbiter_user,
					.password_file = c->arbiter_password};
}

int config_peer(const struct config *c, const char *name, struct config_peer *out, struct tv_err *e)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!strcmp(c->peers[i].name, name)) {
			*out = c->peers[i];
			return out->port ? 0
					 : tv_fail(e, -EINVAL,
						   "peer.%s in %s has no address: give HOST:PORT",
						   name, c->path);
		}
	out->name[0] = 0; /* any configured peer */
	if (config_address(name, out->host, sizeof(out->host), &out->port))
		return tv_fail(
			e, -EINVAL,
			"'%s' is neither a configured peer (peer.NAME = HOST:PORT in %s) nor "
			"HOST:PORT",
			name, c->path);
	return 0;
}
