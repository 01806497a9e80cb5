/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster list: members and their certificates, and those that do not count any more. */
#include "cli/cluster.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static json_t *member_json(const struct cl_roster *r, const struct cl_member *m, const char *self)
{
	char print[CL_FINGERPRINT_ROOM] = "";
	int64_t from = 0, until = 0;

	if (cl_fingerprint(m->cert, print, &from, &until))
		print[0] = '\0';
	return json_pack("{ss ss sb sb ss sI sI ss}", "name", m->name, "address", m->address,
			 "self", !strcmp(m->name, self), "authority",
			 !strcmp(m->name, r->authority), "fingerprint", print, "valid_from",
			 (json_int_t)from, "expires", (json_int_t)until, "state",
			 m->leaves_s ? "leaving" : "member");
}

static json_t *list_json(const struct cl_roster *r, const char *self)
{
	json_t *members = json_array(), *gone = json_array();

	for (unsigned i = 0; i < r->members_n; i++)
		json_array_append_new(members, member_json(r, &r->members[i], self));
	for (unsigned i = 0; i < r->gone_n; i++)
		json_array_append_new(gone,
				      json_pack("{ss ss ss sI}", "name", r->gone[i].name, "serial",
						r->gone[i].serial, "state", r->gone[i].how, "time",
						(json_int_t)r->gone[i].at_s));
	return json_pack("{ss ss sI so so}", "cluster", r->id, "authority", r->authority, "version",
			 (json_int_t)r->version, "members", members, "revoked", gone);
}

static void day(int64_t s, char out[20])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 20, "%Y-%m-%d", &tm))
		tv_copy(out, 20, "?");
}

static void show(const struct cl_roster *r, const char *self)
{
	char print[CL_FINGERPRINT_ROOM], when[20];
	int64_t until;

	printf("%-16s %-24s %-12s %-10s %s\n", "HOST", "ADDRESS", "STATE", "EXPIRES",
	       "FINGERPRINT");
	for (unsigned i = 0; i < r->members_n; i++) {
		const struct cl_member *m = &r->members[i];
		const char *state = m->leaves_s			     ? "leaving"
				    : !strcmp(m->name, r->authority) ? "authority"
								     : "member";

		until = 0;
		if (cl_fingerprint(m->cert, print, NULL, &until))
			tv_copy(print, sizeof(print), "?");
		day(until, when);
		printf("%-16s %-24s %-12s %-10s %s%s\n", m->name, m->address, state, when, print,
		       strcmp(m->name, self) ? "" : "  (this host)");
	}
	for (unsigned i = 0; i < r->gone_n; i++) {
		day(r->gone[i].at_s, when);
		printf("%-16s %-24s %-12s %-10s serial %s, since %s\n", r->gone[i].name, "-",
		       r->gone[i].how, "-", r->gone[i].serial, when);
	}
}

int cluster_list(struct cli *c, const struct cluster_options *o)
{
	struct cl_roster *r = NULL;
	struct tv_err e = {0};
	struct config conf;
	int rc = cluster_config(c, o, &conf);

	if (rc)
		return rc;
	if (cl_load(conf.cluster, &r, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (!c->json)
		show(r, conf.host);
	cli_print(c, list_json(r, conf.host));
	free(r);
	return EXIT_OK;
}
