/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few rtnetlink messages that are sent and read while a VM waits: changes of a plug queue, and
 * its counters. Made beforehand in a batch, sent by one system call. Knows no epochs.
 *
 * Kernel's side: net/sched/sch_api.c (tc_modify_qdisc, tc_get_qdisc), net/sched/sch_plug.c. A
 * netlink request is carried out inside the sender's send(2), so that its answer is there when that
 * returns. NLM_F_ECHO makes the kernel answer a change with the queue as it is then, counters
 * included: one request is barrier, acknowledgement and position.
 */
#ifndef NETBUFFER_TCMSG_H
#define NETBUFFER_TCMSG_H

#include "common/common.h"
#include <linux/pkt_sched.h>

#define TC_BATCH_MAX 32

struct tc_counters {
	uint64_t bytes;	  /* that have ever been taken out of the queue */
	uint32_t packets; /* the same; a large frame counts as its segments or not at all */
	uint32_t backlog_bytes, qlen; /* in it */
	uint32_t drops;
	uint32_t handle; /* of the queue */
};

struct tc_batch {
	unsigned n; /* requests */
	size_t bytes;
	uint8_t data[TC_BATCH_MAX * 64] __attribute__((aligned(4)));
};

/* Appends "change the plug queue with that handle at the root of a device": TCQ_PLUG_*. */
void tc_batch_plug(struct tc_batch *b, unsigned ifindex, uint32_t handle, int action);
/* Appends a query for the root queue of a device. */
void tc_batch_get(struct tc_batch *b, unsigned ifindex);

/*
 * One message of an answer: its request's number in *seq, and 0 with *out filled, or the kernel's
 * negative errno. *used bytes of the buffer were this message. -EAGAIN it is not an answer (*seq is
 * 0); -EBADMSG the buffer is malformed.
 */
int tc_parse(const void *buf, size_t bytes, size_t *used, uint32_t *seq,
	     struct tc_counters *out) TV_MUST_CHECK;

/* A socket for tc_exchange. */
int tc_open(int *fd) TV_MUST_CHECK;
/*
 * HOT, allocates nothing. Sends the batch with one call and reads the answers; out[i] belongs to
 * request i. *seq is the socket's counter. All requests are carried out or refused each for itself;
 * returns the first refusal. -ETIMEDOUT the kernel did not answer within a second.
 */
int tc_exchange(int fd, uint32_t *seq, struct tc_batch *b, struct tc_counters *out) TV_MUST_CHECK;

#endif
