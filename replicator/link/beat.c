/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: heartbeats beside the stream
 *
 * A heartbeat inside the TCP stream waits for everything before it: for a lost segment's
 * retransmission (200 ms at least, doubling) and for what a slow link still has to carry. Neither
 * means that a host is dead, and both would look like it. So heartbeats travel as datagrams too: 56
 * bytes, several per heartbeat interval, each by itself. The stream carries heartbeats as well:
 * where datagrams are filtered, those and every other byte of the stream are the sign of life.
 *
 * Authentic by HMAC-SHA-256, cut to 16 bytes, under a key that both ends take from the TLS session
 * (RFC 8446 section 7.5, RFC 5705): no key travels and a new connection has a new key. The sender's
 * role is under the MAC, so that a datagram cannot be sent back to its sender; sequence numbers
 * only grow, so that an old one cannot be sent again. What is not authentic, or does not come from the
 * address of the stream's peer, is ignored and not logged (anybody can send it).
 *
 * Layout, little endian: be32 "tvHB", u8 role (1: the side that connected), u8 kind, u16 0, u64
 * seq, i64 sent_ns, u64 generation, u64 moved, 16 bytes MAC over the first 40.
 */
#include "replicator/link/conn_int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <event2/bufferevent_ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#define BEAT_BYTES 56
#define BEAT_SIGNED_BYTES 40
#define BEAT_MAC_BYTES 16
#define BEAT_KEY_BYTES 32
#define BEAT_LABEL "EXPORTER-twinvm-heartbeat"
#define MAX_PER_TURN 64

struct repl_beat {
	int fd;
	bool initiator, connected;
	uint8_t key[BEAT_KEY_BYTES];
	uint64_t last_seq[REPL_BEAT_KINDS]; /* received, per kind */
	struct sockaddr_storage peer;	    /* address of the stream's peer; the port is learned */
	socklen_t peer_bytes;
	struct event *ev;
	repl_beat_cb cb;
	void *arg;
};

static const uint8_t magic[4] = {'t', 'v', 'H', 'B'};

static void sign(const struct repl_beat *b, const uint8_t *msg, uint8_t mac[BEAT_MAC_BYTES])
{
	uint8_t full[EVP_MAX_MD_SIZE];
	unsigned n;

	if (!HMAC(EVP_sha256(), b->key, sizeof(b->key), msg, BEAT_SIGNED_BYTES, full, &n))
		abort(); /* openssl without memory for a digest */
	memcpy(mac, full, BEAT_MAC_BYTES);
}

static void set_port(struct sockaddr_storage *a, uint16_t port)
{
	if (a->ss_family == AF_INET6)
		((struct sockaddr_in6 *)a)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)a)->sin_port = htons(port);
}

static uint16_t get_port(const struct sockaddr_storage *a)
{
	return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
					      : ((const struct sockaddr_in *)a)->sin_port);
}

/* The port is free: it is learned from the first authentic datagram. */
static bool is_of_peer(const struct repl_beat *b, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *a4 = (const void *)&b->peer, *b4 = (const void *)from;
	const struct sockaddr_in6 *a6 = (const void *)&b->peer, *b6 = (const void *)from;

	if (from->ss_family != b->peer.ss_family)
		return false;
	if (from->ss_family == AF_INET6)
		return !memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) &&
		       a6->sin6_scope_id == b6->sin6_scope_id;
	return from->ss_family == AF_INET && a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

static bool authentic(const struct repl_beat *b, const uint8_t *msg, size_t n)
{
	uint8_t mac[BEAT_MAC_BYTES];

	if (n != BEAT_BYTES || memcmp(msg, magic, 4) != 0 || msg[4] != (b->initiator ? 0 : 1) ||
	    msg[5] >= REPL_BEAT_KINDS)
		return false;
	sign(b, msg, mac);
	return !CRYPTO_memcmp(mac, msg + BEAT_SIGNED_BYTES, BEAT_MAC_BYTES);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct repl_beat *b = arg;

	(void)what;
	for (int i = 0; i < MAX_PER_TURN; i++) {
		uint8_t msg[BEAT_BYTES + 1];
		struct sockaddr_storage from;
		socklen_t from_bytes = sizeof(from);
		ssize_t n = recvfrom(fd, msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&from,
				     &from_bytes);
		struct repl_beat_msg m;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ECONNREFUSED)
			continue; /* an ICMP message: the stream's end is the better sign */
		if (n < 0)
			return;
		if (!is_of_peer(b, &from) || !authentic(b, msg, (size_t)n))
			continue;
		m = (struct repl_beat_msg){.kind = (enum repl_beat_kind)msg[5],
					   .seq = tv_get_le64(msg + 8),
					   .sent_ns = (int64_t)tv_get_le64(msg + 16),
					   .generation = tv_get_le64(msg + 24),
					   .moved = tv_get_le64(msg + 32)};
		if (m.seq <= b->last_seq[m.kind])
			continue;
		b->last_seq[m.kind] = m.seq;
		if (!b->connected && !connect(fd, (struct sockaddr *)&from, from_bytes))
			b->connected = true;
		b->cb(&m, tv_now_ns(), b->arg);
	}
}

int repl_beat_new(struct event_base *base, struct repl_conn *c, bool initiator, repl_beat_cb cb,
		  void *arg, uint16_t *port, struct repl_beat **out)
{
	struct repl_beat *b = calloc(1, sizeof(*b));
	struct sockaddr_storage local;
	socklen_t local_bytes = sizeof(local);
	SSL *ssl = c->bev ? bufferevent_openssl_get_ssl(c->bev) : NULL;
	int tcp = c->bev ? bufferevent_getfd(c->bev) : -1, rc = -ENOTCONN;

	*out = NULL;
	if (!b)
		return -ENOMEM;
	*b = (struct repl_beat){.fd = -1,
				.initiator = initiator,
				.cb = cb,
				.arg = arg,
				.peer_bytes = sizeof(b->peer)};
	if (!ssl || getsockname(tcp, (struct sockaddr *)&local, &local_bytes) ||
	    getpeername(tcp, (struct sockaddr *)&b->peer, &b->peer_bytes))
		goto fail;
	if (SSL_export_keying_material(ssl, b->key, sizeof(b->key), BEAT_LABEL, strlen(BEAT_LABEL),
				       NULL, 0, 0) != 1)
		goto fail;
	set_port(&local, 0);
	b->fd = socket(local.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b->fd < 0 || bind(b->fd, (struct sockaddr *)&local, local_bytes) ||
	    getsockname(b->fd, (struct sockaddr *)&local, &local_bytes)) {
		rc = -errno;
		goto fail;
	}
	*port = get_port(&local);
	b->ev = event_new(base, b->fd, EV_READ | EV_PERSIST, on_readable, b);
	if (!b->ev || event_add(b->ev, NULL)) {
		rc = -ENOMEM;
		goto fail;
	}
	*out = b;
	return 0;
fail:
	repl_beat_free(b);
	return rc;
}

int repl_beat_connect(struct repl_beat *b, uint16_t port)
{
	set_port(&b->peer, port);
	if (!port || connect(b->fd, (struct sockaddr *)&b->peer, b->peer_bytes))
		return port ? -errno : -EINVAL;
	b->connected = true;
	return 0;
}

void repl_beat_send(struct repl_beat *b, const struct repl_beat_msg *m)
{
	uint8_t msg[BEAT_BYTES] = {0};

	if (!b || !b->connected)
		return;
	memcpy(msg, magic, 4);
	msg[4] = b->initiator;
	msg[5] = (uint8_t)m->kind;
	tv_put_le64(msg + 8, m->seq);
	tv_put_le64(msg + 16, (uint64_t)m->sent_ns);
	tv_put_le64(msg + 24, m->generation);
	tv_put_le64(msg + 32, m->moved);
	sign(b, msg, msg + BEAT_SIGNED_BYTES);
	/* A datagram that cannot be sent now is a lost one; the next is soon. */
	if (send(b->fd, msg, sizeof(msg), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

void repl_beat_free(struct repl_beat *b)
{
	if (!b)
		return;
	if (b->ev)
		event_free(b->ev);
	if (b->fd >= 0)
		close(b->fd);
	OPENSSL_cleanse(b->key, sizeof(b->key));
	free(b);
}
