/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A still's socket, the holder's side. What comes is made by a sink, which parses what another host
 * sends: it is checked as if that host had sent it. Sizes are compared with the files that they are
 * of, so that a holder may map these; that they shrink when the still ends is in still.h.
 */
#include "still/maker.h"
#include "still/still.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ABOUT_BYTES (16u << 20)

enum { FD_RAM, FD_BLOCKS, FD_STATE, FD_ABOUT, FDS };

struct message {
	json_t *body;
	int fds[STILL_MESSAGE_FDS];
	unsigned n;
};

static void drop(struct message *m)
{
	for (unsigned i = 0; i < m->n; i++)
		close(m->fds[i]);
	m->n = 0;
	json_decref(m->body);
	m->body = NULL;
}

static void take_fds(struct msghdr *h, struct message *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || m->n)
			continue;
		m->n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(c), m->n * sizeof(int));
	}
}

/* 1; 0: the socket is at its end. */
static int next(int fd, int flags, struct message *m, struct tv_err *e)
{
	char text[STILL_MESSAGE_BYTES];
	union {
		char room[CMSG_SPACE(sizeof(int) * STILL_MESSAGE_FDS)];
		struct cmsghdr align;
	} c;
	struct iovec v = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = c.room,
			   .msg_controllen = sizeof(c.room)};
	ssize_t n;

	*m = (struct message){0};
	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return tv_fail(e, -errno, "the still's socket: %s", tv_strerror(-errno));
	take_fds(&h, m);
	if (!n)
		return 0;
	if (!(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		m->body = json_loadb(text, (size_t)n, 0, NULL);
	if (json_is_object(m->body))
		return 1;
	drop(m);
	return tv_fail(e, TV_E_PROTOCOL, "a message on the still's socket is none");
}

static uint64_t number(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

static bool text(const json_t *o, const char *key, char *out, size_t room)
{
	const char *v = json_string_value(json_object_get(o, key));

	return tv_copy(out, room, v) && v;
}

/* How the maker ended it. */
static int ended(const json_t *msg, struct tv_err *e)
{
	json_int_t rc = json_integer_value(json_object_get(msg, "rc"));
	const char *why = json_string_value(json_object_get(msg, "why"));

	return tv_fail(e, rc < 0 && rc > -20000 ? (int)rc : TV_E_GONE, "%s",
		       why ? why : "it ended");
}

/* ---- about ---- */

static bool has_bytes(int fd, uint64_t bytes)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size >= bytes;
}

static bool read_blocks(struct still *s, json_t *list)
{
	uint64_t end = 0;
	unsigned mains = 0;
	json_t *o;
	size_t i;

	if (!json_array_size(list) || json_array_size(list) > STILL_MAX_BLOCKS)
		return false;
	json_array_foreach(list, i, o) {
		struct still_block *b = &s->blocks[i];

		b->bytes = number(o, "bytes");
		b->main = json_is_true(json_object_get(o, "main"));
		if (!text(o, "name", b->name, sizeof(b->name)) || !b->name[0] || !b->bytes ||
		    b->bytes % TV_PAGE_BYTES || b->bytes > INT64_MAX - end)
			return false;
		mains += b->main;
		if (b->main) {
			s->ram_bytes = b->bytes;
		} else {
			b->offset = end;
			end += b->bytes;
		}
	}
	s->n_blocks = (unsigned)i;
	return mains == 1 && has_bytes(s->ram_fd, s->ram_bytes) && has_bytes(s->blocks_fd, end);
}

static bool read_disks(struct still *s, json_t *list)
{
	json_t *o;
	size_t i;

	if (json_array_size(list) > STILL_MAX_DISKS)
		return false;
	json_array_foreach(list, i, o) {
		s->disks[i].bytes = number(o, "bytes");
		if (!text(o, "name", s->disks[i].name, sizeof(s->disks[i].name)) ||
		    !s->disks[i].bytes)
			return false;
	}
	s->n_disks = (unsigned)i;
	return true;
}

static int read_about(struct still *s, int fd, struct tv_err *e)
{
	struct stat st;
	TV_FREE char *text_of = NULL;
	json_t *o = NULL;
	bool good = !fstat(fd, &st) && st.st_size > 0 && st.st_size <= MAX_ABOUT_BYTES;

	if (good)
		text_of = malloc((size_t)st.st_size);
	if (good && !text_of)
		return tv_fail(e, -ENOMEM, "no memory");
	good = good && pread(fd, text_of, (size_t)st.st_size, 0) == st.st_size;
	o = good ? json_loadb(text_of, (size_t)st.st_size, 0, NULL) : NULL;
	good = text(o, "name", s->name, sizeof(s->name)) &&
	       text(o, "vm_id", s->vm_id, sizeof(s->vm_id)) &&
	       text(o, "session", s->session, sizeof(s->session));
	s->generation = number(o, "generation");
	s->epoch = number(o, "epoch");
	s->committed = json_number_value(json_object_get(o, "committed"));
	s->suspended = json_is_true(json_object_get(o, "suspended"));
	s->copied_bytes = number(o, "copied_bytes");
	s->saved_bytes = number(o, "saved_bytes");
	s->state_bytes = number(o, "state_bytes");
	s->desc = json_incref(json_object_get(o, "description"));
	good = good && s->epoch && json_is_object(s->desc) && s->state_bytes &&
	       has_bytes(s->state_fd, s->state_bytes) &&
	       read_blocks(s, json_object_get(o, "blocks")) &&
	       read_disks(s, json_object_get(o, "disks"));
	json_decref(o);
	return good ? 0 : tv_fail(e, TV_E_PROTOCOL, "the still's description is invalid");
}

/* ---- the door ---- */

static void forget(struct still *s)
{
	tv_close_fd(&s->fd);
	tv_close_fd(&s->ram_fd);
	tv_close_fd(&s->blocks_fd);
	tv_close_fd(&s->state_fd);
	for (unsigned i = 0; i < STILL_MAX_DISKS; i++)
		tv_close_fd(&s->disks[i].fd);
	json_decref(s->desc);
	s->desc = NULL;
}

static int take_whole(struct still *s, struct message *m, struct tv_err *e)
{
	int about;

	if (m->n != FDS || s->desc)
		return tv_fail(e, TV_E_PROTOCOL, "the still came without its files");
	m->n = 0;
	s->ram_fd = m->fds[FD_RAM];
	s->blocks_fd = m->fds[FD_BLOCKS];
	s->state_fd = m->fds[FD_STATE];
	about = m->fds[FD_ABOUT];
	int rc = read_about(s, about, e);

	close(about);
	return rc;
}

static int take_disk(struct still *s, struct message *m, unsigned *disks, struct tv_err *e)
{
	if (m->n != 1 || !s->desc || *disks >= s->n_disks)
		return tv_fail(e, TV_E_PROTOCOL, "the still has a disk too many");
	m->n = 0;
	s->disks[(*disks)++].fd = m->fds[0];
	return 0;
}

/* 1: there is more. 0: it is whole. */
static int take(struct still *s, struct message *m, unsigned *disks, still_progress *progress,
		void *arg, struct tv_err *e)
{
	const char *is = json_string_value(json_object_get(m->body, "is"));
	int rc = 1;

	if (!is)
		return tv_fail(e, TV_E_PROTOCOL, "a message on the still's socket has no name");
	if (!strcmp(is, "progress")) {
		if (progress)
			progress(arg, number(m->body, "copied"), number(m->body, "total"));
	} else if (!strcmp(is, "end")) {
		rc = ended(m->body, e);
	} else if (!strcmp(is, "files")) {
		rc = take_whole(s, m, e);
		rc = rc ? rc : 1;
	} else if (!strcmp(is, "disk")) {
		rc = take_disk(s, m, disks, e);
		rc = rc ? rc : 1;
	} else if (!strcmp(is, "whole")) {
		rc = s->desc && *disks == s->n_disks
			     ? 0
			     : tv_fail(e, TV_E_PROTOCOL, "the still is not complete");
	}
	return rc;
}

bool still_ended(struct still *s, struct tv_err *e)
{
	struct message m;
	int rc;

	do {
		const char *is;

		rc = next(s->fd, MSG_DONTWAIT, &m, e);
		is = json_string_value(json_object_get(m.body, "is"));
		if (rc > 0 && is && !strcmp(is, "end"))
			rc = ended(m.body, e);
		drop(&m);
	} while (rc > 0);
	if (!rc)
		tv_fail(e, TV_E_GONE, "the session on the backup has ended");
	return rc != -EAGAIN && rc != -EWOULDBLOCK;
}

/* What has been cut off since does not look right any more: then that is the reason. */
static int why_failed(struct still *s, int rc, struct tv_err *e)
{
	struct tv_err end = {0};

	if (rc != TV_E_PROTOCOL || !still_ended(s, &end))
		return rc;
	return tv_fail(e, TV_E_GONE, "%s", end.text);
}

int still_receive(int fd, still_progress *progress, void *arg, struct still *s, struct tv_err *e)
{
	struct message m;
	unsigned disks = 0;
	int rc;

	*s = (struct still){.fd = fd, .ram_fd = -1, .blocks_fd = -1, .state_fd = -1};
	for (unsigned i = 0; i < STILL_MAX_DISKS; i++)
		s->disks[i].fd = -1;
	do {
		rc = next(fd, 0, &m, e);
		if (!rc)
			rc = tv_fail(e, TV_E_GONE, "the session on the backup has ended");
		if (rc > 0)
			rc = take(s, &m, &disks, progress, arg, e);
		drop(&m);
	} while (rc > 0);
	if (!rc)
		return 0;
	rc = why_failed(s, rc, e);
	forget(s);
	return rc;
}

void still_close(struct still *s)
{
	if (s)
		forget(s);
}
