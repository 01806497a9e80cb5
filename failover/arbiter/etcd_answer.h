/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers of an etcd member's JSON gateway (etcd 3.4 and newer: api_grpc_gateway.md and
 * rpc.swagger.json in its documentation), and the base64 that goes with them; private to
 * failover/arbiter. Pure. An answer is hostile until checked: each function returns 0, or
 * TV_E_PROTOCOL with what is wrong, and then nothing of *out is valid. A missing field is never
 * guessed: without a header it is not an answer.
 */
#ifndef FAILOVER_ARBITER_ETCD_ANSWER_H
#define FAILOVER_ARBITER_ETCD_ANSWER_H

#include "failover/arbiter/record.h"

#define ETCD_MAX_ANSWER_BYTES (256u << 10)
#define ETCD_MAX_KEY_BYTES 128

struct etcd_header {
	uint64_t cluster_id;
	uint64_t revision; /* grows with every change in the cluster */
};
struct etcd_kv {
	bool found;
	uint64_t version;      /* changes since the key was made, from 1 */
	uint64_t mod_revision; /* the cluster's revision that changed it last */
	char value[FO_MAX_TEXT_BYTES + 1];
	size_t value_bytes;
};

/* /v3/kv/range of one key: nothing but that key may be in the answer. */
int etcd_answer_range(const char *text, size_t bytes, const char *key, struct etcd_header *h,
		      struct etcd_kv *out, struct tv_err *e) TV_MUST_CHECK;
/*
 * /v3/kv/txn with one change for success and one range of the same key otherwise. *succeeded only
 * with the change's own answer ("response_put" or "response_delete_range") of the same revision;
 * else *out is what is there.
 */
int etcd_answer_txn(const char *text, size_t bytes, const char *key, const char *change,
		    struct etcd_header *h, bool *succeeded, struct etcd_kv *out,
		    struct tv_err *e) TV_MUST_CHECK;
/* /v3/kv/put: only the header counts. */
int etcd_answer_done(const char *text, size_t bytes, struct etcd_header *h,
		     struct tv_err *e) TV_MUST_CHECK;
/* /v3/lease/grant, and /v3/lease/keepalive, whose answer is wrapped as {"result":{...}} and has
 * no TTL when the lease is over (*ttl_s 0). */
int etcd_answer_lease(const char *text, size_t bytes, struct etcd_header *h, uint64_t *id,
		      uint64_t *ttl_s, struct tv_err *e) TV_MUST_CHECK;
/* /v3/kv/range of a folder of hosts: *found of them; entries that are not hosts are left out. */
int etcd_answer_hosts(const char *text, size_t bytes, const char *folder, struct etcd_header *h,
		      struct fo_host *out, unsigned n, unsigned *found,
		      struct tv_err *e) TV_MUST_CHECK;
/* /v3/auth/authenticate: what goes into a header, so printable and without blanks. */
#define ETCD_TOKEN_ROOM 2048
int etcd_answer_token(const char *text, size_t bytes, char out[ETCD_TOKEN_ROOM],
		      struct tv_err *e) TV_MUST_CHECK;
/* The sentence in an error's answer, printable and short; "" when there is none. */
void etcd_answer_error(const char *text, size_t bytes, char *out, size_t room);

/* Standard base64 with padding. out: room for 4 * ((n + 2) / 3) + 1. */
void etcd_base64(const void *p, size_t n, char *out);
/* -EBADMSG: not base64, not canonical, or more than room - 1 bytes; out is NUL-terminated. */
int etcd_unbase64(const char *text, char *out, size_t room, size_t *bytes) TV_MUST_CHECK;

#endif
