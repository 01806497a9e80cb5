/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link: one connection between two hosts. TLS 1.3 with certificates on both sides, framed messages,
 * priorities, bounded queues. Hides sockets, libevent's bufferevents and openssl.
 *
 * A frame is a 16-byte header (type, length, checksum: docs/WIRE.md) and a payload. Three types:
 * control (one protobuf message, replicator/link/control.proto), records (bytes of page records)
 * and disk (bytes of an epoch's disk records).
 *
 * Call order: repl_tls_new; repl_connect or repl_accept; callbacks come in the order opened,
 * frame..., closed; closed comes once, is the last, and the owner then calls repl_free (also
 * allowed inside any callback). All calls and callbacks belong to the event_base's thread. No
 * callback comes from inside a call. What the peer sent before its end is handed over before
 * closed; while reading is switched off (repl_read_enable), closed waits for that.
 */
#ifndef REPLICATOR_LINK_LINK_H
#define REPLICATOR_LINK_LINK_H

#include "common/common.h"
#include "replicator/link/control.pb-c.h"
#include <event2/event.h>

#define REPL_PROTOCOL 4u
#define REPL_MAX_CONTROL_BYTES (256u << 10)
#define REPL_MAX_RECORDS_BYTES (1u << 20)

struct repl_tls;
struct repl_tls_conf {
	const char *ca, *cert, *key; /* PEM files; an extended key usage, if any, must allow client
				      * and server */
	const char *crl;	     /* PEM file with revocation lists; NULL or "": none */
	/*
	 * May a host of that name be connected with? Called in the handshake, for a certificate
	 * that is otherwise good. 0; -EKEYREVOKED: its certificate is revoked; any other code: it
	 * is not a peer. why: a sentence. NULL: every host that the CA signed may.
	 */
	int (*admit)(const char *name, const void *arg, struct tv_err *why);
	const void *admit_arg; /* must live as long as the connections */
};
/* Loads the files. The sentence names the file and the fault; -EKEYEXPIRED: the CRL has expired.
 * Ignores SIGPIPE unless it has a handler. */
int repl_tls_new(const struct repl_tls_conf *conf, struct repl_tls **out,
		 struct tv_err *e) TV_MUST_CHECK;
void repl_tls_free(struct repl_tls *tls);
/* For a process that begins no handshake any more: the private key leaves its memory, once those under
 * way have ended. */
void repl_tls_forget_key(struct repl_tls *tls);

struct repl_conn;
struct repl_ops {
	/* TLS is up and the peer's certificate is good; peer is its common name. On the connecting
	 * side the peer may still reject this side's certificate (TLS 1.3): then closed(-EPROTO)
	 * follows. */
	void (*opened)(struct repl_conn *c, const char *peer, void *arg);
	/* One control message; freed by the caller after return. */
	void (*control)(struct repl_conn *c, const Twinvm__Control *msg, int64_t now_ns, void *arg);
	/* Bytes of page records, at most REPL_MAX_RECORDS_BYTES. */
	void (*records)(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg);
	/* Bytes of disk records of an epoch (0: first copy); NULL: a disk frame is a violation of
	 * the protocol. */
	void (*disk)(struct repl_conn *c, uint64_t epoch, const uint8_t *p, size_t n,
		     int64_t now_ns, void *arg);
	/* The queue of bulk data has fallen below half its limit again; may be NULL. */
	void (*drained)(struct repl_conn *c, void *arg);
	/* The end. rc: -ECONNRESET or -EPIPE the peer's process ended or closed the connection (its
	 * kernel lives), -ETIMEDOUT, -EPROTO TLS failed (wrong certificate), TV_E_PROTOCOL,
	 * TV_E_CORRUPT and others; why is a sentence that names the peer. */
	void (*closed)(struct repl_conn *c, int rc, const char *why, void *arg);
};
struct repl_opts {
	size_t queue_bytes;	  /* limit of queued bulk data; 0: 4 MiB */
	int handshake_timeout_ms; /* connect and handshake together; 0: 5000 */
	int stuck_timeout_ms;	  /* nothing that was sent is acknowledged: -ETIMEDOUT; 0: as TCP */
	const char *expect_peer;  /* common name the peer must have; NULL: any that is admitted */
};
/* host: name or address; the name look-up must not block the loop. */
int repl_connect(struct event_base *base, struct repl_tls *tls, const char *host, uint16_t port,
		 const struct repl_opts *opts, const struct repl_ops *ops, void *arg,
		 struct repl_conn **out, struct tv_err *e) TV_MUST_CHECK;
/* Takes over fd, also on failure. */
int repl_accept(struct event_base *base, struct repl_tls *tls, int fd, const struct repl_opts *opts,
		const struct repl_ops *ops, void *arg, struct repl_conn **out,
		struct tv_err *e) TV_MUST_CHECK;
/* Drops the connection at once; no callback follows. NULL is allowed. */
void repl_free(struct repl_conn *c);
/* Sends what is queued and waits for the peer to close too, all in at most timeout_ms; then closed
 * comes: with rc 0 when the peer has closed, -ETIMEDOUT when it has not, and may not know of the
 * end. What the peer sends from now on is discarded. */
void repl_finish(struct repl_conn *c, int timeout_ms);

/* Control messages go before all queued bulk data (at the next frame boundary) when urgent, else in
 * order with it. -ENOTCONN; -EMSGSIZE over REPL_MAX_CONTROL_BYTES; -EINVAL without a kind; -ENOBUFS
 * when 4 MiB of control messages wait for a peer that does not read; -ENOMEM. */
int repl_send(struct repl_conn *c, const Twinvm__Control *msg, bool urgent) TV_MUST_CHECK;
/* Bulk data, copied, split into frames of 32 KiB: a byte stream, its pieces keep no boundaries.
 * -EAGAIN when the queue is full (nothing is taken): wait for drained. -EMSGSIZE for more than
 * queue_bytes at once; -ENOTCONN; -ENOMEM. */
int repl_send_records(struct repl_conn *c, const void *p, size_t n) TV_MUST_CHECK;
/* The same for disk records of an epoch, in one order with the page records. */
int repl_send_disk(struct repl_conn *c, uint64_t epoch, const void *p, size_t n) TV_MUST_CHECK;
/* Frames not yet given to the kernel, of both kinds. */
size_t repl_queued_bytes(const struct repl_conn *c);
/* Stops or resumes reading from the peer: back-pressure of the receiver. No frame comes while it is
 * off (also not from inside a callback on), and the peer's end is only noticed by sending. */
void repl_read_enable(struct repl_conn *c, bool on);
/* When the last byte of the peer arrived (tv_now_ns). */
int64_t repl_last_rx_ns(const struct repl_conn *c);
uint64_t repl_sent_bytes(const struct repl_conn *c);
/* What the peer's TCP has acknowledged, of all but urgent messages: grows as long as the stream
 * moves, but not by heartbeats alone. Exact to a TLS record; one system call. */
uint64_t repl_acked_bytes(struct repl_conn *c);
/* How often nothing more has waited to be sent. While it stays the same and repl_queued_bytes is not 0,
 * the network or the peer is what sending waits for. */
uint64_t repl_idles(const struct repl_conn *c);
/* The shortest round trip that the kernel has seen on the connection; 0: not known. */
int64_t repl_min_rtt_ns(struct repl_conn *c);
/* The kernel's running mean of it; 0: not known. */
int64_t repl_rtt_ns(struct repl_conn *c);
/* Common name once opened, host:port before. */
const char *repl_peer(const struct repl_conn *c);

/* ---- heartbeats as datagrams beside the stream (beat.c) ---- */
enum repl_beat_kind { REPL_BEAT, REPL_BEAT_ECHO, REPL_BEAT_KINDS };
struct repl_beat_msg {
	enum repl_beat_kind kind;
	uint64_t seq;
	int64_t sent_ns; /* by the clock of the host that stamped it */
	uint64_t generation;
	uint64_t moved; /* echo: of the apply thread; 0 of an older host */
};
struct repl_beat_conf {
	bool initiator;	     /* this side connected: it sends heartbeats, the other echoes them */
	uint16_t port;	     /* of the peer; 0: learned from the first authentic datagram */
	int64_t every_ns;    /* initiator: how often one is sent */
	uint64_t generation; /* of the session; what has another one is not echoed */
	/* In the loop: the newest authentic datagram of the other side. Older ones that came since
	 * the last call are left out. */
	void (*cb)(const struct repl_beat_msg *m, void *arg);
	void *arg;
};
struct repl_beat;
/*
 * For an open connection; its key comes from the connection's TLS session. Starts the thread that
 * sends or echoes, which is allowed nothing yet. *port is where this side listens; the owner sends
 * it to the peer over the connection. -ENOTCONN, -ENOMEM, or socket errors.
 * Of the calls below b may be NULL, and all belong to the loop.
 */
int repl_beat_new(struct event_base *base, struct repl_conn *c, const struct repl_beat_conf *conf,
		  uint16_t *port, struct repl_beat **out) TV_MUST_CHECK;
/* Heartbeats are sent, or echoed, until then (tv_now_ns); 0: not any more. */
void repl_beat_allow(struct repl_beat *b, int64_t until_ns);
/* What echoes carry from now on. */
void repl_beat_moved(struct repl_beat *b, uint64_t moved);
/* When the last datagram of this session's generation arrived; 0: none has. */
int64_t repl_beat_rx_ns(struct repl_beat *b);
/* Calls cb at once if there is something new, as the loop would in a later turn. */
void repl_beat_look(struct repl_beat *b);
/* Waits for the thread, which ends at once. Not inside cb. */
void repl_beat_free(struct repl_beat *b);

/* ---- endpoint.c ---- */
/* HOST:PORT, an IPv6 address in brackets: for people, and as configurations have it. Returns out. */
#define REPL_ENDPOINT_ROOM 160
const char *repl_endpoint(char out[REPL_ENDPOINT_ROOM], const char *host, unsigned port);

#endif
