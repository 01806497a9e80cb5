/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host knows, and what the others do: for pages, and for those hosts. */
#ifndef DAEMON_CLUSTER_H
#define DAEMON_CLUSTER_H

#include "daemon/daemon.h"

/* ---- cluster.c: what other hosts know ---- */
/* Real time. */
int64_t cluster_now_ms(void);
void cluster_start(struct daemon *d);
/* The configuration has changed: all are asked anew. */
void cluster_conf(struct daemon *d);
/*
 * What a host says of its hardware, by its last answer or the arbiter's list: the worse of both. By
 * name, or where that is "" by address and port. FO_UNKNOWN: that, or nothing is known. *why (may be
 * NULL): in words, until the next call; "": none.
 */
enum fo_health cluster_health(const struct daemon *d, const struct fo_candidate *host,
			      const char **why);
/* By its last answer it is in maintenance: it takes no VMs. False also when it does not answer. */
bool cluster_maintenance(const struct daemon *d, const struct fo_candidate *host);
/* When that host has moved the VM away for health last, by its last answer, in s since 1970; 0: not in
 * the last hour. */
int64_t cluster_moved_s(const struct daemon *d, const char *host, const char *vm_id);
/* What that host says of a VM, by its last answer; NULL: nothing. *answers (may be NULL): it does; *age_ms
 * (may be NULL): how old that is. Borrowed until the loop's next turn; a peer's word, to be checked. */
json_t *cluster_peer_vm(const struct daemon *d, const char *host, const char *vm_id, bool *answers,
			int64_t *age_ms);
/* Of its last answer, if it answers: what drills want back; its last failovers, as events. NULL: nothing. */
json_t *cluster_peer_drills(const struct daemon *d, const char *host);
json_t *cluster_peer_failovers(const struct daemon *d, const char *host);
/* One field of it. NULL: it does not answer, or does not have it. */
json_t *cluster_peer_shows(const struct daemon *d, const char *host, const char *name);
/* Who of them answers; with what they know. New arrays. */
json_t *cluster_sees(const struct daemon *d);
json_t *cluster_json(const struct daemon *d);

/* ---- view.c: what this host knows (docs/WIRE.md); NULL: no memory ---- */
json_t *view_json(struct daemon *d);

/* ---- onlookers.c ---- */
/* The first message of a connection was "look". */
void onlookers_admit(struct daemon *d, struct ctl *c, json_t *msg);
/* The configuration was read again: those that are no peers any more are shown nothing. */
void onlookers_conf(struct daemon *d);

#endif
