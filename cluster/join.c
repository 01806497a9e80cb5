/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host that joins. It sends its token only after the other one has proved that it belongs to the CA of
 * the fingerprint: the chain has a certificate with exactly that fingerprint, and the host's own is signed
 * by it. What comes back is believed only as far as that CA has signed it.
 */
#include "cluster/cluster_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_S 20

/* ---- the connection ---- */
static int connect_to(const struct cl_joining *j, struct tv_err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *ai;
	const struct timeval limit = {.tv_sec = WAIT_S};
	char port[8];
	int fd = -1, r;

	snprintf(port, sizeof(port), "%u", j->to_port);
	r = getaddrinfo(j->to_host, port, &hints, &list);
	if (r)
		return tv_fail(e, -EINVAL, "%s: %s", j->to_host, gai_strerror(r));
	for (ai = list; ai && fd < 0; ai = ai->ai_next) {
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (connect(fd, ai->ai_addr, ai->ai_addrlen))
			tv_close_fd(&fd);
	}
	r = errno;
	freeaddrinfo(list);
	return fd >= 0 ? fd
		       : tv_fail(e, r ? -r : -ECONNREFUSED,
				 "no connection to %s:%s (%s): is the invitation over? 'twinvm cluster "
				 "invite' makes another; a firewall must let the port pass",
				 j->to_host, port, strerror(r));
}

/* Where other hosts reach this one: the address that it has towards the authority. */
static int own_address(int fd, uint16_t port, char out[CL_ADDRESS_BYTES], struct tv_err *e)
{
	struct sockaddr_storage ss = {0};
	socklen_t n = sizeof(ss);
	char text[INET6_ADDRSTRLEN];

	if (getsockname(fd, (struct sockaddr *)&ss, &n) ||
	    getnameinfo((struct sockaddr *)&ss, n, text, sizeof(text), NULL, 0, NI_NUMERICHOST))
		return tv_fail(e, -EINVAL,
			       "the address of this host is not known: give it with --address");
	snprintf(out, CL_ADDRESS_BYTES, strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, port);
	return 0;
}

/* ---- who it is ---- */
static X509 *ca_of(SSL *ssl, const char *fingerprint)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	char print[CL_FINGERPRINT_ROOM];

	for (int i = 0; chain && i < sk_X509_num(chain); i++)
		if (!cl_cert_print(sk_X509_value(chain, i), print) && !strcmp(print, fingerprint))
			return sk_X509_value(chain, i);
	return NULL;
}

/* Its times do not count: the clocks are compared by what the two send each other. */
static bool is_signed_by(X509 *cert, X509 *ca)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool good = store && ctx && X509_STORE_add_cert(store, ca) == 1 &&
		    X509_STORE_CTX_init(ctx, store, cert, NULL) == 1;

	if (good) {
		X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
		X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
		good = X509_verify_cert(ctx) == 1;
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return good;
}

static int check_server(SSL *ssl, const struct cl_joining *j, char **ca_pem, struct tv_err *e)
{
	X509 *ca = ca_of(ssl, j->fingerprint);
	CL_CERT *cert = SSL_get1_peer_certificate(ssl);

	if (!ca || !cert || !is_signed_by(cert, ca))
		return tv_fail(
			e, -EACCES,
			"%s does not have the fingerprint %.16s...: it is not the host that "
			"printed this line, or the line is not whole. Nothing was sent to it",
			j->to_host, j->fingerprint);
	*ca_pem = cl_cert_pem(ca);
	return *ca_pem ? 0 : tv_fail(e, -ENOMEM, "no memory for a certificate");
}

/* ---- question and answer ---- */
static bool read_all(SSL *ssl, void *to, size_t n)
{
	size_t got, at = 0;

	while (at < n && SSL_read_ex(ssl, (char *)to + at, n - at, &got) == 1)
		at += got;
	return at == n;
}

static int ask(SSL *ssl, const struct cl_join *q, json_t **out, struct tv_err *e)
{
	TV_FREE char *text = cl_join_text(q), *answer = NULL;
	uint8_t head[4];
	size_t sent;
	uint32_t n = 0;

	*out = NULL;
	if (!text)
		return tv_fail(e, -ENOMEM, "no memory for the request");
	tv_put_le32(head, (uint32_t)strlen(text));
	if (SSL_write_ex(ssl, head, sizeof(head), &sent) == 1 &&
	    SSL_write_ex(ssl, text, strlen(text), &sent) == 1 && read_all(ssl, head, sizeof(head)))
		n = tv_get_le32(head);
	if (n && n <= CL_REPLY_BYTES)
		answer = malloc(n);
	if (answer && read_all(ssl, answer, n))
		*out = json_loadb(answer, n, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(*out)
		       ? 0
		       : tv_fail(e, -ECONNRESET,
				 "the other host ended the connection without an answer; "
				 "what it printed has the reason");
}

static int settle(const struct cl_joining *j, const char *ca, const json_t *answer,
		  struct cl_roster **out, struct tv_err *e)
{
	const char *why = json_string_value(json_object_get(answer, "error"));
	const char *roster = json_string_value(json_object_get(answer, "roster"));
	char text[sizeof(e->text)];
	int rc;

	tv_copy(text, sizeof(text), why ? why : "it sent no roster");
	tv_mend_utf8(text);
	for (char *p = text; *p; p++) /* it goes to a terminal */
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (json_integer_value(json_object_get(answer, "rc")) || !roster)
		return tv_fail(e, -EACCES, "%s refuses: %.500s", j->to_host, text);
	rc = cl_settle(j->dir, j->host, ca, roster, e);
	return rc ? rc : cl_load(j->dir, out, e);
}

static int talk(SSL *ssl, const struct cl_joining *j, struct cl_join *q, struct cl_roster **out,
		struct tv_err *e)
{
	TV_FREE char *ca = NULL;
	json_t *answer = NULL;
	int rc;

	if (SSL_connect(ssl) != 1)
		return tv_fail(e, -EPROTO,
			       "%s:%u does not answer as an invitation does (no TLS 1.3): is the "
			       "port right?",
			       j->to_host, j->to_port);
	rc = check_server(ssl, j, &ca, e);
	if (!rc)
		rc = cl_make_request(j->dir, j->host, q->csr, e);
	if (!rc)
		rc = ask(ssl, q, &answer, e);
	if (!rc)
		rc = settle(j, ca, answer, out, e);
	json_decref(answer);
	return rc;
}

int cl_join(const struct cl_joining *j, struct cl_roster **out, char address[CL_ADDRESS_BYTES],
	    struct tv_err *e)
{
	struct cl_join q = {.now_s = cl_now_s()};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	TV_CLOSE int fd = -1;
	SSL *ssl = NULL;
	int rc = 0;

	*out = NULL;
	if (!access(cl_path(j->dir, "roster").text, F_OK))
		rc = tv_fail(e, -EEXIST,
			     "this host is in a cluster already (%s): 'twinvm cluster leave' first",
			     j->dir);
	if (!rc)
		rc = fd = connect_to(j, e);
	if (rc >= 0)
		rc = j->address[0] ? 0 : own_address(fd, j->port, address, e);
	if (!rc && j->address[0])
		tv_copy(address, CL_ADDRESS_BYTES, j->address);
	tv_copy(q.token, sizeof(q.token), j->token);
	tv_copy(q.name, sizeof(q.name), j->host);
	tv_copy(q.address, sizeof(q.address), address);
	tv_copy(q.fingerprint, sizeof(q.fingerprint), j->fingerprint);
	if (!rc) {
		ssl = ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 ? SSL_new(ctx)
										     : NULL;
		rc = ssl && SSL_set_fd(ssl, fd) == 1 ? talk(ssl, j, &q, out, e)
						     : tv_fail(e, -ENOMEM, "TLS cannot be set up");
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	ERR_clear_error();
	if (rc && access(cl_path(j->dir, "roster").text, F_OK))
		unlink(cl_path(j->dir, "next.key").text);
	return rc;
}
