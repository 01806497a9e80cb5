/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and replies on a pair of SOCK_SEQPACKET sockets: each is one packet, whole or not at all. */
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHAPE(c, body, tail)                                       \
	{                                                          \
		MON_##c, sizeof(((union mon_body *)0)->body), tail \
	}
#define BARE(c)               \
	{                     \
		MON_##c, 0, 0 \
	}
const struct mon_shape mon_shapes[MON_VERBS] = {
	[MON_V_VM] = SHAPE(LOOP, vm, 0),
	[MON_V_SLOT] = SHAPE(LOOP, slot, 0),
	[MON_V_PROMOTED] = SHAPE(LOOP, promoted, 0),
	[MON_V_FRAME] = {MON_LOOP, 0, MON_FRAME_BYTES},
	[MON_V_QEMU] = SHAPE(APPLY, qemu, 0),
	[MON_V_CHECK] = SHAPE(APPLY, check, 0),
	[MON_V_START] = SHAPE(APPLY, start, MON_TAIL_BYTES),
	[MON_V_QMP] = BARE(APPLY),
	[MON_V_SIGNAL] = SHAPE(APPLY, signal, 0),
	[MON_V_TAPS] = BARE(APPLY),
	[MON_V_CLEAN] = SHAPE(APPLY, clean, 0),
	[MON_V_ARBITER] = SHAPE(ARBITER, arbiter, 0),
	[MON_V_CLAIM] = SHAPE(ARBITER, claim, 0),
};

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(MON_MAX_FDS * sizeof(int))];
};

bool mon_is_text(const char *field, size_t room)
{
	return field[0] && memchr(field, 0, room);
}

void mon_fail(struct mon_reply *r, int rc, const char *text)
{
	r->rc = rc;
	r->fds = 0;
	tv_copy(r->text, sizeof(r->text), text ? text : tv_strerror(rc));
}

/* How many descriptors came; they are in fds, at most MON_MAX_FDS. */
static unsigned take_fds(struct msghdr *m, int fds[MON_MAX_FDS])
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		unsigned here = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < MON_MAX_FDS)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void close_all(int fds[MON_MAX_FDS], unsigned n)
{
	while (n)
		close(fds[--n]);
}

static ssize_t receive(int fd, struct iovec *v, unsigned nv, int fds[MON_MAX_FDS], unsigned *nfds)
{
	union control control;
	struct msghdr m = {.msg_iov = v,
			   .msg_iovlen = nv,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	*nfds = n < 0 ? 0 : take_fds(&m, fds);
	if (n >= 0 && m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_all(fds, *nfds);
		*nfds = 0;
		return -EBADMSG;
	}
	return n < 0 ? -errno : n;
}

static bool fits(const struct mon_head *h, size_t bytes, enum mon_channel channel)
{
	const struct mon_shape *s;

	if (bytes < sizeof(*h) || h->verb >= MON_VERBS || h->reserved)
		return false;
	s = &mon_shapes[h->verb];
	return s->channel == channel && h->body_bytes == s->body_bytes &&
	       h->tail_bytes <= s->tail_bytes &&
	       bytes == sizeof(*h) + h->body_bytes + h->tail_bytes;
}

int mon_receive(int fd, enum mon_channel channel, struct mon_request *out)
{
	/* One buffer: where the tail begins is known only from the head. */
	static __thread uint8_t
		packet[sizeof(struct mon_head) + sizeof(union mon_body) + MON_TAIL_BYTES];
	struct iovec v = {packet, sizeof(packet)};
	int fds[MON_MAX_FDS];
	unsigned nfds;
	ssize_t n = receive(fd, &v, 1, fds, &nfds);

	close_all(fds, nfds);
	if (n <= 0)
		return n == -ECONNRESET ? 0 : (int)n;
	memset(out, 0, offsetof(struct mon_request, tail));
	memcpy(&out->head, packet, (size_t)n < sizeof(out->head) ? (size_t)n : sizeof(out->head));
	if (nfds || !fits(&out->head, (size_t)n, channel))
		return -EBADMSG;
	memcpy(&out->body, packet + sizeof(out->head), out->head.body_bytes);
	memcpy(out->tail, packet + sizeof(out->head) + out->head.body_bytes, out->head.tail_bytes);
	out->tail[out->head.tail_bytes] = 0;
	return 1;
}

/* -errno; both ends are here, so a packet goes as a whole. */
static int send_packet(int fd, struct iovec *v, unsigned nv, const int *fds, unsigned nfds)
{
	union control control = {0};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = nv};
	ssize_t n;

	if (nfds) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(nfds * sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int mon_answer(int fd, const struct mon_reply *r, const int *fds)
{
	struct iovec v = {(void *)r, sizeof(*r)};

	return send_packet(fd, &v, 1, fds, r->fds);
}

int mon_call(int fd, enum mon_verb verb, const void *body, const void *tail, size_t tail_bytes,
	     struct mon_reply *r, int fds[MON_MAX_FDS])
{
	const struct mon_shape *s = &mon_shapes[verb];
	struct mon_head h = {
		.verb = verb, .body_bytes = s->body_bytes, .tail_bytes = (uint32_t)tail_bytes};
	struct iovec v[3] = {
		{&h, sizeof(h)}, {(void *)body, s->body_bytes}, {(void *)tail, tail_bytes}};
	struct iovec back = {r, sizeof(*r)};
	unsigned nfds;
	ssize_t n;

	if (tail_bytes > s->tail_bytes)
		return -EMSGSIZE;
	if (send_packet(fd, v, 3, NULL, 0))
		return TV_E_GONE;
	n = receive(fd, &back, 1, fds, &nfds);
	if (n == (ssize_t)sizeof(*r) && nfds == r->fds) {
		r->text[sizeof(r->text) - 1] = 0;
		return 0;
	}
	close_all(fds, nfds);
	return TV_E_GONE;
}
