/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A filter under TLS that gathers what openssl writes, one write for each TLS record of 16 KiB,
 * into pieces of at least GATHER_BYTES for the kernel: every write of a socket is a walk through
 * its network stack, on both hosts, and two or four times as many of them are what a byte costs
 * most. Reading passes through.
 *
 * Less than that waits here until tls_flush is called, by flow.c, which knows when nothing follows.
 * openssl itself flushes after handshake messages and alerts. What the kernel does not take now
 * stays, and nothing more is accepted until it is written: so never more than GATHER_BYTES and one
 * TLS record wait here.
 */
#include "replicator/link/tls.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>

#define GATHER_BYTES (32u << 10)
#define RECORD_BYTES (17u << 10) /* the largest TLS record, header and all */

struct gather {
	size_t have, gone;
	uint8_t data[GATHER_BYTES + RECORD_BYTES];
};

static bool must_go(const struct gather *g)
{
	return g->have >= GATHER_BYTES || g->gone;
}

/* 1: all is written; else the result of the BIO below, with its retry flags. */
static int push_down(BIO *b, struct gather *g)
{
	while (g->gone < g->have) {
		int r = BIO_write(BIO_next(b), g->data + g->gone, (int)(g->have - g->gone));

		if (r <= 0) {
			BIO_copy_next_retry(b);
			return r;
		}
		g->gone += (size_t)r;
	}
	g->have = g->gone = 0;
	return 1;
}

static int gather_write(BIO *b, const char *p, int n)
{
	struct gather *g = BIO_get_data(b);
	size_t room;
	int r;

	BIO_clear_retry_flags(b);
	if (must_go(g)) {
		r = push_down(b, g);
		if (r <= 0)
			return r;
	}
	room = sizeof(g->data) - g->have;
	n = (size_t)n < room ? n : (int)room;
	memcpy(g->data + g->have, p, (size_t)n);
	g->have += (size_t)n;
	if (must_go(g)) {
		r = push_down(b, g);
		/* These bytes are accepted already: a full socket makes the next write wait. */
		if (r <= 0 && !BIO_should_retry(b))
			return r;
		BIO_clear_retry_flags(b);
	}
	return n;
}

static int gather_read(BIO *b, char *p, int n)
{
	int r = BIO_read(BIO_next(b), p, n);

	BIO_clear_retry_flags(b);
	BIO_copy_next_retry(b);
	return r;
}

static long gather_ctrl(BIO *b, int cmd, long num, void *p)
{
	struct gather *g = BIO_get_data(b);
	long r;

	switch (cmd) {
	case BIO_CTRL_FLUSH:
		BIO_clear_retry_flags(b);
		r = push_down(b, g);
		if (r <= 0)
			return r;
		r = BIO_ctrl(BIO_next(b), cmd, num, p);
		BIO_copy_next_retry(b);
		return r;
	case BIO_CTRL_WPENDING:
		return (long)(g->have - g->gone);
	default:
		return BIO_ctrl(BIO_next(b), cmd, num, p);
	}
}

static int gather_destroy(BIO *b)
{
	free(BIO_get_data(b));
	BIO_set_data(b, NULL);
	return 1;
}

static const BIO_METHOD *method(void)
{
	static BIO_METHOD *m;

	if (m)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "twinvm gather");
	if (m && BIO_meth_set_write(m, gather_write) && BIO_meth_set_read(m, gather_read) &&
	    BIO_meth_set_ctrl(m, gather_ctrl) && BIO_meth_set_destroy(m, gather_destroy))
		return m;
	BIO_meth_free(m);
	m = NULL;
	return NULL;
}

int tls_set_socket(SSL *ssl, int fd)
{
	struct gather *g = malloc(sizeof(*g));
	BIO *b = method() ? BIO_new(method()) : NULL, *sock = BIO_new_socket(fd, BIO_NOCLOSE);

	if (!g || !b || !sock) {
		BIO_free(b);
		BIO_free(sock);
		free(g);
		return -1;
	}
	g->have = g->gone = 0;
	BIO_set_data(b, g);
	BIO_set_init(b, 1);
	b = BIO_push(b, sock);
	SSL_set_bio(ssl, b, b);
	return 0;
}

int tls_flush(SSL *ssl)
{
	BIO *b = SSL_get_wbio(ssl);

	if (BIO_flush(b) > 0)
		return 1;
	return BIO_should_retry(b) ? 0 : -1;
}

size_t tls_unflushed(SSL *ssl)
{
	return (size_t)BIO_wpending(SSL_get_wbio(ssl));
}
