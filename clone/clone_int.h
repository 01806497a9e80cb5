/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of clone share; each calls only those above it here. Private to clone. */
#ifndef CLONE_CLONE_INT_H
#define CLONE_CLONE_INT_H

#include "clone/clone.h"
#include "hv/host/host.h"
#include "hv/hv_standby.h"
#include "still/still.h"

#include <stdatomic.h>

/* ---- image.c ---- */
/* Makes an empty qcow2 image of that size, the property of that user, for its eyes only. -errno. */
int clone_image(const char *path, uint64_t bytes, uid_t uid) TV_MUST_CHECK;
/* What the file takes on the disk; 0: there is none. */
uint64_t clone_image_takes(const char *path);

/* ---- copies.c ---- */
struct clone_copies {
	char paths[HV_MAX_FILES][512];
	const char *list[HV_MAX_FILES]; /* NULL: this host has the file itself */
};
/* Copies for the clone of what the standby has copies of (desc["copies"]), that user's; they, and that many, are
 * noted in standby, and live as long as out. -EFBIG: more than the images may have. */
int clone_copies(const struct config *c, const struct clone_order *o, const json_t *desc,
		 struct hv_standby_conf *standby, uid_t uid, struct clone_copies *out,
		 struct tv_err *e) TV_MUST_CHECK;

/* ---- net.c: the network of this process, which has nothing but a loopback ---- */
#define CLONE_BRIDGE "tvclone"
/* Brings the loopback up, and makes the bridges that the description's NICs are on; names gets them, with
 * blanks between. All ports of all bridges see each other only on their own. */
int clone_net_make(const json_t *desc, char *names, size_t room, struct tv_err *e) TV_MUST_CHECK;
/* A descriptor that sees all frames. -errno. */
int clone_net_listen(void) TV_MUST_CHECK;
/* A frame as that descriptor gave it, of the guest's: its IPv4 address, if the frame shows it. */
bool clone_net_address(const uint8_t *frame, size_t bytes, struct in_addr *out);
/*
 * Waits until the guest has shown its address, on a bridge whose name bridge gets, or until that moment.
 * first_ns: when the first of its frames came; 0: none. -ETIMEDOUT.
 */
int clone_net_learn(int fd, int64_t until_ns, struct in_addr *out, char bridge[IFNAMSIZ],
		    int64_t *first_ns) TV_MUST_CHECK;
/* An address beside the guest's, in every network that it can be in. */
struct in_addr clone_net_neighbour(struct in_addr guest);
/* That bridge gets the address, and the way to the guest. */
int clone_net_join(const char *bridge, struct in_addr own, struct in_addr guest,
		   struct tv_err *e) TV_MUST_CHECK;

/* ---- probe.c ---- */
struct clone_env {
	const struct config *conf; /* what probes get to know */
	const struct clone_order *order;
	const char *host;
	uint64_t generation, epoch;
	char guest[46];	  /* "": not known */
	char agent[108];  /* the socket of the guest's agent; "": it has none */
	char screen[300]; /* where a picture is put, without its ending */
	struct hv_standby *sb;
	const char *dir;
};
struct clone_result {
	bool passed;
	int status; /* of a command; -1: none, or it had to be killed */
	double ms;
	char output[CLONE_OUTPUT_BYTES + 1]; /* UTF-8, and why it failed */
};
void clone_probe_run(const struct clone_probe *p, const struct clone_env *env,
		     struct clone_result *out);

/* ---- say.c: to the daemon ---- */
/* One message; j is stolen. Any thread. */
void clone_say(json_t *j);
/* The same, but never waits: for one whose end must not. */
void clone_say_last(json_t *j);
/* The order, and the still's socket with it. */
int clone_listen(int fd, json_t **order, int *still_fd, struct tv_err *e) TV_MUST_CHECK;

/* ---- watch.c: a thread that ends this process, and with it all of the clone ---- */
struct clone_watch {
	int daemon_fd, outer_fd; /* closed: their process has ended */
	struct still
		*_Atomic still; /* its socket is readable when it has ended; NULL: not there yet */
	atomic_int qemu_fd;	/* readable: its QEMU has ended; 0: not there yet */
	int64_t until_ns;
	uint64_t disk_bytes;
	char images[STILL_MAX_DISKS][320];
	atomic_uint n_images;
};
int clone_watch_start(struct clone_watch *w) TV_MUST_CHECK;

/* ---- run.c ---- */
/* The test itself, in the inner process. An exit status. */
int clone_run(const struct config *c, const struct clone_order *o, struct clone_watch *w,
	      int still_fd);

/* ---- main.c ---- */
/* The outer process: returns when all of the clone has ended. fd: to the daemon. */
int clone_outer(int fd);

#endif
