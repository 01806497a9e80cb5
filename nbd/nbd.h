/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd: the NBD end of a disk mirror. QEMU's mirror job writes to it; what is written is handed to
 * the owner, and answered when the owner has taken it. Knows neither QEMU nor epochs nor other
 * hosts.
 *
 * With `read` it is the other way round: a disk that may only be read, by one client.
 *
 * Call order: nbd_new, nbd_add per disk, nbd_cut any number of times, nbd_free.
 *
 * It lives in the replicator and nowhere else, on purpose: when that process dies, the kernel
 * closes the sockets, QEMU's mirror job fails at its target, and the guest's write completes. A
 * server that outlived the replicator would hold the guest's writes until somebody ended it.
 *
 * Threads: one per disk, with blocking calls and 256 KiB of memory each; the callbacks come from
 * them. All input from the client is taken as hostile: a violation ends that disk's connection,
 * nothing else. Return codes: see common.h.
 */
#ifndef NBD_H
#define NBD_H

#include "common/common.h"

#define NBD_MAX_DISKS 64u
/* What one write callback gets at most; a longer request comes in several. */
#define NBD_PIECE_BYTES (256u << 10)

struct nbd_ops {
	/* Where to receive a write's next bytes (NBD_PIECE_BYTES of room), so that the owner need
	 * not copy them: write is then called with that address. May be NULL, and may return
	 * NULL. */
	void *(*room)(void *arg, unsigned disk);
	/* data is valid during the call. It may wait: the request is answered after it
	 * (back-pressure). Not 0: the connection ends, unanswered. */
	int (*write)(void *arg, unsigned disk, uint64_t offset, const void *data, uint32_t bytes);
	/* bytes read as zero from now on; trim: their contents are of no interest any more. */
	int (*zero)(void *arg, unsigned disk, uint64_t offset, uint64_t bytes, bool trim);
	/* Not NULL: the disks are read only, room, write and zero are never called. Fills all of
	 * data, NBD_PIECE_BYTES at most. Not 0: that request fails; one that had begun to be
	 * answered ends the connection. */
	int (*read)(void *arg, unsigned disk, uint64_t offset, void *data, uint32_t bytes);
	/* The connection has ended, for whatever reason (a sentence, or "" after nbd_cut). Once a
	 * disk. */
	void (*closed)(void *arg, unsigned disk, const char *why);
};
struct nbd;
int nbd_new(const struct nbd_ops *ops, void *arg, struct nbd **out) TV_MUST_CHECK;
/* Serves a disk of that size on fd, a connected stream socket, which is taken over (also on
 * failure). -EINVAL, -EMFILE too many disks, -ENOMEM. */
int nbd_add(struct nbd *n, uint64_t bytes, int fd, unsigned *disk) TV_MUST_CHECK;
/* Ends all connections at once; what was not answered never will be. Any thread, any time. */
void nbd_cut(struct nbd *n);
/* Cuts, waits for the threads. The owner makes callbacks that wait return first. NULL is
 * allowed. */
void nbd_free(struct nbd *n);

/* ---- client.c: the other end, for reading ---- */
struct nbd_reader;
/* Takes fd over, a connected stream socket to a server that has an export of that name, also on failure.
 * timeout_ms: of each wait. -ETIMEDOUT, -EPIPE (no such export), TV_E_PROTOCOL, -ENOMEM. Blocks. */
int nbd_reader_new(int fd, const char *name, int timeout_ms, struct nbd_reader **out) TV_MUST_CHECK;
uint64_t nbd_reader_bytes(const struct nbd_reader *r);
/* One request, NBD_PIECE_BYTES at most. After a failure nothing more can be read. Blocks. */
int nbd_reader_read(struct nbd_reader *r, uint64_t offset, void *p, uint32_t bytes) TV_MUST_CHECK;
/* NULL is allowed. */
void nbd_reader_free(struct nbd_reader *r);

#endif
