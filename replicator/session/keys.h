/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of the configuration: one table, which the parser reads by, which says what a reload does
 * (changes.c), and which docs/CONFIG.md and docs/twinvmd.conf.example are compared with (`make lint`).
 */
#ifndef REPLICATOR_SESSION_KEYS_H
#define REPLICATOR_SESSION_KEYS_H

#include "replicator/session/config.h"

enum config_kind {
	CONFIG_TEXT,
	CONFIG_NUMBER,
	CONFIG_MIB, /* in the file; bytes in struct config */
	CONFIG_YES_NO,
	CONFIG_LISTEN,	 /* ADDRESS:PORT of this host */
	CONFIG_PEER,	 /* peer.NAME */
	CONFIG_PRIORITY, /* priority.NAME */
	CONFIG_PROBE,	 /* probe.NAME */
	CONFIG_SCHEDULE, /* WORD of all VMs, WORD.NAME of one */
};

struct config_key {
	const char *name;
	enum config_kind kind;
	enum config_effect effect;
	size_t offset, room; /* in struct config; room: of a text */
	long long min, max;  /* of a number */
};
/* In the order of the file's explanation; ends with name NULL. */
extern const struct config_key config_keys[];
/* Of [vm NAME]; offsets are in struct config_vm. */
extern const struct config_key config_vm_keys[];

/* "drill.web" is the key "drill". NULL: there is no such key. */
const struct config_key *config_key_of(const struct config_key *table, const char *name);
/* What follows the point: a peer, or a VM; "": nothing. */
const char *config_key_rest(const char *name);
/* "; did you mean 'KEY'?" for an unknown key, or "". */
void config_key_nearest(const struct config_key *table, const char *name, char *out, size_t room);

/* checks.c: what is wrong with the whole. Ends with key NULL. */
struct config_check {
	const char *key; /* it is about, and whose line is shown */
	int (*check)(const struct config *c, struct tv_err *e);
};
extern const struct config_check config_checks[];
/* The same of one VM's section. */
int config_check_vm(const struct config *c, const struct config_vm *vm,
		    struct tv_err *e) TV_MUST_CHECK;

#endif
