/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM without a backup: which host is tried next, and when (reprotect.c). Included by failover.h. */
#ifndef FAILOVER_REPROTECT_H
#define FAILOVER_REPROTECT_H

#include "common/common.h"

struct fo_times;

/* A host that may become the backup. The caller's list is in its order of preference. */
struct fo_candidate {
	char name[64];	   /* common name of its certificate; "": any that the CA signed */
	char address[128]; /* name or address to connect to */
	uint16_t port;
};

/* How a try or a session ended, unless the operator ended it. */
enum fo_reprotect_end {
	FO_REPROTECT_LOST,    /* it was protected, and is not any more */
	FO_REPROTECT_FAILED,  /* no host answered, or the first copy was broken off */
	FO_REPROTECT_REFUSED, /* by the other host, or by a check of the VM: tried less often */
};

/* One per VM that runs here. Zero-initialised: no protection is wanted. */
struct fo_reprotect {
	bool on;	      /* protection is wanted */
	char last[64];	      /* its last backup (after a failover: the old primary) */
	unsigned tries;	      /* since it was protected last, or since fo_reprotect_start */
	unsigned refusals;    /* how many of the last tries in a row were refused */
	unsigned turn;	      /* index of the other host to try next */
	int64_t due_ns;	      /* when the next try is due; INT64_MAX while one is under way */
	int64_t first_ns;     /* from fo_times, between two tries: at first, */
	int64_t last_ns;      /* later, */
	int64_t refused_ns;   /* and after refusals in a row */
	int64_t calm_ns;      /* protected for this long: earlier losses are forgotten */
	unsigned losses;      /* how often protection was lost since it was calm last */
	int64_t since_ns;     /* when the first of these was */
	int64_t protected_ns; /* when it was protected last */
};
/* Protection is wanted; last names the host that is tried first ("": none is preferred). */
void fo_reprotect_start(struct fo_reprotect *k, const struct fo_times *t, const char *last,
			int64_t now_ns);
/* Protection is not wanted any more. */
void fo_reprotect_stop(struct fo_reprotect *k);
/* The VM is protected; name is its backup. */
void fo_reprotect_protected(struct fo_reprotect *k, const char *name, int64_t now_ns);
/* A try or a session has ended: sets when the next one is due. There is always a next one. */
void fo_reprotect_ended(struct fo_reprotect *k, enum fo_reprotect_end how, int64_t now_ns);
/* When fo_reprotect_choose is to be called; INT64_MAX: not before another event. */
int64_t fo_reprotect_due(const struct fo_reprotect *k);
/*
 * A try is due: the host to try, an index into hosts, or -1 when there is none (then it is due
 * again later). The caller begins the try and reports its end with fo_reprotect_protected
 * or fo_reprotect_ended.
 */
int fo_reprotect_choose(struct fo_reprotect *k, const struct fo_candidate *hosts, unsigned n,
			int64_t now_ns);

#endif
