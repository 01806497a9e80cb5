/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keeper: the only processes of twinvm that have CAP_SYS_ADMIN. The door of this room.
 *
 * The kernel shows numbers of pages, and takes a page out of service, for nobody else. twinvmd starts the
 * keeper first, gives up that right for itself and for all that it starts, and then asks: a request of
 * fixed size over a pair of SOCK_SEQPACKET sockets, one reply each. Two processes serve one pair each,
 * so that an action need not wait for a look: a look may take seconds.
 *
 *   twinvmd --exec--> twinvmd keeper   acts: pages and CPUs out of service
 *                        | fork
 *                     twinvmd keeper   looks: whose a page is
 *
 * They end with the daemon. Nobody can start them again without that right: when one has died, a new
 * daemon is needed, which harms no VM.
 *
 * The keeper checks each request by itself (page.c, cpu.c), whatever twinvmd has decided before.
 */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

#include "ras/ras.h"

#define KP_MAX_WHO 256 /* processes that a request may name */
#define KP_MAX_CPUS 4096
#define KP_OTHERS_MOST_MS 60000

enum kp_verb {
	KP_HELLO, /* what can be done here: both processes answer it */
	KP_OWNER, /* whose is a page? */
	KP_SOFT,  /* takes a page out; what is in it is moved first: the kernel reads it */
	KP_HARD,  /* takes a page out, unread */
	KP_CPU_OFF,
	KP_CPU_ON,
	KP_VERBS
};
struct kp_process {
	int32_t pid;
	/* Only by mappings of files whose names have this text; "": by all. */
	char mapping[36];
	uint64_t start_ticks; /* as in /proc/PID/stat; 0: whichever has that pid */
};
struct kp_request {
	uint32_t verb, id; /* id: the reply's, too */
	uint64_t page;	   /* its number */
	/* KP_OWNER: who may have it, looked at first. KP_SOFT, KP_HARD: who must not have it. */
	uint32_t n;
	uint32_t
		others_ms; /* KP_OWNER: how long other processes are looked at; their order is the kernel's */
	uint32_t cpu;
	uint32_t floor; /* KP_CPU_OFF: so many CPUs must stay */
	struct kp_process who[KP_MAX_WHO];
};

/* What the kernel says of a page (/proc/kpageflags). */
enum kp_page {
	KP_PAGE_UNKNOWN,
	KP_PAGE_NONE,  /* there is no such memory */
	KP_PAGE_FREE,  /* nobody has it */
	KP_PAGE_CLEAN, /* of a file, and as on its disk: it is dropped, not read */
	KP_PAGE_USED,  /* what is in it can be moved */
	KP_PAGE_HUGE,  /* part of a page of hugetlbfs */
	KP_PAGE_OTHER, /* the kernel's own, or of no process for a moment */
	KP_PAGE_TAKEN, /* it is out of service */
	KP_PAGES
};
struct kp_reply {
	uint32_t verb, id;
	int32_t rc;    /* 0 or -errno; why in text */
	int32_t who;   /* KP_OWNER: place in the request, -1: none of them */
	int32_t pid;   /* KP_OWNER: who has it, 0: nobody was found */
	uint32_t page; /* enum kp_page: afterwards */
	/* KP_HELLO: can it see whose a page is, take pages, stop CPUs; is a page that fails while the kernel
	 * moves it no panic? (since Linux 6.11) */
	uint32_t sees, takes_pages, stops_cpus, copy_recovers;
	char command[16]; /* of pid */
	char text[200];
};

/*
 * The keeper's process, with its ends of the two pairs of sockets: never returns before the other ends are
 * closed. root: "", or where a test has files that stand in for /sys. Returns its exit status.
 */
int kp_main(int act_fd, int look_fd, const char *root);

/* Is it a request of this program's? Both sides are one program: what is not was sent by nobody. */
bool kp_is_request(const struct kp_request *q, size_t bytes);
/* May a page be read by the kernel to be moved, and so soft-offlined? */
bool kp_may_soft(enum kp_page page, bool copy_recovers);
/* A kernel's release, as uname has it: since 6.11. What cannot be read is older. */
bool kp_copy_recovers(const char *release);
/* For an operator; never NULL. */
const char *kp_page_text(enum kp_page page);

#endif
