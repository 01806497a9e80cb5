/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control messages as bytes: packing is trusted, unpacking is not. Pure functions. */
#ifndef REPLICATOR_LINK_CONTROL_H
#define REPLICATOR_LINK_CONTROL_H

#include "common/common.h"
#include "replicator/link/control.pb-c.h"

/*
 * Unpacks and checks one message: it must parse within a bounded amount of memory, have its oneof
 * set, and hold only valid UTF-8 without control characters in its strings. TV_E_PROTOCOL or
 * -ENOMEM otherwise. Free with control_free.
 */
int control_unpack(const uint8_t *p, size_t n, Twinvm__Control **out,
		   struct tv_err *e) TV_MUST_CHECK;
void control_free(Twinvm__Control *msg);
/*
 * Before packing: strings that control_unpack would refuse are replaced in the message, for as long
 * as it takes, by texts that it takes. -ENOMEM: none is replaced.
 */
#define CONTROL_MAX_STRINGS 16
struct control_mended {
	char **at[CONTROL_MAX_STRINGS], *was[CONTROL_MAX_STRINGS];
	unsigned n;
};
int control_mend(const Twinvm__Control *msg, struct control_mended *out) TV_MUST_CHECK;
void control_unmend(struct control_mended *m);
/* "hello", "epoch_end", ...: for sentences; never NULL. */
const char *control_name(const Twinvm__Control *msg);

#endif
