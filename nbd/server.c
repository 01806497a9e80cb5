/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * A connection is negotiated (fixed newstyle, no TLS: it is a socket pair) and then serves requests
 * one after the other in its thread. Writes are read in pieces of at most NBD_PIECE_BYTES and given
 * to the owner; the answer follows when the last piece was taken. Reading is not offered there: a
 * mirror's target is never read, so that a READ is answered with EIO. Where the owner gives a disk to
 * be read, nothing else is offered, and a WRITE is received and refused with EPERM. Flush is not offered either
 * (QEMU would send one at every pause of the VM, and what was answered is as safe as it gets here),
 * but answered.
 *
 * The end: nbd_cut shuts the sockets down, which wakes a thread out of any socket call; a thread
 * that waits in a callback is the owner's to wake. A socket is closed by its own thread only, so
 * that no descriptor is used after it was given to something else.
 */
#include "nbd/nbd.h"
#include "nbd/proto.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
	struct nbd *n;
	unsigned disk;
	uint64_t bytes; /* of the disk */
	int fd;
	bool open; /* under lock: fd may be shut down */
	pthread_t thread;
	bool no_zeroes;
	const char *why;
	uint8_t *piece;
};

struct nbd {
	struct nbd_ops ops;
	void *arg;
	pthread_mutex_t lock;
	bool cut;
	struct conn conns[NBD_MAX_DISKS];
	unsigned count;
};

/* ---- bytes, big endian ---- */
static void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}
static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}
static void put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}
static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}
static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/* 0, or -EPIPE with the reason kept: the connection is to end. */
static int end(struct conn *c, const char *why)
{
	if (!c->why)
		c->why = why;
	return -EPIPE;
}

static int get(struct conn *c, void *p, size_t n)
{
	return tv_read_all(c->fd, p, n) ? end(c, "QEMU closed the connection") : 0;
}

static int put(struct conn *c, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t r = send(c->fd, at, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return end(c, "QEMU closed the connection");
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

/* ---- negotiation ---- */
static int option_reply(struct conn *c, uint32_t option, uint32_t type, const void *p, uint32_t n)
{
	uint8_t b[20 + 32];

	put64(b, NBD_REP_MAGIC);
	put32(b + 8, option);
	put32(b + 12, type);
	put32(b + 16, n);
	if (n)
		memcpy(b + 20, p, n);
	return put(c, b, 20 + n);
}

static uint16_t transmission_flags(const struct conn *c)
{
	if (c->n->ops.read)
		return NBD_T_HAS_FLAGS | NBD_T_READ_ONLY;
	return NBD_T_HAS_FLAGS | NBD_T_SEND_TRIM | NBD_T_SEND_WRITE_ZEROES;
}

/* INFO and GO: name (any, there is one export a socket) and a list of what the client wants to
 * know. */
static bool good_info_request(const uint8_t *p, uint32_t n)
{
	uint32_t name;

	if (n < 6)
		return false;
	name = get32(p);
	return name <= n - 6 && n - 6 - name == 2u * get16(p + 4 + name);
}

static int tell_info(struct conn *c, uint32_t option)
{
	uint8_t export[12], sizes[14];
	int rc;

	put16(export, NBD_INFO_EXPORT);
	put64(export + 2, c->bytes);
	put16(export + 10, transmission_flags(c));
	put16(sizes, NBD_INFO_BLOCK_SIZE);
	put32(sizes + 2, 1);
	put32(sizes + 6, 4096);
	put32(sizes + 10, NBD_MAX_REQUEST_BYTES);
	rc = option_reply(c, option, NBD_REP_INFO, export, sizeof(export));
	if (!rc)
		rc = option_reply(c, option, NBD_REP_INFO, sizes, sizeof(sizes));
	return rc ? rc : option_reply(c, option, NBD_REP_ACK, NULL, 0);
}

static int old_style_go(struct conn *c)
{
	uint8_t b[10 + 124] = {0};

	put64(b, c->bytes);
	put16(b + 8, transmission_flags(c));
	return put(c, b, c->no_zeroes ? 10 : sizeof(b));
}

/* One option. 1: transmission begins. */
static int option(struct conn *c)
{
	uint8_t head[16];
	uint32_t opt, n;
	int rc;

	if (get(c, head, sizeof(head)))
		return -EPIPE;
	opt = get32(head + 8);
	n = get32(head + 12);
	if (get64(head) != NBD_OPTS_MAGIC || n > NBD_MAX_OPTION_BYTES)
		return end(c, "malformed NBD option");
	if (n && get(c, c->piece, n))
		return -EPIPE;
	switch (opt) {
	case NBD_OPT_EXPORT_NAME:
		rc = old_style_go(c);
		return rc ? rc : 1;
	case NBD_OPT_ABORT:
		(void)!option_reply(c, opt, NBD_REP_ACK, NULL, 0);
		return end(c, "QEMU aborted the NBD negotiation");
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		if (!good_info_request(c->piece, n))
			return option_reply(c, opt, NBD_REP_ERR_INVALID, NULL, 0);
		rc = tell_info(c, opt);
		return rc ? rc : opt == NBD_OPT_GO;
	default:
		return option_reply(c, opt, NBD_REP_ERR_UNSUP, NULL, 0);
	}
}

static int negotiate(struct conn *c)
{
	uint8_t b[18], flags[4];
	int rc = 0;

	put64(b, NBD_MAGIC);
	put64(b + 8, NBD_OPTS_MAGIC);
	put16(b + 16, NBD_F_FIXED | NBD_F_NO_ZEROES);
	if (put(c, b, sizeof(b)) || get(c, flags, sizeof(flags)))
		return -EPIPE;
	if (get32(flags) & ~(uint32_t)(NBD_F_FIXED | NBD_F_NO_ZEROES))
		return end(c, "unknown NBD client flags");
	c->no_zeroes = get32(flags) & NBD_F_NO_ZEROES;
	for (unsigned i = 0; i < NBD_MAX_OPTIONS && !rc; i++)
		rc = option(c);
	if (!rc)
		return end(c, "too many NBD options");
	return rc < 0 ? rc : 0;
}

/* ---- requests ---- */
struct request {
	uint16_t type;
	uint8_t handle[8];
	uint64_t offset;
	uint32_t bytes;
};

static int answer(struct conn *c, const struct request *r, uint32_t error)
{
	uint8_t b[16];

	put32(b, NBD_REPLY_MAGIC);
	put32(b + 4, error);
	memcpy(b + 8, r->handle, 8);
	return put(c, b, sizeof(b));
}

static bool inside(const struct conn *c, const struct request *r)
{
	return r->bytes && r->bytes <= c->bytes && r->offset <= c->bytes - r->bytes;
}

static int take_write(struct conn *c, const struct request *r)
{
	uint32_t done = 0;

	/* A refused header is followed by its payload: the connection cannot continue behind it. */
	if (!inside(c, r) || r->bytes > NBD_MAX_REQUEST_BYTES)
		return end(c, "NBD write outside of the disk, or too long");
	while (done < r->bytes) {
		uint32_t n = r->bytes - done < NBD_PIECE_BYTES ? r->bytes - done : NBD_PIECE_BYTES;
		const struct nbd_ops *ops = &c->n->ops;
		uint8_t *p = ops->room ? ops->room(c->n->arg, c->disk) : NULL;

		if (!p)
			p = c->piece;
		if (get(c, p, n))
			return -EPIPE;
		if (ops->write(c->n->arg, c->disk, r->offset + done, p, n))
			return end(c, "");
		done += n;
	}
	return answer(c, r, 0);
}

/* The first piece is at hand before the answer begins: most requests are no longer. */
static int give_read(struct conn *c, const struct request *r)
{
	const struct nbd_ops *ops = &c->n->ops;
	uint32_t done = 0;

	if (!ops->read || !inside(c, r) || r->bytes > NBD_MAX_REQUEST_BYTES)
		return answer(c, r, ops->read ? NBD_EINVAL : NBD_EIO);
	while (done < r->bytes) {
		uint32_t n = r->bytes - done < NBD_PIECE_BYTES ? r->bytes - done : NBD_PIECE_BYTES;

		if (ops->read(c->n->arg, c->disk, r->offset + done, c->piece, n))
			return done ? end(c, "a disk could not be read") : answer(c, r, NBD_EIO);
		if ((!done && answer(c, r, 0)) || put(c, c->piece, n))
			return -EPIPE;
		done += n;
	}
	return 0;
}

/* To a disk that may only be read. */
static int refuse_write(struct conn *c, const struct request *r)
{
	uint32_t left = r->type == NBD_CMD_WRITE ? r->bytes : 0;

	if (left > NBD_MAX_REQUEST_BYTES)
		return end(c, "NBD write that is too long");
	while (left) {
		uint32_t n = left < NBD_PIECE_BYTES ? left : NBD_PIECE_BYTES;

		if (get(c, c->piece, n))
			return -EPIPE;
		left -= n;
	}
	return answer(c, r, NBD_EPERM);
}

static int take_zero(struct conn *c, const struct request *r)
{
	if (!inside(c, r))
		return answer(c, r, NBD_EINVAL);
	if (c->n->ops.zero(c->n->arg, c->disk, r->offset, r->bytes, r->type == NBD_CMD_TRIM))
		return end(c, "");
	return answer(c, r, 0);
}

static int request(struct conn *c)
{
	uint8_t b[NBD_REQUEST_BYTES];
	struct request r;

	if (get(c, b, sizeof(b)))
		return -EPIPE;
	if (get32(b) != NBD_REQUEST_MAGIC)
		return end(c, "malformed NBD request: wrong magic number");
	r.type = get16(b + 6);
	memcpy(r.handle, b + 8, 8);
	r.offset = get64(b + 16);
	r.bytes = get32(b + 24);
	switch (r.type) {
	case NBD_CMD_WRITE:
		return c->n->ops.read ? refuse_write(c, &r) : take_write(c, &r);
	case NBD_CMD_WRITE_ZEROES:
	case NBD_CMD_TRIM:
		return c->n->ops.read ? refuse_write(c, &r) : take_zero(c, &r);
	case NBD_CMD_FLUSH:
		return answer(c, &r, 0);
	case NBD_CMD_READ:
		return give_read(c, &r);
	case NBD_CMD_DISC:
		return end(c, "QEMU ended the mirror");
	default:
		return answer(c, &r, NBD_EINVAL);
	}
}

static void *serve(void *arg)
{
	struct conn *c = arg;
	struct nbd *n = c->n;
	bool cut;

	if (!negotiate(c))
		while (!request(c))
			;
	pthread_mutex_lock(&n->lock);
	c->open = false;
	cut = n->cut;
	tv_close_fd(&c->fd);
	pthread_mutex_unlock(&n->lock);
	n->ops.closed(n->arg, c->disk, cut ? "" : c->why ? c->why : "");
	return NULL;
}

/* ---- the room's door ---- */
int nbd_new(const struct nbd_ops *ops, void *arg, struct nbd **out)
{
	struct nbd *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->ops = *ops;
	n->arg = arg;
	pthread_mutex_init(&n->lock, NULL);
	*out = n;
	return 0;
}

int nbd_add(struct nbd *n, uint64_t bytes, int fd, unsigned *disk)
{
	struct conn *c;
	int rc = 0;

	pthread_mutex_lock(&n->lock);
	c = &n->conns[n->count];
	if (!bytes || bytes > INT64_MAX || n->cut)
		rc = -EINVAL;
	else if (n->count == NBD_MAX_DISKS)
		rc = -EMFILE;
	if (!rc) {
		*c = (struct conn){
			.n = n, .disk = n->count, .bytes = bytes, .fd = fd, .open = true};
		c->piece = malloc(NBD_PIECE_BYTES);
		if (!c->piece || pthread_create(&c->thread, NULL, serve, c)) {
			free(c->piece);
			rc = -ENOMEM;
		}
	}
	if (!rc)
		*disk = n->count++;
	pthread_mutex_unlock(&n->lock);
	if (rc)
		close(fd);
	return rc;
}

void nbd_cut(struct nbd *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&n->lock);
	n->cut = true;
	for (unsigned i = 0; i < n->count; i++)
		if (n->conns[i].open)
			shutdown(n->conns[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&n->lock);
}

void nbd_free(struct nbd *n)
{
	if (!n)
		return;
	nbd_cut(n);
	for (unsigned i = 0; i < n->count; i++) {
		pthread_join(n->conns[i].thread, NULL);
		free(n->conns[i].piece);
	}
	pthread_mutex_destroy(&n->lock);
	free(n);
}
