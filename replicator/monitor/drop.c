/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sink gives up its rights (sandbox/). What is left is what any process of its user has: memory,
 * the descriptors that it holds, and the folder of the replicas (its user's).
 */
#include "replicator/monitor/monitor.h"
#include "sandbox/sandbox.h"

#include <errno.h>

#define NOBODY 65534

int monitor_drop(const struct config *c, struct tv_err *e)
{
	uid_t uid = NOBODY;
	gid_t gid = NOBODY;
	int known = config_sink_user(c, &uid, &gid, e), rc;

	if (known && known != -ENOENT)
		return known;
	rc = sandbox_drop(uid, gid, SANDBOX_PRIORITY);
	if (rc)
		return tv_fail(e, rc == -ENOENT ? -EIO : rc,
			       "%s: the sink cannot give up its rights: %s", c->host,
			       tv_strerror(rc));
	return known;
}
