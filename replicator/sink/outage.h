/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a failover takes, as the backup sees it, by its own clock. Pure: it is given the engine's changes
 * and the moments. docs/EVENTS.md says what is and is not part of it.
 */
#ifndef REPLICATOR_SINK_OUTAGE_H
#define REPLICATOR_SINK_OUTAGE_H

#include "replicator/session/session.h"

struct outage {		  /* moments; 0: not yet */
	int64_t sign_ns;  /* the last sign of life of the primary */
	int64_t asked_ns; /* this host asked who runs the VM, or began to wait for an operator */
	int64_t won_ns;	  /* the VM became this host's */
	int64_t load_ns;  /* all that was committed is applied: QEMU is given the devices' state */
	int64_t ran_ns; /* QEMU has reported that the VM runs (or stands, when it was suspended) */
	const char *cause; /* NULL: none yet */
};
/* fo_backup_ops.changed. sign_ns: of the primary's last message. why: for which the primary has
 * stopped its VM; NULL: it has not. */
void outage_changed(struct outage *o, enum fo_backup_event ev, enum fo_backup_state to,
		    const char *why, int64_t sign_ns, int64_t now_ns);
/* For the daemon. cause "": not measured whole. */
void outage_report(const struct outage *o, struct session_outage *out);

#endif
