/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who protects a VM next, and when; and which of two hosts that both claim a VM is the stale one.
 * Pure: no clock, no network, no memory of its own but the structs here. Part of failover.h.
 */
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

/* How a try or a session ended that did not end by the user's wish. */
enum fo_reprotect_end {
	FO_REPROTECT_LOST,    /* it had been protected, and is not any more */
	FO_REPROTECT_FAILED,  /* nobody answered, or the first copy broke off */
	FO_REPROTECT_REFUSED, /* the other host, or the VM itself, said no: asked again less often */
};

/* One per VM that runs here. Zero-initialised it wants nothing. */
struct fo_reprotect {
	bool on;	    /* to be protected whenever that is possible */
	char last[64];	    /* the backup it had last (after a failover: the old primary) */
	unsigned tries;	    /* since it was protected last, or since fo_reprotect_start */
	unsigned refusals;  /* the newest of them in a row that were refused */
	unsigned turn;	    /* whose turn it is among the others */
	int64_t due_ns;	    /* when the next try is due; INT64_MAX while one is under way */
	int64_t first_ns;   /* from fo_times: between two tries, at first, */
	int64_t last_ns;    /* later, */
	int64_t refused_ns; /* and after refusals in a row */
};
/* Begins to want protection; last names the host that is tried first ("": none is preferred). */
void fo_reprotect_start(struct fo_reprotect *k, const struct fo_times *t, const char *last,
			int64_t now_ns);
/* The user does not want it any more. */
void fo_reprotect_stop(struct fo_reprotect *k);
/* It is protected by that host. */
void fo_reprotect_protected(struct fo_reprotect *k, const char *name);
/* A try or a session has ended: sets when the next one is due. Never gives up. */
void fo_reprotect_ended(struct fo_reprotect *k, enum fo_reprotect_end how, int64_t now_ns);
/* When fo_reprotect_choose is to be called; INT64_MAX: not before something else happens. */
int64_t fo_reprotect_due(const struct fo_reprotect *k);
/*
 * A try is due: the host to try, an index into hosts, or -1 when there is none (then it is due
 * again later). The caller begins the try and tells its end with fo_reprotect_protected or
 * fo_reprotect_ended.
 */
int fo_reprotect_choose(struct fo_reprotect *k, const struct fo_candidate *hosts, unsigned n,
			int64_t now_ns);

/* ---- two hosts, one VM ---- */
struct fo_own {		     /* what this host knows of a VM */
	bool running;	     /* it runs here, as primary */
	uint64_t generation; /* of ours, when it runs here */
	uint64_t highest;    /* ever heard of; 0: never */
};
enum fo_verdict {
	FO_ACCEPT,    /* be its backup */
	FO_STALE,     /* the sender is behind: it is told the highest generation, and must stop its
		    * VM */
	FO_RUNS_HERE, /* the same generation as ours: refused, nobody is stale */
	FO_YIELD, /* ours is behind: stop our VM and keep it for inspection, then be its backup */
};
/* Another host offers itself as primary with that generation. */
enum fo_verdict fo_judge(const struct fo_own *own, uint64_t generation);

#endif
