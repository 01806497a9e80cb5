/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster: what its commands share. Private to cli/. */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include "cli/cli.h"
#include "cluster/cluster.h"
#include "replicator/session/session.h"

struct cluster_options {
	const char *what; /* init, invite, ... */
	const char *host; /* the operand: HOST to revoke, or HOST:PORT to join; NULL: none */
	const char *name, *listen, *address, *arbiter, *config, *dir, *token, *fingerprint;
	int days, seconds, port;
	bool background, no_invite, force;
};

/* ---- cluster_make.c ---- */
int cluster_init(struct cli *c, const struct cluster_options *o);
int cluster_invite(struct cli *c, const struct cluster_options *o);
int cluster_join(struct cli *c, const struct cluster_options *o);

/* ---- cluster_change.c ---- */
int cluster_rotate(struct cli *c, const struct cluster_options *o);
int cluster_revoke(struct cli *c, const struct cluster_options *o);
int cluster_leave(struct cli *c, const struct cluster_options *o);

/* ---- cluster_list.c ---- */
int cluster_list(struct cli *c, const struct cluster_options *o);

/* ---- cluster_member.c ---- */
/* The configuration, and that it has a folder of a cluster; an exit status, which was reported. */
int cluster_config(struct cli *c, const struct cluster_options *o, struct config *conf);
/* twinvmd, if it runs, reads the folder anew. */
void cluster_changed(struct cli *c);

#endif
