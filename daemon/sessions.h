/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon does when a session has ended, as a table. */
#ifndef DAEMON_SESSIONS_H
#define DAEMON_SESSIONS_H

#include "replicator/session/session.h"

/* name, what it means */
#define SESSION_NEXT(X)                                                                        \
	X(RECOVER, "a process records that the VM runs alone and releases it; output is "      \
		   "dropped meanwhile")                                                        \
	X(FENCE, "a process stops this host's instance for good; output is dropped meanwhile") \
	X(ALONE, "the VM keeps running here; a new backup is looked for")                      \
	X(FORGET, "the entry is forgotten; a session that waits for that is admitted")         \
	X(PRIMARY, "the standby is the VM now, this host its primary")

#define SESSION_NEXT_ENUM(name, meaning) NEXT_##name,
enum session_next { SESSION_NEXT(SESSION_NEXT_ENUM) NEXT_COUNT };

struct session_rule {
	enum session_next next; /* NEXT_FENCE takes its place: session_next() */
	bool stale;		/* another host runs the VM: on disk before anything else is done */
	bool switched;		/* by plan: a waiting command gets the other host's name */
	bool lost;		/* it was protected until now (FO_REPROTECT_LOST) */
	bool forget_record;	/* the arbiter's record is not needed if the backup has parted */
	bool reap;		/* the standby's process may be left */
	int rc;			/* NEXT_FORGET: for a waiting command, if it did not ask for that */
};

/* how: an outcome, or SESSION_DIED. Never NULL. */
const struct session_rule *session_rule(enum session_role role, unsigned how);
/*
 * The rule's next, or NEXT_FENCE: on a primary whose generation is stale (a higher one is known),
 * whatever its session's outcome, unless the VM's process has ended in good order.
 */
enum session_next session_next(enum session_role role, unsigned how, bool stale, bool lives);

#endif
