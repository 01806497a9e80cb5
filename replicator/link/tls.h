/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS 1.3 with certificates on both sides, and sentences for openssl's errors. */
#ifndef REPLICATOR_LINK_TLS_H
#define REPLICATOR_LINK_TLS_H

#include "common/common.h"
#include <openssl/ssl.h>

#define TLS_NAME_BYTES 256

struct repl_tls;

/* What one handshake learns about its peer; must live as long as the SSL. */
struct tls_peer {
	char expect[TLS_NAME_BYTES]; /* common name it must have; "" any */
	char self[TLS_NAME_BYTES];   /* common name of this side */
	char name[TLS_NAME_BYTES];   /* common name it has, once verified */
	char refused[600];	     /* why this side rejected its certificate; "": it did not */
};

/* The shared context, with a reference for the caller (SSL_CTX_free). */
SSL_CTX *tls_ctx_get(struct repl_tls *tls);
/* One connection's SSL, not yet bound to a socket; fills peer->self. NULL: memory is short. */
SSL *tls_ssl_new(SSL_CTX *ctx, struct tls_peer *peer);
/*
 * Fills e with a sentence for openssl's error code on this connection. err 0: none is known.
 * handshake: it happened before the handshake ended on this side. Returns -EPROTO, or -ECONNRESET
 * when the connection was merely lost.
 */
int tls_explain(const struct tls_peer *peer, unsigned long err, bool handshake, struct tv_err *e);

/* ---- gather.c: between TLS and the socket ---- */
/* The SSL reads and writes fd from now on; it does not own it. -1: no memory. */
int tls_set_socket(SSL *ssl, int fd) TV_MUST_CHECK;
/* Gives the kernel what was written but not handed on. 1 all of it, 0 the socket has no room, -1 an
 * error, which the next write will have, too. */
int tls_flush(SSL *ssl) TV_MUST_CHECK;
size_t tls_unflushed(SSL *ssl);

#endif
