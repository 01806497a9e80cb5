/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clone: a copy of one committed epoch runs on the backup for a test, in a network of its own, while the
 * VM runs on and is protected. The door of this room.
 *
 * Theory of operation
 *
 *   twinvmd --> the maker: the only one that may make namespaces; started first
 *       |         | fork, for each test, with a socket of the daemon's
 *       |         outer process --fork--> inner process: process 1 of its own
 *       |                                  |    namespaces: network, processes, mounts
 *       | asks the sink for a still        +-- QEMU: the still's memory, images of its own
 *       | (still/still.h), hands its       |   over the still's disks
 *       | socket and the order over        +-- probes
 *
 * The network has bridges without a way out, and taps that are only there. The images are qcow2 files over
 * the still's disks, which can only be read. Whatever ends the inner process ends all that is in its
 * namespaces: the kernel does that, and nothing else has to be found. It ends when the daemon's socket
 * closes, when the still ends (a promotion begins: a failover comes first), when its time is over, when
 * its images have grown to their limit; the outer process ends with it, and takes it along. What is left
 * then are files, which the daemon removes (clone_leftovers finds them).
 *
 * The daemon sends one line of JSON, the order, with the still's socket, and gets lines of JSON: `outer` (its
 * process), `world` (the namespaces), `progress`, `report`, `ended` (why it ends before its time), `exit` (an
 * enum clone_exit, once all of it has ended). Return codes: see common.h.
 */
#ifndef CLONE_CLONE_H
#define CLONE_CLONE_H

#include "common/common.h"
#include "replicator/session/session.h"

#include <jansson.h>

#define CLONE_FOR_S 300	 /* for how long it lives at most, by default */
#define CLONE_MAX_S 3600 /* and whatever is asked for */
#define CLONE_PROBE_S 30 /* for each probe */
#define CLONE_MAX_PROBES 16
#define CLONE_OUTPUT_BYTES 2048		     /* that is kept of a probe's output */
#define CLONE_DISK_BYTES (UINT64_C(8) << 30) /* that its images may grow to, together */

/* ---- probes ---- */
enum clone_probe_kind {
	CLONE_COMMAND, /* sh -c TEXT */
	CLONE_TCP,     /* tcp:PORT */
	CLONE_HTTP,    /* http:URL */
	CLONE_REDIS,   /* redis or redis:PORT */
	CLONE_AGENT,   /* agent: the guest's own */
	CLONE_SCREEN,  /* screen: a picture of it is saved */
	CLONE_NAMED,   /* named:NAME: the command probe.NAME of the configuration */
};
struct clone_probe {
	enum clone_probe_kind kind;
	char text[1024]; /* as it was given */
	uint16_t port;
	char host[256], path[512]; /* of a URL */
};
/* -EINVAL with a sentence. */
int clone_probe_parse(const char *text, struct clone_probe *out, struct tv_err *e) TV_MUST_CHECK;

/* ---- the order ---- */
struct clone_order {
	char config[256];		   /* of twinvmd, its path */
	char vm_id[33], vm[128], peer[64]; /* peer: the host that runs the VM */
	int for_s, probe_s;
	bool keep;	     /* it lives on after the report */
	uint64_t disk_bytes; /* that its images may grow to, together */
	char guest[46];	     /* the guest's IPv4 address; "": it is learned */
	char address[46];    /* the probes' own; "": a neighbour of the guest's */
	int64_t ordered_ns;  /* tv_now_ns of the order: times in the report count from it */
	struct clone_probe probes[CLONE_MAX_PROBES];
	unsigned n_probes;
};
/* The order as JSON, and back; NULL: no memory. Reading checks every limit: -EINVAL, -ERANGE. */
json_t *clone_order_write(const struct clone_order *o);
int clone_order_read(const json_t *j, struct clone_order *out, struct tv_err *e) TV_MUST_CHECK;

/* ---- the process ---- */
/* How it ended, as an exit status; besides 0: as it was ordered, and 1: it failed, in the report. */
enum clone_exit {
	CLONE_OK = 0,
	CLONE_FAILED = 1,
	CLONE_STILL_ENDED = 8, /* a promotion, or the session's end */
	CLONE_DAEMON_GONE = 9,
	CLONE_TIME_OVER = 10,
	CLONE_DISK_FULL = 11,
};
/*
 * twinvmd clones: the maker. fd: a socket of the kind SEQPACKET on which each message brings a descriptor, the
 * outer process's end of its own; it ends with that socket, and all that it has started with it. It keeps
 * the right to make namespaces, which the others give up.
 */
int clone_maker_main(int fd);
/* The daemon's side: a fresh outer process has the other end of fd. -errno: there is no maker any more. */
int clone_make(int maker_fd, int fd) TV_MUST_CHECK;

/* ---- what lies on this host because of it ---- */
struct clone_names {
	char name[40];	  /* of its run directory, its images and its control group: test-ID */
	char dir[256];	  /* the run directory */
	char images[256]; /* the folder of its images */
	char screen[300]; /* the newest picture of this VM, without its ending */
};
void clone_names(const struct config *c, const char *vm_id, struct clone_names *out);
/* Its outer process, and its namespaces as it reported them; 0: none, or not known. */
struct clone_world {
	pid_t pid;
	uint64_t start_ticks, net, pids;
};
/*
 * What is still there of the test of that VM, looked up: processes in its namespaces, its run directory,
 * images, control groups. An array of texts; empty: nothing. NULL: no memory.
 */
json_t *clone_leftovers(const struct config *c, const char *vm_id, const struct clone_world *w);
/* Ends the outer process, which takes all others along, and removes the files. What is left then
 * clone_leftovers finds. Waits for a dead process's end only. */
void clone_remove(const struct config *c, const char *vm_id, const struct clone_world *w);
/* Is that process in those namespaces? */
bool clone_has(const struct clone_world *w, pid_t pid);

#endif
