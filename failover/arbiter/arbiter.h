/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * failover/arbiter: keeps the record of who may run a VM where both hosts can reach it, and the
 * list of hosts that take part. Two kinds: an etcd cluster, and a directory on a shared file
 * system; what a record means is failover.h's.
 *
 * Call order: fo_arbiter_check_url when the URL is configured; fo_arbiter_open and
 * fo_arbiter_probe when a session begins; fo_ask_new, fo_ask_start for each question of the
 * engine, fo_ask_free; fo_arbiter_close. Every call but fo_arbiter_check_url may block for as long
 * as a network or a file system does: never from an event loop, which has fo_ask_start instead. A
 * handle is used by one thread at a time; the process ignores SIGPIPE. A daemon that takes part in
 * the choice of backups calls fo_arbiter_announce and fo_arbiter_members every announce_ns, in a
 * thread and with a handle of its own. Return codes: see common.h.
 */
#ifndef FAILOVER_ARBITER_ARBITER_H
#define FAILOVER_ARBITER_ARBITER_H

#include "failover/failover.h"
#include <event2/event.h>

/* What an arbiter needs beside its URL; all of it is copied. */
struct fo_arbiter_conf {
	const struct fo_times *times;
	const char *ca, *cert, *key; /* PEM files for etcds://; NULL or "": none */
	const char *user,
		*password_file; /* of an etcd with accounts, for etcds://; NULL or "": none */
};
/*
 * "none" gives *out NULL: an operator decides. "file:///DIR" is a directory both hosts see; it must
 * exist and be writable. "etcd://HOST:PORT,HOST:PORT,..." and "etcds://" (TLS, with conf->ca and,
 * where the cluster asks for it, conf->cert and conf->key) are the members of an etcd cluster, of
 * version 3.4 or newer; nothing is sent to them yet. -EINVAL bad URL, -ENOMEM, or the errno of a
 * directory or file that cannot be used; the sentence says which and why.
 */
int fo_arbiter_open(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e) TV_MUST_CHECK;
void fo_arbiter_close(struct fo_arbiter *a); /* NULL: does nothing */
/*
 * Is the URL one that fo_arbiter_open may take? Touches neither network nor files: for event loops.
 * -EINVAL with the sentence.
 */
int fo_arbiter_check_url(const char *url, const struct fo_arbiter_conf *conf,
			 struct tv_err *e) TV_MUST_CHECK;
/* 0: the arbiter answers, so that a protection may begin with it. a may be NULL. */
int fo_arbiter_probe(struct fo_arbiter *a, struct tv_err *e) TV_MUST_CHECK;
/* As struct fo_arbiter's functions of these names (failover.h). */
int fo_arbiter_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e) TV_MUST_CHECK;
int fo_arbiter_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e) TV_MUST_CHECK;
/* Protection has ended: removes what is kept about the VM. a may be NULL. */
int fo_arbiter_forget(struct fo_arbiter *a, const char *vm_id, struct tv_err *e) TV_MUST_CHECK;

/* ---- the hosts that take part ---- */
/*
 * Announces this host and its condition; to be called every announce_ns of the conf's times. The
 * announcement ends by itself member_ns after the last call. -EINVAL: name or address cannot be
 * used; -ENOTSUP: this arbiter keeps no list of hosts. a must not be NULL.
 */
int fo_arbiter_announce(struct fo_arbiter *a, const struct fo_host *h,
			struct tv_err *e) TV_MUST_CHECK;
/*
 * The hosts that announced themselves within member_ns (this one too, if it did), sorted by name:
 * their number, at most n and FO_MAX_HOSTS, or a negative code. Entries that cannot be parsed are
 * left out. With a file arbiter a host counts once this handle has seen its counter change, so the
 * first call finds no host: call it as often as fo_arbiter_announce.
 */
int fo_arbiter_members(struct fo_arbiter *a, struct fo_host *out, unsigned n,
		       struct tv_err *e) TV_MUST_CHECK;

/* ---- watch.c: is the record still there while all is well? ---- */
enum fo_arbiter_seen {
	FO_ARBITER_UNKNOWN,
	FO_ARBITER_REACHABLE,
	FO_ARBITER_UNREACHABLE,
	FO_ARBITER_NO_RECORD, /* it answers, and has not the record of this session */
};
const char *fo_arbiter_seen_name(enum fo_arbiter_seen s); /* UNKNOWN: "" */
struct fo_watch {					  /* zero-initialise it */
	bool open;
	int64_t due_ns;
	enum fo_arbiter_seen seen; /* by the last answer to any question */
	int64_t since_ns;	   /* that it is so */
	struct tv_err warning;	   /* "": nothing is wrong, or it is not known yet */
};
/* It is time to ask FO_ASK_LOOK, with had_record; the answer is due to fo_watch_answer. */
bool fo_watch_due(struct fo_watch *w, const struct fo_times *t, int64_t now_ns);
/* host: this one, for the sentence. True: the warning has changed. */
bool fo_watch_answer(struct fo_watch *w, const char *host, const struct fo_claim *c, int rc,
		     const struct fo_record *rec, const char *why);

/* The answer to another question. */
void fo_watch_seen(struct fo_watch *w, int rc, int64_t now_ns);

/* ---- fo_claim off the loop: in a thread of its own, answers in the loop ---- */
/* fo_claim, or what has it done in another process. */
typedef int (*fo_claim_fn)(void *arg, enum fo_question q, const struct fo_claim *c,
			   struct fo_record *out, struct tv_err *e);
/* In this process; arg is a struct fo_arbiter, or NULL (no arbiter). */
int fo_claim_here(void *arbiter, enum fo_question q, const struct fo_claim *c,
		  struct fo_record *out, struct tv_err *e) TV_MUST_CHECK;
struct fo_ask;
/* rec: valid when rc is 0. why: the sentence when it is not. */
typedef void (*fo_answer_cb)(enum fo_question q, int rc, const struct fo_record *rec,
			     const char *why, void *arg);
/* claim is called in the thread. -ENOMEM, or the -errno of a descriptor or thread. */
int fo_ask_new(struct event_base *base, fo_claim_fn claim, void *claim_arg, fo_answer_cb cb,
	       void *arg, struct fo_ask **out) TV_MUST_CHECK;
/*
 * Questions are answered in the order asked, never from inside this call. One that does not fit (8
 * wait already) is answered with -EAGAIN: unknown, ask again.
 */
void fo_ask_start(struct fo_ask *ask, enum fo_question q, const struct fo_claim *c);
/* Waits for a question under way; gives no answer any more. NULL: does nothing. */
void fo_ask_free(struct fo_ask *ask);

#endif
