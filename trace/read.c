/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a ring that another process writes, or wrote: what is whole, and good. */
#include "trace/trace_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pread_all(int fd, void *p, size_t n, off_t at)
{
	while (n) {
		ssize_t r = pread(fd, p, n, at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EPIPE;
		p = (char *)p + r;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

/* A name of a ring whose writer may be anybody's: shown, and part of JSON. */
static void take_name(char *out, size_t room, const char *from, size_t n)
{
	tv_copy_n(out, room, from, strnlen(from, n));
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	tv_mend_utf8(out);
}

static bool is_ring(const struct trace_head *h)
{
	return h->magic == TRACE_MAGIC && h->slots == TRACE_SLOTS &&
	       h->slot_bytes == sizeof(struct trace_slot) && h->role <= TRACE_B;
}

static void take_head(struct trace_set *out, const struct trace_head *h)
{
	enum trace_host here = h->role, there = here == TRACE_P ? TRACE_B : TRACE_P;

	out->role = here;
	out->generation = h->generation < TRACE_MAX_NUMBER ? h->generation : 0;
	if (h->wall_ms_at_0 > 0 && h->wall_ms_at_0 < TRACE_MAX_NUMBER)
		out->wall_ms_at_0 = h->wall_ms_at_0;
	take_name(out->vm, sizeof(out->vm), h->vm, sizeof(h->vm));
	take_name(out->half[here].host, sizeof(out->half[here].host), h->host, sizeof(h->host));
	take_name(out->half[there].host, sizeof(out->half[there].host), h->peer, sizeof(h->peer));
	out->refused = h->refused < TRACE_MAX_NUMBER ? h->refused : 0;
}

static void take_slot(struct trace_set *out, const struct trace_slot *s, uint64_t number)
{
	struct trace_event ev = {(enum trace_phase)s->phase, s->epoch, s->start_ns, s->length_ns,
				 s->value};
	enum trace_host host = s->peers == (out->role == TRACE_P) ? TRACE_B : TRACE_P;

	if (s->number != number || s->peers > 1 || !trace_event_ok(&ev, host)) {
		out->refused++;
		return;
	}
	out->half[host].there |= ev.epoch != 0;
	out->events[out->n++] = ev;
}

/* done: before the slots were read; after: of the same, afterwards. */
static void take_slots(struct trace_set *out, const struct trace_slot *slots, uint64_t done,
		       uint64_t after)
{
	uint64_t kept = TRACE_SLOTS - TRACE_MARGIN, first = after > kept ? after - kept : 0;

	out->lost = first;
	for (uint64_t i = first; i < done; i++)
		take_slot(out, &slots[i % TRACE_SLOTS], i);
}

static int read_ring(int fd, struct trace_head *head, struct trace_slot *slots, uint64_t *done)
{
	int rc = pread_all(fd, head, sizeof(*head), 0);

	if (rc || !is_ring(head))
		return rc ? rc : -EINVAL;
	*done = head->done;
	rc = pread_all(fd, slots, TRACE_BYTES - TRACE_HEAD_BYTES, TRACE_HEAD_BYTES);
	if (!rc)
		rc = pread_all(fd, head, sizeof(*head), 0);
	if (rc || !is_ring(head) || head->done < *done || head->done > TRACE_MAX_NUMBER)
		return rc ? rc : -EINVAL;
	return 0;
}

int trace_read(int fd, struct trace_set *out, struct tv_err *e)
{
	TV_FREE struct trace_slot *slots = malloc(TRACE_BYTES - TRACE_HEAD_BYTES);
	struct trace_head head;
	uint64_t done = 0;
	int rc;

	memset(out, 0, sizeof(*out));
	out->events = calloc(TRACE_SLOTS, sizeof(*out->events));
	if (!slots || !out->events)
		return tv_fail(e, -ENOMEM, "no memory for a trace");
	if (!trace_fd_ok(fd))
		return tv_fail(e, -EINVAL, "what twinvmd handed over is no trace");
	rc = read_ring(fd, &head, slots, &done);
	if (rc)
		return tv_fail(e, rc, "the trace is not one of this version: %s", tv_strerror(rc));
	take_head(out, &head);
	take_slots(out, slots, done, head.done);
	if (!out->half[out->role].there && !out->half[out->role == TRACE_P].there)
		return tv_fail(e, -ENODATA, "no epoch is in the trace yet");
	return 0;
}

void trace_set_free(struct trace_set *s)
{
	free(s->events);
	s->events = NULL;
	s->n = 0;
}
