/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hv/proxy share. */
#ifndef HV_PROXY_PROXY_INT_H
#define HV_PROXY_PROXY_INT_H

#include "hv/proxy/proxy.h"
#include "hv/qemu/qemu.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <sys/queue.h>

/* Rule 6: what one client may use, and all of them. */
#define PROXY_COMMAND_BYTES (1u << 20) /* a longer command ends the connection */
#define PROXY_PAUSE_BYTES (64u << 10)  /* of unread answers: no further command is read */
#define PROXY_OUT_BYTES (1u << 20)     /* of unread answers and events: the connection ends */
#define PROXY_ANSWER_BYTES (64u << 20) /* of QEMU's: the proxy ends */
#define PROXY_CLIENTS 64	       /* one more: the quietest goes */
#define PROXY_OF_ONE 16		       /* of one process */

/* ---- text.c: pure ---- */
/* A client's command. */
struct proxy_ask {
	char *text;	   /* with our id, and a line's end; the receiver's to free */
	unsigned number;   /* our id */
	char *id;	   /* the client's own as JSON, NULL: none; likewise */
	bool capabilities; /* it is qmp_capabilities, and text is NULL */
	bool enables;	   /* ... and asks for some */
	bool takes_fd;
};
/* 0; -EINVAL: the sentence is for the client. */
int proxy_ask_parse(const char *obj, size_t n, unsigned number, struct proxy_ask *out,
		    struct tv_err *e) TV_MUST_CHECK;
void proxy_ask_dispose(struct proxy_ask *a);
/* An answer made here, with a line's end: the caller's. desc NULL: it is empty, not an error. */
char *proxy_answer(const char *class_name, const char *desc, const char *id);
/* QEMU's answer with the client's id (NULL: none) instead of the proxy's; the caller's. */
char *proxy_with_id(const char *obj, size_t n, const char *our_id, size_t our_bytes, const char *id,
		    size_t *bytes);
/* The greeting for clients, from query-version's answer: without out-of-band execution, which
 * would let one client overtake all others. */
char *proxy_greeting(json_t *version);

/* ---- place.c ---- */
struct proxy_file {
	json_int_t dev, ino;
};
struct proxy_place {
	pid_t proxy, qemu;
	uint64_t qemu_ticks;
	char path[108], aside[124], fresh[124]; /* the socket's place, QEMU's own, ours before */
	struct proxy_file ours, theirs;
};
/* Puts a listening socket in the place of QEMU's, which was connected to before. *note_fd holds the
 * note's lock as long as it is open, -1: another process holds it. After any other failure there may
 * be something to put back. */
int proxy_take_place(const struct hv_vm_id *vm, const char *note, int *listen_fd, int *note_fd,
		     struct tv_err *e) TV_MUST_CHECK;
/* Waits for QEMU's end, at most so long. */
bool proxy_qemu_ended(pid_t pid, uint64_t start_ticks, int timeout_ms);

/* ---- client.c ---- */
struct proxy;
struct client {
	TAILQ_ENTRY(client) link;
	struct proxy *p;
	int fd, got_fd; /* got_fd: passed by the client for a command, -1: none */
	struct event *read, *write;
	pid_t pid;
	bool ours;	 /* a process of twinvm's */
	bool negotiated; /* capabilities: it gets events */
	bool eof, dead;
	bool asked;	      /* its command is with QEMU */
	bool waits;	      /* ask is to be sent */
	uint64_t turn;	      /* since when, as a number that grows */
	struct proxy_ask ask; /* if it waits */
	int64_t last_ns;      /* it connected, or sent a whole command */
	char *in;
	size_t in_bytes, in_room;
	struct hv_qmp_frame frame;
	struct evbuffer *out;
};
TAILQ_HEAD(client_list, client);

struct proxy {
	struct event_base *base;
	struct client_list clients;
	unsigned n;
	uint64_t turns;
	char *greeting;
	/* A client has sent a command or is dead: proxy.c. */
	void (*changed)(struct proxy *p);
	/* QEMU, and the command that it works on */
	int up;
	struct event *up_read, *up_write;
	char *in;
	size_t in_bytes, in_room;
	struct hv_qmp_frame frame;
	struct client *asker; /* NULL: it has gone, or there is no command */
	bool busy;
	unsigned number; /* of the last command that was read */
	struct proxy_ask ask;
	size_t sent;
	int send_fd;
	/* the end */
	const char *note;
	int listen;
	struct event *accept, *term, *drain;
	int64_t end_ns; /* 0: not yet */
	bool up_gone;
};

/* Takes fd. When there are too many the quietest is dead. */
void client_new(struct proxy *p, int fd);
/* Queues text for it; a client that does not read is dead. */
void client_put(struct client *c, const char *text, size_t n);
/* QEMU has answered its command: it may send another. */
void client_answered(struct client *c);
/* Frees those that are dead. */
void client_sweep(struct proxy *p);

#endif
