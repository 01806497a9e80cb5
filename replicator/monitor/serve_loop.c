/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's short verbs, for the sink's loop: which VM, its slot, its promotion, its frames. */
#include "netbuffer/netbuffer.h"
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define FRAME_MIN_BYTES (NB_VNET_HDR_BYTES + 14)

static bool is_id(const char *id)
{
	return strnlen(id, 33) == 32 && strspn(id, "0123456789abcdef") == 32;
}

void mon_on_vm(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
	       int fds[MON_MAX_FDS])
{
	const struct mon_vm *b = &q->body.vm;

	(void)fds;
	if (!is_id(b->vm_id) || !b->generation || b->generation > INT64_MAX) {
		mon_fail(r, -EINVAL, "the VM's id or generation is invalid");
		return;
	}
	pthread_mutex_lock(&s->lock);
	if (s->vm_id[0]) {
		mon_fail(r, -EINVAL, "the session has its VM already");
	} else {
		tv_copy(s->vm_id, sizeof(s->vm_id), b->vm_id);
		s->generation = b->generation;
	}
	pthread_mutex_unlock(&s->lock);
}

/* Under lock. */
static int take_slot(struct mon_state *s, unsigned slot, struct tv_err *e)
{
	int rc;

	if (!s->vm_id[0] || s->slot >= 0 || slot >= SLOTS_MAX)
		return tv_fail(e, -EINVAL, "no such slot, or not now");
	slot_names(s->vm_id, slot, &s->names);
	rc = job_dir(&s->conf, s->names.id, s->dir, sizeof(s->dir));
	if (rc)
		return tv_fail(e, rc, "%s cannot make the run directory %s: %s", s->conf.host,
			       s->dir, tv_strerror(rc));
	notes_forget(s->dir); /* of an earlier session */
	s->slot = (int)slot;
	return 0;
}

void mon_on_slot(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		 int fds[MON_MAX_FDS])
{
	struct tv_err e = {0};
	int rc;

	(void)fds;
	pthread_mutex_lock(&s->lock);
	rc = take_slot(s, q->body.slot.slot, &e);
	if (rc)
		mon_fail(r, rc, e.text);
	else
		memcpy(r->dir, s->dir, sizeof(r->dir));
	pthread_mutex_unlock(&s->lock);
}

/* By the arbiter's answer where there is one; else by an operator's, which the sink has received. */
static bool may_promote(const struct mon_state *s, uint64_t generation)
{
	if (s->slot < 0 || !s->arbiter_ok)
		return false;
	return s->has_arbiter ? generation == s->granted : generation > s->generation;
}

/*
 * Before the VM runs here: from now on the kernel, short of memory, is to end neither its QEMU nor the
 * sink that makes it run. The sink, whose process began this one, gets this one's score.
 */
static void spare(struct mon_state *s)
{
	pid_t sink = getppid();

	pthread_mutex_lock(&s->starting); /* a sink that was taken over may do both at a time */
	if (s->host)
		hv_host_promoted(s->host);
	pthread_mutex_unlock(&s->starting);
	if (sink == s->sink)
		hv_host_spare(sink, hv_host_score());
}

void mon_on_promoted(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		     int fds[MON_MAX_FDS])
{
	uint64_t generation = q->body.promoted.generation;
	bool promoted;

	(void)fds;
	pthread_mutex_lock(&s->lock);
	if (may_promote(s, generation)) {
		s->promoted = true;
		r->rc = promotion_note(s->dir, generation);
	} else {
		mon_fail(r, -EPERM, "the VM is not this host's with that generation");
	}
	promoted = s->promoted;
	pthread_mutex_unlock(&s->lock);
	if (promoted)
		spare(s);
}

/* A promoted VM's, on its bridge: see netbuffer/recent.c. */
void mon_on_frame(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		  int fds[MON_MAX_FDS])
{
	bool promoted;

	(void)fds;
	pthread_mutex_lock(&s->lock);
	promoted = s->promoted;
	pthread_mutex_unlock(&s->lock);
	if (!promoted || !s->conf.bridge[0] || q->head.tail_bytes < FRAME_MIN_BYTES) {
		mon_fail(r, -EPERM, "no frame can be sent");
		return;
	}
	if (s->frame_fd < 0)
		s->frame_fd = nb_replay_open(s->conf.bridge);
	if (s->frame_fd < 0) {
		r->rc = s->frame_fd;
		return;
	}
	r->rc = nb_replay_send(s->frame_fd, q->tail, q->tail + NB_VNET_HDR_BYTES,
			       q->head.tail_bytes - NB_VNET_HDR_BYTES);
}
