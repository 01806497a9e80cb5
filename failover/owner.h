/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts, one VM: whose it is (owner.c). Part of failover.h, which includes it. */
#ifndef FAILOVER_OWNER_H
#define FAILOVER_OWNER_H

#include "failover/failover.h"

struct fo_own {		     /* what this host knows of a VM by itself */
	bool running;	     /* it runs here, as primary */
	bool arbiter;	     /* with an arbiter: only that can say whose it is */
	uint64_t generation; /* of the instance that runs here */
	/* noted on its disk: */
	uint64_t highest; /* generation that somebody had, 0: nothing is known */
	uint64_t ran;	  /* highest generation that was this host's own, 0: none */
	char host[64];	  /* who had it; "": not known */
	char backup[64];  /* without an arbiter, when that was this host: its backup; "": none */
};
struct fo_offer {	     /* what another host offers */
	char host[64];	     /* by its certificate */
	uint64_t generation; /* as it claims */
	bool arbiter;	     /* it names one, which has been asked: */
	bool recorded;	     /* there is a record, which is: */
	struct fo_record record;
};
enum fo_verdict {
	FO_ACCEPT,    /* be its backup */
	FO_STALE,     /* the sender is behind: it is sent fo_fenced_by; it asks its arbiter */
	FO_RUNS_HERE, /* the same generation runs here: refuse, neither host is stale */
	FO_YIELD, /* this host is behind: stop and keep its VM for inspection, then be the backup */
	FO_NOT_OWNER, /* nothing confirms that the VM is the sender's: refuse, change nothing */
};
/* Another host offers itself as primary. */
enum fo_verdict fo_judge(const struct fo_own *own, const struct fo_offer *o);
/* After FO_STALE: the generation that the sender is to learn of. */
uint64_t fo_fenced_by(const struct fo_own *own, const struct fo_offer *o);

#endif
