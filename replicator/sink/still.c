/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a still
 *
 * Twinvmd orders it, the loop makes it and gives it to the apply thread, which begins it between two
 * epochs: small memory blocks, device state and description are copied at once, main RAM in steps
 * while no work waits and before it is overwritten (checkpoint/keep_mem.c), disks only before they
 * are overwritten (keep_disk.c); a thread for each disk serves the holder (nbd/). When memory is
 * whole the holder gets the descriptors. After each epoch there is one step though work waits, so
 * that a busy VM's still becomes whole, too.
 *
 * Whose is what. `lock` guards the socket's use, `over` and `taken`; all else is the apply thread's
 * until `taken` is false. Whoever finds a reason ends it (sink_still_fail): that is one message and a
 * shutdown of the socket, which wakes the loop. The loop then calls sink_still_end, and the reaper,
 * a thread of the lowest priority, gives the memory back piece by piece, waits until the apply thread
 * has left, and frees the rest. A promotion waits for none of it.
 *
 * The holder cannot harm the sink: nothing is read from its socket, and a message that has no room
 * there ends the still. That the holder may write to its memory changes nothing here: what was copied
 * is never read again.
 */
#include "replicator/sink/still.h"
#include "checkpoint/keep.h"
#include "nbd/nbd.h"
#include "replicator/sink/spare_memory.h"
#include "still/maker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEP_BYTES (512u << 10)
#define PROGRESS_BYTES (64u << 20) /* copied between two messages, and looks at free memory */

struct sink_still {
	pthread_mutex_t lock;
	pthread_cond_t left;
	int fd; /* its end of the socket */
	bool over, taken;
	json_t *about;
	uint64_t extra_bytes;
	const char *dir;
	/* the apply thread's */
	struct ckpt_mem source;
	uint32_t main_block;
	struct ckpt_keep_mem *mem;
	struct ckpt_keep_room room;
	struct ckpt_keep_disk *disks[CKPT_MAX_DISKS];
	int disk_fds[CKPT_MAX_DISKS]; /* the holder's ends, until it gets them; -1 */
	unsigned n_disks;
	struct nbd *nbd;
	int blocks_fd, state_fd;
	bool whole;
	uint64_t told_bytes;
};

/* ---- ends ---- */

bool sink_still_is_over(struct sink_still *s)
{
	bool over;

	pthread_mutex_lock(&s->lock);
	over = s->over;
	pthread_mutex_unlock(&s->lock);
	return over;
}

void sink_still_fail(struct sink_still *s, int rc, const char *why)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	if (!s->over) {
		s->over = true;
		/* A holder that does not read sees the end of the socket. */
		(void)!still_put(s->fd, json_pack("{ss si ss}", "is", "end", "rc", rc, "why", why),
				 NULL, 0);
		shutdown(s->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&s->lock);
}

static void fail_rc(struct sink_still *s, int rc, const char *what)
{
	struct tv_err e = {0};

	tv_fail(&e, rc, "%s: %s", what, tv_strerror(rc));
	sink_still_fail(s, rc, e.text);
}

void sink_still_leave(struct sink_still **of)
{
	struct sink_still *s = *of;

	if (!s)
		return;
	*of = NULL;
	/* Nobody keeps what is overwritten any more: from now on no disk is the epoch's. */
	for (unsigned i = 0; i < s->n_disks; i++)
		ckpt_keep_disk_cut(s->disks[i]);
	pthread_mutex_lock(&s->lock);
	s->taken = false;
	pthread_cond_signal(&s->left);
	pthread_mutex_unlock(&s->lock);
}

static void destroy(struct sink_still *s)
{
	nbd_free(s->nbd);
	for (unsigned i = 0; i < CKPT_MAX_DISKS; i++) {
		ckpt_keep_disk_free(s->disks[i]);
		tv_close_fd(&s->disk_fds[i]);
	}
	ckpt_keep_mem_free(s->mem);
	tv_close_fd(&s->blocks_fd);
	tv_close_fd(&s->state_fd);
	tv_close_fd(&s->fd);
	json_decref(s->about);
	pthread_cond_destroy(&s->left);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* What others hold descriptors of, and what is large. */
static void cut(struct sink_still *s)
{
	nbd_cut(s->nbd);
	if (s->mem)
		ckpt_keep_mem_cut(s->mem);
}

static void *reap(void *arg)
{
	struct sink_still *s = arg;

	setpriority(PRIO_PROCESS, 0, 19); /* of this thread */
	pthread_mutex_lock(&s->lock);
	while (s->taken)
		pthread_cond_wait(&s->left, &s->lock);
	pthread_mutex_unlock(&s->lock);
	cut(s);
	destroy(s);
	return NULL;
}

void sink_still_end(struct sink_still *s, const char *why, bool taken)
{
	pthread_t thread;

	if (!s)
		return;
	sink_still_fail(s, TV_E_GONE, why);
	pthread_mutex_lock(&s->lock);
	s->taken &= taken;
	pthread_mutex_unlock(&s->lock);
	if (pthread_create(&thread, NULL, reap, s))
		tv_log(TV_WARN, "no thread: the memory of a still is freed with the session");
	else
		pthread_detach(thread);
}

/* ---- messages ---- */

/* Under no lock. A holder that does not read has no use for it. */
static int put(struct sink_still *s, json_t *msg, const int *fds, unsigned n)
{
	int rc = TV_E_GONE;

	pthread_mutex_lock(&s->lock);
	if (s->over)
		json_decref(msg);
	else
		rc = still_put(s->fd, msg, fds, n);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int put_progress(struct sink_still *s)
{
	struct ckpt_keep_counts n;

	ckpt_keep_mem_counts(s->mem, &n);
	s->told_bytes = n.seen;
	return put(s,
		   json_pack("{ss sI sI}", "is", "progress", "copied", (json_int_t)n.seen, "total",
			     (json_int_t)n.total),
		   NULL, 0);
}

/* The description, with what is known only now, as a file: it may be long. */
static int make_about(struct sink_still *s, int *fd)
{
	struct ckpt_keep_counts n;
	TV_FREE char *text = NULL;
	int rc;

	ckpt_keep_mem_counts(s->mem, &n);
	json_object_set_new(s->about, "copied_bytes", json_integer((json_int_t)n.copied));
	json_object_set_new(s->about, "saved_bytes", json_integer((json_int_t)n.saved));
	text = json_dumps(s->about, JSON_COMPACT);
	*fd = memfd_create("twinvm-still-about", MFD_CLOEXEC);
	if (!text)
		return -ENOMEM;
	if (*fd < 0)
		return -errno;
	rc = tv_write_all(*fd, text, strlen(text));
	return rc;
}

static void put_whole(struct sink_still *s)
{
	TV_CLOSE int about = -1;
	int rc = make_about(s, &about);

	if (!rc)
		rc = put(s, json_pack("{ss}", "is", "files"),
			 (const int[]){ckpt_keep_mem_fd(s->mem), s->blocks_fd, s->state_fd, about},
			 4);
	for (unsigned i = 0; i < s->n_disks && !rc; i++) {
		rc = put(s, json_pack("{ss si}", "is", "disk", "disk", (int)i), &s->disk_fds[i], 1);
		tv_close_fd(&s->disk_fds[i]);
	}
	if (!rc)
		rc = put(s, json_pack("{ss}", "is", "whole"), NULL, 0);
	s->whole = !rc;
	if (rc)
		fail_rc(s, rc, "the still could not be handed over");
}

/* ---- is there room? ---- */

/* The standby may grow to all of its memory, and that comes first. */
static int check_memory(struct sink_still *s, const struct sink_still_source *src)
{
	uint64_t available, reserve, main_bytes, now, need, others = src->state_bytes;
	struct stat st;
	struct tv_err e = {0};

	if (fstat(src->ram_fd, &st))
		return -errno;
	for (uint32_t i = 0; i < s->source.blocks; i++)
		if (i != s->main_block)
			others += s->source.block_bytes(s->source.arg, i);
	main_bytes = s->source.block_bytes(s->source.arg, s->main_block);
	now = (uint64_t)st.st_blocks * 512;
	need = now + others + s->extra_bytes;
	if (!sink_spare_memory(&available, &reserve))
		return 0;
	reserve += main_bytes > now ? main_bytes - now : 0;
	if (available >= need && available - need >= reserve)
		return 0;
	tv_fail(&e, -ENOMEM,
		"%llu MiB of memory are needed and %llu MiB are to stay free for the standby and the "
		"host, but %llu MiB are available",
		(unsigned long long)need >> 20, (unsigned long long)reserve >> 20,
		(unsigned long long)available >> 20);
	sink_still_fail(s, -ENOMEM, e.text);
	return -ENOMEM;
}

/* ---- beginning ---- */

static int read_disk(void *arg, unsigned disk, uint64_t offset, void *data, uint32_t bytes)
{
	struct sink_still *s = arg;

	return ckpt_keep_disk_read(s->disks[disk], offset, data, bytes);
}

static void disk_closed(void *arg, unsigned disk, const char *why)
{
	(void)arg;
	if (*why)
		tv_log(TV_DEBUG, "a still's disk %u: %s", disk, why);
}

static int serve_disk(struct sink_still *s, uint64_t bytes, struct tv_err *e)
{
	int fds[2], rc;
	unsigned disk;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "no socket: %s", tv_strerror(-errno));
	s->disk_fds[s->n_disks] = fds[0];
	rc = nbd_add(s->nbd, bytes, fds[1], &disk);
	return rc ? tv_fail(e, rc, "a disk cannot be served: %s", tv_strerror(rc)) : 0;
}

static int begin_disks(struct sink_still *s, const struct sink_still_source *src, struct tv_err *e)
{
	static const struct nbd_ops ops = {.read = read_disk, .closed = disk_closed};
	int rc = nbd_new(&ops, s, &s->nbd);

	if (rc)
		return tv_fail(e, rc, "no memory");
	s->room.room = src->room;
	for (; s->n_disks < src->disks && !rc; s->n_disks += !rc) {
		uint64_t bytes = ckpt_rep_bytes(src->rep, s->n_disks);

		rc = ckpt_keep_disk_new(ckpt_rep_path(src->rep, s->n_disks), s->dir, bytes,
					&s->room, &s->disks[s->n_disks], e);
		if (!rc)
			rc = serve_disk(s, bytes, e);
	}
	return rc;
}

static int begin_memory(struct sink_still *s, const struct sink_still_source *src)
{
	uint8_t *map = s->source.map(s->source.arg, s->main_block);
	int rc = ckpt_keep_mem_new(map, src->ram_fd,
				   s->source.block_bytes(s->source.arg, s->main_block), &s->mem);

	if (rc)
		return rc;
	rc = ckpt_keep_blocks(&s->source, s->main_block, &s->blocks_fd);
	if (rc)
		return rc;
	s->state_fd = memfd_create("twinvm-still-state", MFD_CLOEXEC);
	return s->state_fd < 0 ? -errno : tv_write_all(s->state_fd, src->state, src->state_bytes);
}

static double real_s(void)
{
	struct timespec t = {0};

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void describe(struct sink_still *s, const struct sink_still_source *src)
{
	json_t *desc = json_object_get(s->about, "description");

	json_object_set_new(s->about, "epoch", json_integer((json_int_t)src->epoch));
	json_object_set_new(s->about, "committed", json_real(real_s()));
	json_object_set_new(s->about, "suspended", json_boolean(src->suspended));
	json_object_set_new(s->about, "state_bytes", json_integer((json_int_t)src->state_bytes));
	json_object_set(s->about, "blocks", json_object_get(desc, "blocks"));
	json_object_set(s->about, "disks", json_object_get(desc, "disks"));
}

void sink_still_begin(struct sink_still *s, const struct sink_still_source *src)
{
	struct tv_err e = {0};
	int rc;

	if (!src->epoch || !src->state) {
		sink_still_fail(s, -ENODATA, "no epoch has been committed yet");
		return;
	}
	s->source = *src->mem;
	while (s->main_block < s->source.blocks && !s->source.map(s->source.arg, s->main_block))
		s->main_block++;
	if (s->main_block == s->source.blocks || check_memory(s, src)) {
		fail_rc(s, -EINVAL, "the standby's memory"); /* unless it has failed already */
		return;
	}
	rc = begin_memory(s, src);
	if (rc) {
		fail_rc(s, rc, "memory for a still");
		return;
	}
	describe(s, src);
	rc = begin_disks(s, src, &e);
	if (rc)
		sink_still_fail(s, rc, e.text);
	else if (put_progress(s))
		fail_rc(s, -EPIPE, "the holder is gone");
}

/* ---- while epochs are applied ---- */

void sink_still_before_page(struct sink_still *s, uint32_t block, uint64_t offset)
{
	if (s && s->mem && block == s->main_block)
		ckpt_keep_mem_before(s->mem, offset);
}

void sink_still_before_disk(struct sink_still *s, unsigned disk, uint64_t offset, uint64_t bytes)
{
	struct ckpt_keep_disk *k = s && disk < s->n_disks ? s->disks[disk] : NULL;
	int rc;

	if (!k || ckpt_keep_disk_failed(k))
		return;
	ckpt_keep_disk_before(k, offset, bytes);
	rc = ckpt_keep_disk_failed(k);
	if (rc == -ENOSPC)
		sink_still_fail(s, rc, "the VM has overwritten more of its disks than may be kept");
	else if (rc)
		fail_rc(s, rc, "what the VM overwrites of a disk cannot be kept");
}

static void glance(struct sink_still *s)
{
	uint64_t available, reserve;
	struct ckpt_keep_counts n;

	ckpt_keep_mem_counts(s->mem, &n);
	if (n.seen - s->told_bytes < PROGRESS_BYTES)
		return;
	if (sink_spare_memory(&available, &reserve) && available < reserve)
		sink_still_fail(s, -ENOMEM, "memory has become scarce on the backup");
	else if (put_progress(s))
		fail_rc(s, -EPIPE, "the holder does not read");
}

bool sink_still_step(struct sink_still *s)
{
	int rc;

	if (!s->mem || s->whole || sink_still_is_over(s))
		return false;
	rc = ckpt_keep_mem_step(s->mem, STEP_BYTES);
	if (rc < 0) {
		fail_rc(s, rc, "the copy of memory");
		return false;
	}
	glance(s);
	if (!rc)
		put_whole(s);
	return rc > 0;
}

/* ---- the loop's side ---- */

int sink_still_fd(const struct sink_still *s)
{
	return s->fd;
}

int sink_still_new(const struct sink_still_conf *conf, struct sink_still **out, int *holder)
{
	struct sink_still *s = conf->about ? calloc(1, sizeof(*s)) : NULL;
	int rc;

	if (!s) {
		json_decref(conf->about);
		return -ENOMEM;
	}
	*s = (struct sink_still){.fd = -1,
				 .taken = true,
				 .about = conf->about,
				 .extra_bytes = conf->extra_bytes,
				 .dir = conf->dir,
				 .room = {.limit_bytes = conf->disk_bytes},
				 .blocks_fd = -1,
				 .state_fd = -1};
	for (unsigned i = 0; i < CKPT_MAX_DISKS; i++)
		s->disk_fds[i] = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->left, NULL);
	rc = still_pair(&s->fd, holder);
	if (rc) {
		destroy(s);
		return rc;
	}
	*out = s;
	return 0;
}
