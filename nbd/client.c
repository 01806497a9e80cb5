/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other end of NBD: reads an export of QEMU's, one request at a time, with blocking calls. The
 * server is a VM's QEMU: what it answers is checked, and a violation ends the connection.
 */
#include "nbd/nbd.h"
#include "nbd/proto.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FLAGS (NBD_F_FIXED | NBD_F_NO_ZEROES) /* of every server for ten years */

struct nbd_reader {
	int fd;
	uint64_t bytes, cookie;
};

static int receive(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t r = recv(fd, p, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return !r ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
		p = (uint8_t *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

static int send_all(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		p = (const uint8_t *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

/* The oldest way to choose an export, which every server has: no answer but its size, or the end. */
static int choose(struct nbd_reader *r, const char *name)
{
	struct {
		uint64_t magic, option_magic;
		uint16_t flags;
	} __attribute__((packed)) hello;
	struct {
		uint32_t flags;
		uint64_t magic;
		uint32_t option, bytes;
	} __attribute__((packed))
	want = {htobe32(NBD_F_FIXED | NBD_F_NO_ZEROES), htobe64(NBD_OPTS_MAGIC),
		htobe32(NBD_OPT_EXPORT_NAME), htobe32((uint32_t)strlen(name))};
	struct {
		uint64_t bytes;
		uint16_t flags;
	} __attribute__((packed)) got;
	int rc = receive(r->fd, &hello, sizeof(hello));

	if (!rc &&
	    (be64toh(hello.magic) != NBD_MAGIC || be64toh(hello.option_magic) != NBD_OPTS_MAGIC ||
	     (be16toh(hello.flags) & FLAGS) != FLAGS))
		rc = TV_E_PROTOCOL;
	if (!rc)
		rc = send_all(r->fd, &want, sizeof(want));
	if (!rc)
		rc = send_all(r->fd, name, strlen(name));
	if (!rc)
		rc = receive(r->fd, &got, sizeof(got));
	if (!rc)
		r->bytes = be64toh(got.bytes);
	return rc;
}

int nbd_reader_new(int fd, const char *name, int timeout_ms, struct nbd_reader **out)
{
	struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
	struct nbd_reader *r = calloc(1, sizeof(*r));
	int rc = r ? 0 : -ENOMEM;

	*out = NULL;
	if (!rc) {
		r->fd = fd;
		if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ||
		    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)))
			rc = -errno;
	} else {
		close(fd);
	}
	if (!rc)
		rc = choose(r, name);
	if (rc)
		nbd_reader_free(r);
	else
		*out = r;
	return rc;
}

uint64_t nbd_reader_bytes(const struct nbd_reader *r)
{
	return r->bytes;
}

int nbd_reader_read(struct nbd_reader *r, uint64_t offset, void *p, uint32_t bytes)
{
	struct {
		uint32_t magic;
		uint16_t flags, type;
		uint64_t cookie, offset;
		uint32_t bytes;
	} __attribute__((packed))
	want = {htobe32(NBD_REQUEST_MAGIC), 0, 0, ++r->cookie, htobe64(offset), htobe32(bytes)};
	struct {
		uint32_t magic, error;
		uint64_t cookie;
	} __attribute__((packed)) got;
	int rc = send_all(r->fd, &want, sizeof(want));

	if (!rc)
		rc = receive(r->fd, &got, sizeof(got));
	if (!rc && (be32toh(got.magic) != NBD_REPLY_MAGIC || got.cookie != r->cookie))
		rc = TV_E_PROTOCOL;
	if (!rc && got.error)
		rc = -EIO;
	return rc ? rc : receive(r->fd, p, bytes);
}

void nbd_reader_free(struct nbd_reader *r)
{
	if (!r)
		return;
	close(r->fd);
	free(r);
}
