/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rule 2 lives here: an epoch touches the replica only after all of it was received and checked,
 * and a promotion runs in the same thread, so it never sees an epoch half applied. The answer that
 * an epoch is whole (the commit) goes out before it is applied: from then on this process can
 * always finish it, and nobody promotes the standby but through this thread.
 */
#include "replicator/sink/applier.h"
#include "checkpoint/checkpoint.h"
#include "replicator/sink/open_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define HASHES 1024 /* blocks of one APPLY_HASH: 64 MiB, some 50 ms */
#define EPOCH_MEMORY_BYTES (32u << 20)
#define JOIN_BYTES (256u << 10)
#define SPARES 32 /* of those kept for reuse: fresh memory costs a page fault every 4 KiB */
#define ANSWERS 64

struct work {
	TAILQ_ENTRY(work) link;
	enum apply_kind kind;
	uint64_t epoch;
	struct apply_sums sums;
	size_t n, room;
	uint8_t data[];
};

struct applier {
	struct applier_conf conf;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	TAILQ_HEAD(work_queue, work) queue;
	size_t queued_bytes;
	struct work *spares[SPARES];
	unsigned nspares;
	bool stop, was_full;
	struct apply_answer answers[ANSWERS];
	unsigned ans_head, ans_tail;
	bool drained;
	int efd;
	struct event *ev;
	struct hv_standby *sb;
	struct ckpt_dec *dec;
	struct ckpt_rep *rep; /* NULL: no writable disks */
	const char *replicas[CKPT_MAX_DISKS];
	int pidfd;
	bool failed;	    /* after a failure nothing is applied any more */
	unsigned hash_disk; /* how far APPLY_HASH has come */
	uint64_t hash_next;
};

static uint64_t mem_block_bytes(void *arg, uint32_t block)
{
	return hv_standby_block_bytes(arg, block);
}

static uint8_t *mem_map(void *arg, uint32_t block)
{
	return hv_standby_map(arg, block);
}

static int mem_read(void *arg, uint32_t block, uint64_t offset, void *p, size_t n)
{
	return hv_standby_read(arg, block, offset, p, n);
}

static int mem_write(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n)
{
	return hv_standby_write(arg, block, offset, p, n);
}

static void kick(struct applier *a)
{
	uint64_t one = 1;

	if (write(a->efd, &one, sizeof(one)) < 0)
		abort();
}

/* Few answers are ever open: one an epoch, and at most two epochs are in flight. A failure is told
 * once. */
static void answer(struct applier *a, const struct apply_answer *ans)
{
	pthread_mutex_lock(&a->lock);
	if (a->ans_tail - a->ans_head < ANSWERS)
		a->answers[a->ans_tail++ % ANSWERS] = *ans;
	else
		a->failed = true; /* a peer that floods epochs: the session dies of silence */
	pthread_mutex_unlock(&a->lock);
	kick(a);
}

static int start_disks(struct applier *a, json_t *desc, struct apply_answer *ans)
{
	struct open_disks_conf conf = {.dir = a->conf.replica_dir,
				       .vm_id = a->conf.standby.vm_id,
				       .session = a->conf.session,
				       .spool_dir = a->conf.spool_dir,
				       .spool_bytes = a->conf.spool_bytes,
				       .hash_key = a->conf.hash_key};
	struct ckpt_rep_state old;
	int rc;

	ckpt_rep_state(conf.dir, conf.vm_id, &old);
	if (old.phase != CKPT_REP_NONE)
		tv_log(TV_INFO,
		       "a replica of an earlier session (%.8s) is %s; what differs is copied",
		       old.session, old.phase == CKPT_REP_WHOLE ? "whole" : "not one epoch's");
	a->conf.standby.replicas = a->replicas;
	rc = sink_open_disks(desc, &conf, &a->rep, a->replicas, &a->conf.standby.n_replicas,
			     &ans->e);
	ans->has_old = a->rep && ckpt_rep_has_old(a->rep);
	return rc;
}

/* One message's worth. One job at a time: memory and heartbeats are not kept waiting for long. */
static int hash_some(struct applier *a, struct apply_answer *ans)
{
	int n = 0;

	ans->hashes = malloc((size_t)HASHES * CKPT_HASH_BYTES);
	if (!ans->hashes)
		return tv_fail(&ans->e, -ENOMEM, "no memory for hashes");
	while (a->hash_disk < CKPT_MAX_DISKS && !n) {
		n = ckpt_rep_hash(a->rep, a->hash_disk, a->hash_next, HASHES, ans->hashes, &ans->e);
		if (n < 0)
			return n;
		if (!n) {
			a->hash_disk++;
			a->hash_next = 0;
		}
	}
	ans->disk = n ? a->hash_disk : 0;
	ans->first = a->hash_next;
	ans->last = !n;
	ans->hashes_bytes = (size_t)n * CKPT_HASH_BYTES;
	a->hash_next += (unsigned)n;
	return 0;
}

static int start(struct applier *a, const struct work *w, struct apply_answer *ans)
{
	struct ckpt_mem mem = {.block_bytes = mem_block_bytes,
			       .map = mem_map,
			       .read = mem_read,
			       .write = mem_write};
	json_error_t je;
	json_t *desc = json_loadb((const char *)w->data, w->n, 0, &je);
	int rc, pidfd;

	if (!desc)
		return tv_fail(&ans->e, TV_E_PROTOCOL, "the VM's description is not JSON: %s",
			       je.text);
	rc = start_disks(a, desc, ans);
	if (!rc)
		rc = hv_standby_start(desc, &a->conf.standby, &a->sb, &ans->e);
	json_decref(desc);
	if (rc)
		return rc;
	hv_standby_id(a->sb, &ans->vm);
	mem.arg = a->sb;
	mem.blocks = hv_standby_blocks(a->sb);
	rc = ckpt_dec_new(&mem, EPOCH_MEMORY_BYTES, a->conf.spool_dir, a->conf.spool_bytes,
			  &a->dec);
	if (rc)
		return tv_fail(&ans->e, rc, "decoder: %s", tv_strerror(rc));
	/* A descriptor of its own: the loop watches it while this thread may end the standby. */
	pidfd = fcntl(hv_standby_pidfd(a->sb), F_DUPFD_CLOEXEC, 3);
	if (pidfd < 0)
		return tv_fail(&ans->e, -errno, "no descriptor for the standby: %s",
			       strerror(errno));
	pthread_mutex_lock(&a->lock);
	a->pidfd = pidfd;
	pthread_mutex_unlock(&a->lock);
	return 0;
}

static int promote(struct applier *a, struct apply_answer *ans)
{
	size_t n;
	const uint8_t *state = a->dec ? ckpt_dec_state(a->dec, &n) : NULL;
	int rc;

	if (!state)
		return tv_fail(&ans->e, -ENODATA, "no committed epoch");
	if (a->rep)
		ckpt_rep_hand_over(a->rep);
	rc = hv_standby_promote(a->sb, state, n, a->conf.promote_timeout_ms, &ans->e);
	if (rc)
		return rc;
	hv_standby_id(a->sb, &ans->vm);
	hv_standby_release(a->sb);
	a->sb = NULL;
	return 0;
}

static int sync_end(struct applier *a, const struct work *w, struct tv_err *e)
{
	if (ckpt_dec_stream_pending(a->dec))
		return tv_fail(e, TV_E_PROTOCOL, "the first copy ends inside a record");
	if (a->rep)
		return ckpt_rep_stream_end(a->rep, w->sums.disk_records, w->sums.disk_checksum, e);
	return 0;
}

static int disk_data(struct applier *a, const struct work *w, struct tv_err *e)
{
	if (!a->rep)
		return tv_fail(e, TV_E_PROTOCOL, "disk data for a VM without writable disks");
	if (!w->epoch)
		return ckpt_rep_stream(a->rep, w->data, w->n, e);
	return ckpt_rep_add(a->rep, w->epoch, w->data, w->n, e);
}

/* Memory and disks of an epoch: both are checked before it is told, and before either is
 * touched. */
static int epoch_end(struct applier *a, const struct work *w, struct apply_answer *ans)
{
	int rc = ckpt_dec_verify(a->dec, w->sums.records, w->sums.checksum, &ans->e);

	if (!rc && a->rep)
		rc = ckpt_rep_verify(a->rep, w->epoch, w->sums.disk_records, w->sums.disk_checksum,
				     &ans->e);
	if (rc)
		return rc;
	answer(a, ans); /* committed */
	rc = ckpt_dec_apply(a->dec);
	if (rc)
		return tv_fail(&ans->e, rc, "applying an epoch: %s", tv_strerror(rc));
	return a->rep ? ckpt_rep_apply(a->rep, w->epoch, &ans->e) : 0;
}

/* The answer first: neither the VM nor the next session waits for a disk. */
static void end_disks(struct applier *a, const struct work *w, const struct apply_answer *ans)
{
	struct tv_err e = {0};
	int rc = 0;

	answer(a, ans);
	if (!a->rep)
		return;
	if (w->kind == APPLY_PROMOTE)
		rc = ckpt_rep_sync(a->rep, &e);
	else if (w->epoch || !(ckpt_rep_is_whole(a->rep) || ckpt_rep_has_old(a->rep)))
		ckpt_rep_remove(a->rep);
	else if (ckpt_rep_is_whole(a->rep)) /* if not: the next first copy has use for it */
		rc = ckpt_rep_settle(a->rep, &e);
	if (rc)
		tv_log(TV_WARN, "%s", e.text);
	ckpt_rep_free(a->rep);
	a->rep = NULL;
}

/* One job. True when its answer is wanted. */
static bool run(struct applier *a, const struct work *w, struct apply_answer *ans)
{
	*ans = (struct apply_answer){.kind = w->kind, .epoch = w->epoch};
	if (a->failed && w->kind != APPLY_KILL)
		return false;
	switch (w->kind) {
	case APPLY_START:
		ans->rc = start(a, w, ans);
		return true;
	case APPLY_HASH:
		ans->rc = hash_some(a, ans);
		return true;
	case APPLY_SYNC:
		ans->rc = ckpt_dec_stream(a->dec, w->data, w->n, &ans->e);
		return ans->rc;
	case APPLY_SYNC_END:
		ans->rc = sync_end(a, w, &ans->e);
		return ans->rc;
	case APPLY_DISK:
		ans->rc = disk_data(a, w, &ans->e);
		return ans->rc;
	case APPLY_BEGIN:
		ckpt_dec_begin(a->dec);
		return false;
	case APPLY_EPOCH:
		ans->rc = ckpt_dec_add(a->dec, w->data, w->n);
		if (ans->rc)
			tv_fail(&ans->e, ans->rc, "keeping epoch data: %s", tv_strerror(ans->rc));
		return ans->rc;
	case APPLY_END:
		ans->rc = epoch_end(a, w, ans);
		return ans->rc;
	case APPLY_PROMOTE:
		ans->rc = promote(a, ans);
		if (ans->rc)
			return true;
		end_disks(a, w, ans);
		return false;
	case APPLY_KILL:
		hv_standby_kill(a->sb);
		a->sb = NULL;
		end_disks(a, w, ans);
		return false;
	}
	return false;
}

/* Under lock. */
static void work_free(struct applier *a, struct work *w)
{
	if (w->room == JOIN_BYTES && a->nspares < SPARES)
		a->spares[a->nspares++] = w;
	else
		free(w);
}

static void *apply_thread(void *arg)
{
	struct applier *a = arg;

	for (;;) {
		struct apply_answer ans;
		struct work *w;

		pthread_mutex_lock(&a->lock);
		while (!a->stop && TAILQ_EMPTY(&a->queue))
			pthread_cond_wait(&a->changed, &a->lock);
		if (a->stop) {
			pthread_mutex_unlock(&a->lock);
			return NULL;
		}
		w = TAILQ_FIRST(&a->queue);
		TAILQ_REMOVE(&a->queue, w, link);
		pthread_mutex_unlock(&a->lock);
		if (run(a, w, &ans)) {
			if (ans.rc)
				a->failed = true;
			answer(a, &ans);
		}
		pthread_mutex_lock(&a->lock);
		a->queued_bytes -= w->n;
		if (a->was_full && a->queued_bytes < a->conf.queue_bytes / 2) {
			a->was_full = false;
			a->drained = true;
			kick(a);
		}
		work_free(a, w);
		pthread_mutex_unlock(&a->lock);
	}
}

static void deliver(evutil_socket_t fd, short what, void *arg)
{
	struct applier *a = arg;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) < 0)
		return;
	for (;;) {
		struct apply_answer ans;
		bool drained, have;

		pthread_mutex_lock(&a->lock);
		have = a->ans_head != a->ans_tail;
		if (have)
			ans = a->answers[a->ans_head++ % ANSWERS];
		drained = a->drained;
		a->drained = false;
		pthread_mutex_unlock(&a->lock);
		if (drained)
			a->conf.drained(a->conf.arg);
		if (!have)
			return;
		a->conf.answer(&ans, a->conf.arg);
	}
}

int applier_new(struct event_base *base, const struct applier_conf *conf, struct applier **out)
{
	struct applier *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	*a = (struct applier){.conf = *conf, .pidfd = -1};
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->changed, NULL);
	TAILQ_INIT(&a->queue);
	a->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->ev = event_new(base, a->efd, EV_READ | EV_PERSIST, deliver, a);
	if (a->efd < 0 || !a->ev || event_add(a->ev, NULL) ||
	    pthread_create(&a->thread, NULL, apply_thread, a)) {
		free(a); /* start-up: the process ends now */
		return -ENOMEM;
	}
	*out = a;
	return 0;
}

/*
 * Received bytes come in small pieces. Those that wait are joined: the thread is woken and a job
 * handled once for many of them. Any split of such bytes is as good as any other to who takes them.
 */
static bool is_stream(enum apply_kind kind)
{
	return kind == APPLY_SYNC || kind == APPLY_EPOCH || kind == APPLY_DISK;
}

/* Under lock. */
static bool join(struct applier *a, enum apply_kind kind, const void *data, size_t n,
		 uint64_t epoch)
{
	struct work *w = TAILQ_LAST(&a->queue, work_queue);

	if (!w || !is_stream(kind) || w->kind != kind || w->epoch != epoch || n > w->room - w->n)
		return false;
	memcpy(w->data + w->n, data, n);
	w->n += n;
	return true;
}

/* Under lock. */
static struct work *work_new(struct applier *a, enum apply_kind kind, const void *data, size_t n)
{
	size_t room = is_stream(kind) && n < JOIN_BYTES ? JOIN_BYTES : n;
	struct work *w = room == JOIN_BYTES && a->nspares ? a->spares[--a->nspares]
							  : malloc(sizeof(*w) + room);

	if (!w)
		return NULL;
	*w = (struct work){.kind = kind, .n = n, .room = room};
	if (n)
		memcpy(w->data, data, n);
	return w;
}

int applier_post(struct applier *a, enum apply_kind kind, const void *data, size_t n,
		 uint64_t epoch, const struct apply_sums *sums)
{
	int rc = 0;

	pthread_mutex_lock(&a->lock);
	if (!join(a, kind, data, n, epoch)) {
		struct work *w = work_new(a, kind, data, n);

		rc = w ? 0 : -ENOMEM;
		if (w) {
			w->epoch = epoch;
			if (sums)
				w->sums = *sums;
			TAILQ_INSERT_TAIL(&a->queue, w, link);
		}
	}
	if (!rc)
		a->queued_bytes += n;
	if (a->queued_bytes >= a->conf.queue_bytes)
		a->was_full = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

bool applier_full(struct applier *a)
{
	bool full;

	pthread_mutex_lock(&a->lock);
	full = a->was_full;
	pthread_mutex_unlock(&a->lock);
	return full;
}

/*
 * A whole epoch that waits in the queue is finished first: it is BEGIN..END with nothing missing,
 * its commit may be said, and a newer state is a better one. Only the tail without an END goes.
 */
void applier_drop_queued(struct applier *a)
{
	struct work *w, *end = NULL;

	pthread_mutex_lock(&a->lock);
	TAILQ_FOREACH(w, &a->queue, link)
		if (w->kind == APPLY_END)
			end = w;
	while ((w = TAILQ_LAST(&a->queue, work_queue)) && w != end) {
		TAILQ_REMOVE(&a->queue, w, link);
		a->queued_bytes -= w->n;
		work_free(a, w);
	}
	pthread_mutex_unlock(&a->lock);
}

int applier_pidfd(struct applier *a)
{
	int fd;

	pthread_mutex_lock(&a->lock);
	fd = a->pidfd;
	pthread_mutex_unlock(&a->lock);
	return fd;
}

void applier_free(struct applier *a)
{
	struct work *w;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	while ((w = TAILQ_FIRST(&a->queue))) {
		TAILQ_REMOVE(&a->queue, w, link);
		free(w);
	}
	while (a->nspares)
		free(a->spares[--a->nspares]);
	ckpt_rep_free(a->rep);
	ckpt_dec_free(a->dec);
	event_free(a->ev);
	close(a->efd);
	tv_close_fd(&a->pidfd);
	free(a);
}
