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
 *
 * The thread. A loop that encrypts an epoch, or waits for a CPU beside a guest that takes them all,
 * comes to its heartbeats late, and that looked like a dead host as well. So a thread of their own
 * sends and echoes them. It has a raised priority, takes nothing but what is in this file, and waits
 * for nobody (the lock below is held for a copy of a struct, by a loop that inherits the thread's
 * priority). Arrival is what this thread measures; the loop learns of it whenever it comes to it.
 *
 * What the thread must not do is to keep alive what is not: it sends and echoes only until a time
 * that the loop sets and moves forward at each tick (repl_beat_allow). The loop's side of the order
 * that makes an echo a lease: it forbids, then reads repl_beat_rx_ns; the thread's side (on_beat):
 * it notes the arrival, then looks whether it may echo. Either the thread finds that it may not, or
 * the loop finds the heartbeat. An echo that was allowed and leaves late (the thread was stopped in
 * between) is harmless: the lease runs from when its heartbeat was sent, and the loop has counted
 * silence from its arrival.
 */
#include "common/mailbox.h"
#include "replicator/link/conn_int.h"

#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEAT_BYTES 56
#define BEAT_SIGNED_BYTES 40
#define BEAT_MAC_BYTES 16
#define BEAT_KEY_BYTES 32
#define BEAT_LABEL "EXPORTER-twinvm-heartbeat"
#define MAX_PER_TURN 64

struct repl_beat {
	struct repl_beat_conf conf;
	int fd;
	uint8_t key[BEAT_KEY_BYTES];
	pthread_t thread;
	bool started;
	struct tv_wake end;  /* the thread is to end */
	struct tv_wake seen; /* the loop is to look at newest */
	struct event *ev;

	/* shared: by order of access, see above */
	_Atomic int64_t until_ns, rx_ns;
	_Atomic uint64_t moved;
	pthread_mutex_t lock; /* of newest */
	struct repl_beat_msg newest;
	bool has_newest;

	/* the thread's, once it runs */
	EVP_MAC_CTX *mac;
	bool connected;
	uint64_t last_seq[REPL_BEAT_KINDS]; /* received, per kind */
	uint64_t sent_seq;
	struct sockaddr_storage peer; /* address of the stream's peer; the port is learned */
	socklen_t peer_bytes;
};

static const uint8_t magic[4] = {'t', 'v', 'H', 'B'};

static void sign(const struct repl_beat *b, const uint8_t *msg, uint8_t mac[BEAT_MAC_BYTES])
{
	uint8_t full[EVP_MAX_MD_SIZE];
	size_t n;

	if (EVP_MAC_init(b->mac, b->key, sizeof(b->key), NULL) != 1 ||
	    EVP_MAC_update(b->mac, msg, BEAT_SIGNED_BYTES) != 1 ||
	    EVP_MAC_final(b->mac, full, &n, sizeof(full)) != 1)
		abort(); /* openssl without memory for a digest */
	memcpy(mac, full, BEAT_MAC_BYTES);
}

static int mac_new(struct repl_beat *b)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
			       OSSL_PARAM_construct_end()};
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	b->mac = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
	EVP_MAC_free(hmac);
	return b->mac && EVP_MAC_CTX_set_params(b->mac, params) == 1 ? 0 : -ENOMEM;
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

	if (n != BEAT_BYTES || memcmp(msg, magic, 4) != 0 ||
	    msg[4] != (b->conf.initiator ? 0 : 1) || msg[5] >= REPL_BEAT_KINDS)
		return false;
	sign(b, msg, mac);
	return !CRYPTO_memcmp(mac, msg + BEAT_SIGNED_BYTES, BEAT_MAC_BYTES);
}

/* ---- the thread ---- */
static void send_msg(struct repl_beat *b, const struct repl_beat_msg *m)
{
	uint8_t msg[BEAT_BYTES] = {0};

	memcpy(msg, magic, 4);
	msg[4] = b->conf.initiator;
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

/* An authentic datagram, newer than all before it. */
static void on_beat(struct repl_beat *b, const struct repl_beat_msg *m)
{
	bool of_session = m->generation == b->conf.generation;
	struct repl_beat_msg echo = *m;

	if (m->kind != (b->conf.initiator ? REPL_BEAT_ECHO : REPL_BEAT))
		return;
	if (b->conf.initiator && m->seq > b->sent_seq)
		return; /* it was never sent */
	if (of_session)
		atomic_store(&b->rx_ns, tv_now_ns());
	if (of_session && !b->conf.initiator && tv_now_ns() < atomic_load(&b->until_ns)) {
		echo.kind = REPL_BEAT_ECHO;
		echo.moved = atomic_load(&b->moved);
		send_msg(b, &echo);
	}
	pthread_mutex_lock(&b->lock);
	b->newest = *m;
	b->has_newest = true;
	pthread_mutex_unlock(&b->lock);
	tv_wake_up(&b->seen);
}

/* True: there may be more. */
static bool receive(struct repl_beat *b)
{
	for (int i = 0; i < MAX_PER_TURN; i++) {
		uint8_t msg[BEAT_BYTES + 1];
		struct sockaddr_storage from;
		socklen_t from_bytes = sizeof(from);
		ssize_t n = recvfrom(b->fd, msg, sizeof(msg), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &from_bytes);
		struct repl_beat_msg m;

		if (n < 0 && (errno == EINTR || errno == ECONNREFUSED))
			continue; /* an ICMP message: the stream's end is the better sign */
		if (n < 0)
			return false;
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
		if (!b->connected && !connect(b->fd, (struct sockaddr *)&from, from_bytes))
			b->connected = true;
		on_beat(b, &m);
	}
	return true;
}

static void heartbeat(struct repl_beat *b, int64_t now_ns)
{
	struct repl_beat_msg m = {.kind = REPL_BEAT,
				  .seq = b->sent_seq + 1,
				  .sent_ns = now_ns,
				  .generation = b->conf.generation};

	if (now_ns >= atomic_load(&b->until_ns))
		return;
	b->sent_seq++;
	send_msg(b, &m);
}

/* Before everything that has no deadline. Not for what this thread might start. */
static void raise_priority(void)
{
	const struct sched_param lowest = {.sched_priority = 1};

	if (!sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest))
		return;
	if (setpriority(PRIO_PROCESS, 0, -20)) /* of this thread only */
		tv_log(TV_DEBUG, "heartbeats have no priority over guests: %s", strerror(errno));
}

static void *beat_thread(void *arg)
{
	struct repl_beat *b = arg;
	struct pollfd fds[] = {{.fd = b->fd, .events = POLLIN},
			       {.fd = b->end.fd, .events = POLLIN}};
	/* A flood of datagrams does not get the CPU that a guest needs. */
	const struct timespec rest = {0, TV_NS_PER_MS};
	int64_t now_ns = tv_now_ns(), due_ns = now_ns;

	raise_priority();
	while (!(fds[1].revents & POLLIN)) {
		int64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
		struct timespec left = {left_ns / TV_NS_PER_S, left_ns % TV_NS_PER_S};

		if (ppoll(fds, 2, b->conf.initiator ? &left : NULL, NULL) < 0)
			fds[0].revents = fds[1].revents = 0;
		if (receive(b) && ppoll(fds + 1, 1, &rest, NULL) < 0)
			fds[1].revents = 0;
		now_ns = tv_now_ns();
		if (b->conf.initiator && now_ns >= due_ns) {
			heartbeat(b, now_ns);
			due_ns = now_ns + b->conf.every_ns;
		}
	}
	return NULL;
}

/* ---- the loop's side ---- */
void repl_beat_look(struct repl_beat *b)
{
	struct repl_beat_msg m;
	bool has;

	if (!b)
		return;
	tv_wake_clear(&b->seen);
	pthread_mutex_lock(&b->lock);
	m = b->newest;
	has = b->has_newest;
	b->has_newest = false;
	pthread_mutex_unlock(&b->lock);
	if (has)
		b->conf.cb(&m, b->conf.arg);
}

static void on_seen(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	repl_beat_look(arg);
}

void repl_beat_allow(struct repl_beat *b, int64_t until_ns)
{
	if (b)
		atomic_store(&b->until_ns, until_ns);
}

void repl_beat_moved(struct repl_beat *b, uint64_t moved)
{
	if (b)
		atomic_store(&b->moved, moved);
}

int64_t repl_beat_rx_ns(struct repl_beat *b)
{
	return b ? atomic_load(&b->rx_ns) : 0;
}

/* A socket of the stream's own address, and the key of its TLS session. */
static int open_socket(struct repl_beat *b, struct repl_conn *c, uint16_t *port)
{
	struct sockaddr_storage local;
	socklen_t local_bytes = sizeof(local);
	SSL *ssl = c->bev ? bufferevent_openssl_get_ssl(c->bev) : NULL;
	int tcp = c->bev ? bufferevent_getfd(c->bev) : -1;

	b->peer_bytes = sizeof(b->peer);
	if (!ssl || getsockname(tcp, (struct sockaddr *)&local, &local_bytes) ||
	    getpeername(tcp, (struct sockaddr *)&b->peer, &b->peer_bytes))
		return -ENOTCONN;
	if (SSL_export_keying_material(ssl, b->key, sizeof(b->key), BEAT_LABEL, strlen(BEAT_LABEL),
				       NULL, 0, 0) != 1)
		return -ENOTCONN;
	set_port(&local, 0);
	b->fd = socket(local.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b->fd < 0 || bind(b->fd, (struct sockaddr *)&local, local_bytes) ||
	    getsockname(b->fd, (struct sockaddr *)&local, &local_bytes))
		return -errno;
	*port = get_port(&local);
	if (!b->conf.port)
		return 0;
	set_port(&b->peer, b->conf.port);
	if (connect(b->fd, (struct sockaddr *)&b->peer, b->peer_bytes))
		return -errno;
	b->connected = true;
	return 0;
}

static int start(struct repl_beat *b, struct event_base *base)
{
	int rc = tv_wake_init(&b->end);

	if (!rc)
		rc = tv_wake_init(&b->seen);
	if (!rc)
		rc = mac_new(b);
	if (rc)
		return rc;
	b->ev = event_new(base, b->seen.fd, EV_READ | EV_PERSIST, on_seen, b);
	if (!b->ev || event_add(b->ev, NULL))
		return -ENOMEM;
	rc = -pthread_create(&b->thread, NULL, beat_thread, b);
	b->started = !rc;
	return rc;
}

int repl_beat_new(struct event_base *base, struct repl_conn *c, const struct repl_beat_conf *conf,
		  uint16_t *port, struct repl_beat **out)
{
	struct repl_beat *b = calloc(1, sizeof(*b));
	pthread_mutexattr_t inherit;
	int rc;

	*out = NULL;
	if (!b)
		return -ENOMEM;
	b->conf = *conf;
	b->fd = b->end.fd = b->seen.fd = -1;
	pthread_mutexattr_init(&inherit);
	pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&b->lock, &inherit);
	pthread_mutexattr_destroy(&inherit);
	rc = open_socket(b, c, port);
	if (!rc)
		rc = start(b, base);
	if (rc)
		repl_beat_free(b);
	else
		*out = b;
	return rc;
}

void repl_beat_free(struct repl_beat *b)
{
	if (!b)
		return;
	if (b->started) {
		tv_wake_up(&b->end);
		pthread_join(b->thread, NULL);
	}
	if (b->ev)
		event_free(b->ev);
	if (b->fd >= 0)
		close(b->fd);
	tv_wake_dispose(&b->end);
	tv_wake_dispose(&b->seen);
	pthread_mutex_destroy(&b->lock);
	EVP_MAC_CTX_free(b->mac);
	OPENSSL_cleanse(b->key, sizeof(b->key));
	free(b);
}
