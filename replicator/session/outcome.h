/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a session ends, as a type. The replicator process chooses one, reports it to the daemon in
 * its last message ("done"), and exits; what the daemon does then is one table, [role][outcome] in
 * daemon/sessions.c. A process that ends without a "done" has no outcome: it died.
 */
#ifndef REPLICATOR_SESSION_OUTCOME_H
#define REPLICATOR_SESSION_OUTCOME_H

#include <stdbool.h>

/* name, word in JSON, sentence for people */
#define SESSION_OUTCOMES(X)                                                                 \
	X(FAILED, "failed", "the session failed before the VM was protected")               \
	X(REFUSED, "refused", "the request was refused to keep the data safe")              \
	X(LEFT, "left", "protection was ended by the operator")                             \
	X(ALONE, "alone", "the backup is lost: the VM runs on unprotected, by record")      \
	X(VM_GONE, "vm-gone", "the VM's QEMU process has ended")                            \
	X(TAKEN_OVER, "taken-over", "the VM's QEMU process died: the backup takes over")    \
	X(SWITCHED, "switched", "planned switch: the backup runs the VM now")               \
	X(SWITCH_FAILED, "switch-failed", "planned switch called off: the VM runs on here") \
	X(FENCED, "fenced", "another host runs a higher generation of the VM")              \
	X(PROMOTED, "promoted", "the standby was promoted: the VM runs here")               \
	X(DISCARDED, "discarded", "the standby was ended")

#define SESSION_OUTCOME_ENUM(name, word, sentence) SESSION_##name,
enum session_outcome { SESSION_OUTCOMES(SESSION_OUTCOME_ENUM) SESSION_OUTCOME_COUNT };
/* The replicator ended without an outcome. */
#define SESSION_DIED SESSION_OUTCOME_COUNT

/* The word in JSON; never NULL. */
const char *session_outcome_name(enum session_outcome o);
/* The sentence for people; never NULL. */
const char *session_outcome_why(enum session_outcome o);
/* An unknown word is SESSION_FAILED, and an error in the log: the two sides are of versions that do
 * not fit, and the VM must be taken care of all the same. */
enum session_outcome session_outcome_parse(const char *word);

#endif
