/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * still: one committed epoch of a VM that stands still, while the VM runs and is protected. The
 * sink of the VM makes it (replicator/sink/still.c); a process that wants to read it, the holder,
 * gets one end of a socket from twinvmd (daemon/freeze.h) and calls this room.
 *
 * Call order for a holder: still_receive, which waits until memory is copied; then it reads, or
 *   starts a QEMU from it; then still_close. As long as the holder has the socket, the still lives,
 *   but for: a promotion begins (a failover comes first), the session ends, its time is over, what
 *   it has to keep of the disks is more than its limit, memory gets scarce. Then the socket is at
 *   its end (still_ended), and what it gave is worth nothing: ram_fd is cut off to 0 bytes, so
 *   whoever has it mapped gets SIGBUS, and the disks' sockets are closed. Nothing of that waits for
 *   the holder. The end of the holder, however it comes, ends the still.
 *
 * The memory is the holder's own copy and may be written, in place. Disks are read only; nothing
 * that comes through their sockets is ever written.
 *
 * Messages on the socket: docs/REHEARSAL.md. Return codes: see common.h.
 */
#ifndef STILL_H
#define STILL_H

#include "common/common.h"

#include <jansson.h>

#define STILL_MAX_DISKS 64u
#define STILL_MAX_BLOCKS 256u

struct still_block { /* a RAM block of QEMU's, as on the primary */
	char name[256];
	uint64_t bytes;
	bool main;
	uint64_t offset; /* in ram_fd for main RAM (0), else in blocks_fd */
};
struct still_disk {
	char name[128]; /* as in the description's "disks" */
	uint64_t bytes;
	/* A connected stream socket behind which an NBD server is (fixed newstyle, any export name,
	 * read only): for one client, e.g. QEMU's server.type=fd. The client may take it (then set
	 * it to -1). */
	int fd;
};
struct still {
	int fd; /* the socket: it becomes readable when the still ends */
	char name[128], vm_id[33], session[33];
	uint64_t generation, epoch;
	double committed; /* when the sink had applied that epoch, in s since 1970 */
	bool suspended;	  /* an operator had suspended the VM: it is to stay stopped */
	json_t *desc;	  /* the VM, as hv_describe made it on the primary */
	int ram_fd;	  /* memfd: main RAM, sparse, all of it there; read and write */
	uint64_t ram_bytes;
	int blocks_fd; /* memfd: the other blocks, one behind the other */
	int state_fd;  /* memfd: device state as xen-save-devices-state wrote it */
	uint64_t state_bytes;
	struct still_block blocks[STILL_MAX_BLOCKS];
	unsigned n_blocks;
	struct still_disk disks[STILL_MAX_DISKS];
	unsigned n_disks;
	/* What it cost: copied while nothing else was to be done, and before a write. */
	uint64_t copied_bytes, saved_bytes;
};
/* How far it is: copied of total bytes of memory. */
typedef void still_progress(void *arg, uint64_t copied, uint64_t total);

/*
 * Takes over fd, also on failure, and waits until the still is whole; progress may be NULL. After a
 * failure nothing is to be closed: -ENOMEM no room for it here (the sentence has both numbers),
 * TV_E_GONE it ended before it was whole (the sentence names why), TV_E_PROTOCOL, -errno.
 */
int still_receive(int fd, still_progress *progress, void *arg, struct still *out,
		  struct tv_err *e) TV_MUST_CHECK;
/* Is it over? Then the sentence names why. Does not wait. */
bool still_ended(struct still *s, struct tv_err *e);
/* Ends it, and closes what is open. NULL is allowed. */
void still_close(struct still *s);

#endif
