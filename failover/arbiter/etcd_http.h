/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTTP with the members of an etcd cluster, through libcurl; private to failover/arbiter. */
#ifndef FAILOVER_ARBITER_ETCD_HTTP_H
#define FAILOVER_ARBITER_ETCD_HTTP_H

#include "failover/arbiter/arbiter.h"

#define ETCD_MAX_MEMBERS 9
#define ETCD_DEFAULT_PORT 2379

struct etcd_url {
	bool tls;
	unsigned n;
	char member[ETCD_MAX_MEMBERS][140]; /* HOST:PORT */
};
/* -EINVAL with the sentence: not etcd://HOST:PORT,HOST:PORT,... or etcds://. */
int etcd_url_parse(const char *url, struct etcd_url *out, struct tv_err *e) TV_MUST_CHECK;

struct etcd_http;
int etcd_http_new(const struct etcd_url *url, const struct fo_arbiter_conf *conf,
		  struct etcd_http **out, struct tv_err *e) TV_MUST_CHECK;
void etcd_http_free(struct etcd_http *h);

/*
 * Checks the body of an answer with status 200: 0, this one counts; else a sentence, and the other
 * members are waited for. bytes is at most ETCD_MAX_ANSWER_BYTES.
 */
typedef int (*etcd_accept_fn)(const char *text, size_t bytes, void *arg, struct tv_err *e);
/*
 * POSTs body to path ("/v3/...") at the member that answered last, at the next one as well when
 * there is no answer after arbiter_next_ns or a bad one, and so on. So a request can reach the
 * cluster more than once, which must do no harm. 0 with the first answer that is accepted;
 * -ETIMEDOUT arbiter_answer_ns are over, -EHOSTUNREACH no member answered, TV_E_PROTOCOL an answer
 * was not a valid etcd answer; then the sentence names each member with its result.
 */
int etcd_http_ask(struct etcd_http *h, const char *path, const char *body, etcd_accept_fn accept,
		  void *arg, struct tv_err *e) TV_MUST_CHECK;

#endif
