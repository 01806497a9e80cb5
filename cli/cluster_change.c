/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster rotate, revoke, leave: certificates and members change. */
#include "cli/cluster.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WAIT_S 60

/* ---- waiting for the authority's answer ---- */
typedef bool done_fn(const char *dir, const char *host, const char *before);

/* Looks when a file of the folder has changed. */
static bool await_roster(const char *dir, const char *host, const char *before, done_fn *done,
			 int seconds)
{
	TV_CLOSE int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int64_t end = tv_now_ns() + seconds * TV_NS_PER_S, left;
	char events[4096];

	if (fd < 0 || inotify_add_watch(fd, dir, IN_MOVED_TO | IN_DELETE) < 0)
		return false;
	while (!done(dir, host, before) && (left = end - tv_now_ns()) > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, (int)(left / TV_NS_PER_MS) + 1) > 0 &&
		    read(fd, events, sizeof(events)) < 0 && errno != EAGAIN)
			return false;
	}
	return done(dir, host, before);
}

static int own_print(const char *dir, char out[CL_FINGERPRINT_ROOM], struct tv_err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/host.pem", dir);
	return cl_fingerprint_file(path, out, e);
}

static bool has_another(const char *dir, const char *host, const char *before)
{
	char print[CL_FINGERPRINT_ROOM];
	struct tv_err e;

	(void)host;
	return !own_print(dir, print, &e) && strcmp(print, before) != 0;
}

/* The authority has read it. */
static bool has_left(const char *dir, const char *host, const char *before)
{
	TV_FREE struct cl_roster *r = NULL;
	const struct cl_member *me;
	struct tv_err e;

	(void)before;
	if (cl_load(dir, &r, &e))
		return false;
	me = cl_member_of(r, host);
	return !me || me->leaves_s;
}

static int no_answer(struct cli *c, const struct config *conf, const char *what)
{
	TV_FREE struct cl_roster *r = NULL;
	struct tv_err e = {0};

	if (cl_load(conf->cluster, &r, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	return cli_fail(
		c, EXIT_FAILED,
		"%s has not answered: does twinvmd run here and there ('twinvm status'), and do "
		"the two reach each other? %s",
		r->authority, what);
}

/* ---- rotate ---- */
int cluster_rotate(struct cli *c, const struct cluster_options *o)
{
	char before[CL_FINGERPRINT_ROOM], after[CL_FINGERPRINT_ROOM];
	struct tv_err e = {0};
	struct config conf;
	int rc = cluster_config(c, o, &conf);

	if (rc)
		return rc;
	rc = own_print(conf.cluster, before, &e);
	if (!rc)
		rc = cl_ask(conf.cluster, conf.host, "renew", &e);
	if (rc)
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	cluster_changed(c);
	if (!await_roster(conf.cluster, conf.host, before, has_another,
			  o->seconds ? o->seconds : WAIT_S))
		return no_answer(c, &conf, "What was asked for stays: it comes when they do");
	cluster_changed(c);
	if (own_print(conf.cluster, after, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (!c->json)
		printf("%s has a new key and certificate; its fingerprint:\n  %s\n", conf.host,
		       after);
	cli_print(c, json_pack("{ss ss}", "host", conf.host, "fingerprint", after));
	return EXIT_OK;
}

/* ---- revoke ---- */
int cluster_revoke(struct cli *c, const struct cluster_options *o)
{
	struct tv_err e = {0};
	struct config conf;
	int rc = cluster_config(c, o, &conf);

	if (rc)
		return rc;
	if (cl_revoke(conf.cluster, o->host, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	cluster_changed(c);
	if (!c->json)
		printf("%s is revoked: this host refuses it from now on, the others as soon as they "
		       "have asked this one\n",
		       o->host);
	cli_print(c, json_pack("{ss}", "revoked", o->host));
	return EXIT_OK;
}

/* ---- leave ---- */
/* Why it cannot leave; 0: it can. */
static int check_leaving(struct cli *c, const struct config *conf)
{
	json_t *status = cli_ask(c, json_pack("{ss}", "op", "status"));
	size_t vms = json_array_size(json_object_get(status, "vms"));
	TV_FREE struct cl_roster *r = NULL;
	struct tv_err e = {0};

	json_decref(status);
	if (vms)
		return cli_fail(
			c, EXIT_REFUSED,
			"%zu VMs run here with a backup, or have their backup here ('twinvm "
			"status'): move or unprotect them first, or give --force",
			vms);
	if (cl_load(conf->cluster, &r, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (cl_is_authority(conf->cluster) && r->members_n > 1)
		return cli_fail(
			c, EXIT_REFUSED,
			"%s has the key of the CA, and %u other hosts need it: they have to "
			"leave first, or give --force",
			conf->host, r->members_n - 1);
	return EXIT_OK;
}

int cluster_leave(struct cli *c, const struct cluster_options *o)
{
	struct tv_err e = {0};
	struct config conf;
	bool confirmed;
	int rc = cluster_config(c, o, &conf);

	if (!rc && !o->force)
		rc = check_leaving(c, &conf);
	if (rc)
		return rc;
	confirmed = cl_is_authority(conf.cluster);
	if (!confirmed) {
		if (cl_ask(conf.cluster, conf.host, "leave", &e))
			return cli_fail(c, EXIT_FAILED, "%s", e.text);
		cluster_changed(c);
		confirmed = await_roster(conf.cluster, conf.host, "", has_left,
					 o->seconds ? o->seconds : WAIT_S);
	}
	if (!confirmed && !o->force)
		return no_answer(
			c, &conf,
			"--force leaves all the same; give 'twinvm cluster revoke' there then");
	rc = cl_forget(conf.cluster, &e);
	if (!rc)
		rc = cl_conf_leave(conf.path, &e);
	if (rc)
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (!c->json)
		printf("%s has left the cluster; its keys are removed. Stop twinvmd, which has them in "
		       "memory: it does not start again without a cluster%s\n",
		       conf.host,
		       confirmed ? "" : "; the other hosts do not know: revoke it there");
	cli_print(c, json_pack("{ss sb}", "left", conf.host, "confirmed", (int)confirmed));
	return EXIT_OK;
}
