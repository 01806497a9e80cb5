/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `end`: the standby that a note names is ended, its definition removed, and then the note. Does it
 * again and again where libvirt does not answer, for a while: a host whose libvirtd restarts is to be
 * left clean. A note that is another one's by now ends it: a new standby is not to be met.
 */
#include "lv/domains.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_S 2

static int end_domain(virConnectPtr c, const struct lv_note *n)
{
	virDomainPtr d = virDomainLookupByUUIDString(c, n->uuid);
	char *before = NULL;
	int status = LV_EXIT_OK;

	if (!d) {
		lv_folder_remove(n->name);
		return LV_EXIT_OK;
	}
	/* Somebody else's by now, or a VM that runs: not ours to end. */
	if (!strcmp(virDomainGetName(d), n->name) && lv_domain_is_ours(d, n->vm_id, &before) &&
	    !(virDomainIsActive(d) == 1 && lv_domain_has_run(d)))
		status = lv_domain_remove(c, d, before);
	free(before);
	virDomainFree(d);
	return status;
}

static int try_once(const char *path, const char *nonce)
{
	struct lv_note n;
	int status = lv_lock(path), rc;
	virConnectPtr c;

	if (status)
		return status;
	rc = lv_note_read(path, &n);
	if (rc == -ENOENT || (!rc && strcmp(n.nonce, nonce) != 0 && strcmp(nonce, "-") != 0))
		return LV_EXIT_OK;
	if (rc)
		return lv_say(LV_EXIT_FAILED, "%s: %s", path, tv_strerror(rc));
	c = lv_connect(&status);
	if (!c)
		return status;
	status = end_domain(c, &n);
	virConnectClose(c);
	if (!status && unlink(path) && errno != ENOENT)
		status = lv_say(LV_EXIT_FAILED, "%s: %s", path, strerror(errno));
	return status;
}

int lv_end_main(int argc, char **argv)
{
	int status = LV_EXIT_USAGE, seconds = argc == 4 ? atoi(argv[3]) : 0;
	int64_t until = tv_now_ns() + seconds * TV_NS_PER_S;

	if (argc != 4)
		return lv_say(status, "usage: " LV_PROGRAM " end NOTE NONCE|- SECONDS");
	for (;;) {
		status = try_once(argv[1], argv[2]);
		if (status != LV_EXIT_NO_DAEMON || tv_now_ns() >= until)
			return status;
		sleep(AGAIN_S);
	}
}
