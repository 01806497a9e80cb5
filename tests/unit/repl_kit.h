/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of replicator/ share: certificates made on the spot, loopback sockets, a
 * connection with a record of its callbacks, and waiting for a condition (with a
 * watchdog, no sleep).
 */
#ifndef REPL_KIT_H
#define REPL_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replicator/link/link.h"
#include "replicator/link/frame.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define KIT __attribute__((unused)) static

/* ---- certificates: dir/NAME.pem and dir/NAME.key ---- */

static char kit_dir[64];

KIT const char *kit_path(const char *name, const char *ext)
{
	static char ring[8][160];
	static unsigned next;
	char *p = ring[next++ % 8];

	snprintf(p, sizeof(ring[0]), "%s/%s.%s", kit_dir, name, ext);
	return p;
}

KIT void kit_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

KIT void kit_save(const char *file, X509 *cert, EVP_PKEY *key)
{
	FILE *f = fopen(kit_path(file, "pem"), "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, cert), 1);
	fclose(f);
	f = fopen(kit_path(file, "key"), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
}

/* Issuer NULL: self-signed, a CA. cn NULL: a subject without a common name. */
KIT void kit_cert(const char *file, const char *cn, long from_s, long to_s, X509 *issuer,
		  EVP_PKEY *issuer_key, X509 **out, EVP_PKEY **out_key)
{
	static long serial = 1;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name;

	assert_non_null(key);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
	X509_set_pubkey(cert, key);
	name = X509_get_subject_name(cert);
	X509_NAME_add_entry_by_txt(name, cn ? "CN" : "O", MBSTRING_UTF8,
				   (const unsigned char *)(cn ? cn : "nameless"), -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
	if (!issuer)
		kit_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
	assert_int_not_equal(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()), 0);
	kit_save(file, cert, key);
	if (out) {
		*out = cert;
		*out_key = key;
	} else {
		X509_free(cert);
		EVP_PKEY_free(key);
	}
}

/* dir/NAME.crl: the CA's list, with that certificate revoked (NULL: none); it ends after to_s. */
KIT void kit_crl(const char *file, X509 *ca, EVP_PKEY *ca_key, X509 *revoked, long to_s)
{
	ASN1_TIME *from = X509_gmtime_adj(NULL, -7200), *to = X509_gmtime_adj(NULL, to_s);
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *entry;
	FILE *f;

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca));
	X509_CRL_set1_lastUpdate(crl, from);
	X509_CRL_set1_nextUpdate(crl, to);
	if (revoked) {
		entry = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
		X509_REVOKED_set_revocationDate(entry, from);
		X509_CRL_add0_revoked(crl, entry);
	}
	assert_int_not_equal(X509_CRL_sign(crl, ca_key, EVP_sha256()), 0);
	f = fopen(kit_path(file, "crl"), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509_CRL(f, crl), 1);
	fclose(f);
	X509_CRL_free(crl);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

KIT int kit_make_pki(void **state)
{
	X509 *ca, *evil, *a;
	EVP_PKEY *ca_key, *evil_key, *a_key;

	(void)state;
	strcpy(kit_dir, "/tmp/twinvm-repl-XXXXXX");
	assert_non_null(mkdtemp(kit_dir));
	kit_cert("ca", "test CA", -3600, 3600, NULL, NULL, &ca, &ca_key);
	kit_cert("evil", "test CA", -3600, 3600, NULL, NULL, &evil, &evil_key);
	kit_cert("a", "host-a", -3600, 3600, ca, ca_key, &a, &a_key);
	kit_cert("b", "host-b", -3600, 3600, ca, ca_key, NULL, NULL);
	kit_cert("expired", "host-b", -7200, -3600, ca, ca_key, NULL, NULL);
	kit_cert("stranger", "host-b", -3600, 3600, evil, evil_key, NULL, NULL);
	kit_cert("nameless", NULL, -3600, 3600, ca, ca_key, NULL, NULL);
	kit_crl("empty", ca, ca_key, NULL, 3600);
	kit_crl("a-revoked", ca, ca_key, a, 3600);
	kit_crl("old", ca, ca_key, NULL, -3600);
	kit_crl("other", evil, evil_key, NULL, 3600);
	X509_free(a);
	EVP_PKEY_free(a_key);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	X509_free(evil);
	EVP_PKEY_free(evil_key);
	return 0;
}

KIT int kit_remove_pki(void **state)
{
	static const char *const names[] = {"ca",      "evil",	   "a",	      "b",
					    "expired", "stranger", "nameless"};
	static const char *const lists[] = {"empty", "a-revoked", "old", "other"};

	(void)state;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		unlink(kit_path(names[i], "pem"));
		unlink(kit_path(names[i], "key"));
	}
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		unlink(kit_path(lists[i], "crl"));
	return rmdir(kit_dir);
}

/* crl: NULL none. admit: NULL everybody. */
KIT struct repl_tls *kit_tls_with(const char *ca, const char *name, const char *crl,
				  int (*admit)(const char *, const void *, struct tv_err *))
{
	struct repl_tls_conf conf = {.ca = kit_path(ca, "pem"),
				     .cert = kit_path(name, "pem"),
				     .key = kit_path(name, "key"),
				     .crl = crl ? kit_path(crl, "crl") : NULL,
				     .admit = admit};
	struct repl_tls *tls = NULL;
	struct tv_err e = {0};

	if (repl_tls_new(&conf, &tls, &e))
		fail_msg("%s", e.text);
	return tls;
}

KIT struct repl_tls *kit_tls(const char *ca, const char *name)
{
	return kit_tls_with(ca, name, NULL, NULL);
}

/* ---- waiting ---- */

KIT void kit_hung(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	fail_msg("nothing happened while waiting for: %s", (const char *)arg);
}

#define KIT_UNTIL(base, cond)                                                      \
	do {                                                                       \
		struct timeval hang_ = {60, 0};                                    \
		struct event *dog_ = evtimer_new((base), kit_hung, (void *)#cond); \
		event_add(dog_, &hang_);                                           \
		while (!(cond))                                                    \
			event_base_loop((base), EVLOOP_ONCE);                      \
		event_free(dog_);                                                  \
	} while (0)

/* A number of whole turns, so that what is already on its way can happen. */
KIT void kit_turns(struct event_base *base, int n)
{
	while (n--)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* ---- sockets ---- */

KIT int kit_listen(uint16_t *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

KIT void kit_tcp_pair(int fd[2])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint16_t port;
	int l = kit_listen(&port);

	in.sin_port = htons(port);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&in, sizeof(in)), 0);
	fd[1] = accept(l, NULL, NULL);
	assert_true(fd[1] >= 0);
	close(l);
}

/* ---- one side, and a record of its callbacks ---- */

struct side {
	struct repl_conn *c;
	int opened, closed, rc, drained;
	char peer[64], why[800];
	char order[4096]; /* one letter per frame: c control, h heartbeat, r records */
	unsigned frames;
	uint64_t record_bytes, record_sum, heartbeats, last_seq;
	char text[256]; /* of the last Refuse or Bye */
	bool free_in_control, free_in_records, free_in_opened, off_in_records;
};

KIT void side_note(struct side *s, char letter)
{
	if (s->frames < sizeof(s->order) - 1)
		s->order[s->frames] = letter;
	s->frames++;
}

KIT void side_drop(struct side *s)
{
	repl_free(s->c);
	s->c = NULL;
}

KIT void side_opened(struct repl_conn *c, const char *peer, void *arg)
{
	struct side *s = arg;

	assert_int_equal(s->opened + s->closed, 0);
	assert_string_equal(peer, repl_peer(c));
	s->opened++;
	snprintf(s->peer, sizeof(s->peer), "%s", peer);
	if (s->free_in_opened)
		side_drop(s);
}

KIT void side_control(struct repl_conn *c, const Twinvm__Control *msg, int64_t now_ns, void *arg)
{
	struct side *s = arg;

	(void)c;
	assert_int_equal(s->closed, 0);
	assert_int_equal(s->opened, 1);
	assert_true(now_ns > 0);
	if (msg->msg_case == TWINVM__CONTROL__MSG_HEARTBEAT) {
		s->heartbeats++;
		s->last_seq = msg->heartbeat->seq;
		side_note(s, 'h');
	} else {
		side_note(s, 'c');
	}
	if (msg->msg_case == TWINVM__CONTROL__MSG_REFUSE)
		snprintf(s->text, sizeof(s->text), "%s", msg->refuse->text);
	if (msg->msg_case == TWINVM__CONTROL__MSG_BYE)
		snprintf(s->text, sizeof(s->text), "%s", msg->bye->reason);
	if (s->free_in_control)
		side_drop(s);
}

KIT uint64_t kit_sum(uint64_t sum, const uint8_t *p, size_t n)
{
	while (n--)
		sum = (sum ^ *p++) * UINT64_C(0x100000001b3);
	return sum;
}

KIT void side_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	struct side *s = arg;

	assert_int_equal(s->closed, 0);
	assert_int_equal(s->opened, 1);
	assert_true(n > 0 && n <= REPL_MAX_RECORDS_BYTES && now_ns > 0);
	side_note(s, 'r');
	s->record_bytes += n;
	s->record_sum = kit_sum(s->record_sum, p, n);
	if (s->off_in_records) {
		s->off_in_records = false;
		repl_read_enable(c, false);
	}
	if (s->free_in_records)
		side_drop(s);
}

KIT void side_drained(struct repl_conn *c, void *arg)
{
	struct side *s = arg;

	(void)c;
	s->drained++;
}

KIT void side_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	struct side *s = arg;

	assert_int_equal(s->closed, 0);
	s->closed++;
	s->rc = rc;
	snprintf(s->why, sizeof(s->why), "%s", why);
	assert_ptr_equal(c, s->c);
	repl_free(c);
	s->c = NULL;
}

static const struct repl_ops side_ops = {.opened = side_opened,
					 .control = side_control,
					 .records = side_records,
					 .drained = side_drained,
					 .closed = side_closed};

KIT void side_accept(struct side *s, struct event_base *base, struct repl_tls *tls, int fd,
		     const struct repl_opts *opts)
{
	struct tv_err e = {0};

	if (repl_accept(base, tls, fd, opts, &side_ops, s, &s->c, &e))
		fail_msg("%s", e.text);
}

KIT void side_connect(struct side *s, struct event_base *base, struct repl_tls *tls,
		      const char *host, uint16_t port, const struct repl_opts *opts)
{
	struct tv_err e = {0};

	if (repl_connect(base, tls, host, port, opts, &side_ops, s, &s->c, &e))
		fail_msg("%s", e.text);
}

/* Two connections to each other: p connects, b accepts. Not yet opened. */
struct pair {
	struct event_base *base;
	struct repl_tls *tls_p, *tls_b;
	struct side p, b;
};

KIT void pair_start(struct pair *x, const struct repl_opts *op, const struct repl_opts *ob)
{
	uint16_t port;
	int l = kit_listen(&port), fd;

	if (!x->base)
		x->base = event_base_new();
	side_connect(&x->p, x->base, x->tls_p, "127.0.0.1", port, op);
	/* The first turns connect; accept() then finds the connection. */
	kit_turns(x->base, 2);
	fd = accept(l, NULL, NULL);
	assert_true(fd >= 0);
	close(l);
	side_accept(&x->b, x->base, x->tls_b, fd, ob);
}

KIT void pair_open(struct pair *x, const struct repl_opts *op, const struct repl_opts *ob)
{
	x->tls_p = kit_tls("ca", "a");
	x->tls_b = kit_tls("ca", "b");
	pair_start(x, op, ob);
	KIT_UNTIL(x->base, x->p.opened && x->b.opened);
}

KIT void pair_free(struct pair *x)
{
	repl_free(x->p.c);
	repl_free(x->b.c);
	repl_tls_free(x->tls_p);
	repl_tls_free(x->tls_b);
	kit_turns(x->base, 3);
	event_base_free(x->base);
}

KIT int kit_heartbeat(struct repl_conn *c, uint64_t seq, bool urgent)
{
	Twinvm__Heartbeat hb = TWINVM__HEARTBEAT__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;

	hb.seq = seq;
	m.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT;
	m.heartbeat = &hb;
	return repl_send(c, &m, urgent);
}

KIT int kit_refuse(struct repl_conn *c, const char *text)
{
	Twinvm__Refuse r = TWINVM__REFUSE__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;

	r.code = -1;
	r.text = (char *)text;
	m.msg_case = TWINVM__CONTROL__MSG_REFUSE;
	m.refuse = &r;
	return repl_send(c, &m, false);
}

#define assert_contains(text, word)                                             \
	do {                                                                    \
		if (!strstr((text), (word)))                                    \
			fail_msg("'%s' does not contain '%s'", (text), (word)); \
	} while (0)

/* Bytes that do not compress, the same in every run. */
static inline void kit_noise(uint8_t *p, size_t n)
{
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = (uint8_t)x;
	}
}

#endif
