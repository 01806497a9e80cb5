/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the primary's disk writes on their way to the backup
 *
 * NBD server (nbd/) -> records in epochs -> the loop, which sends them. A guest's write is answered
 * when its record is queued, and belongs to the epoch that is open then.
 *
 * The barrier comes while the VM is paused: QEMU has drained its disks by then, so every write it
 * had begun was answered, and none comes before the VM runs again.
 *
 * Bounded twice (rule 6). The queue: full means that answers wait until the loop has sent some.
 * What the backup has to keep: more than hold_bytes since the last commit means that answers wait
 * for a commit, except while a pause is under way, which cannot come about before the disks are
 * drained. A monitor command of somebody else's may drain them as well, and keep QEMU from the
 * question that the capture thread has just asked, which would wait for the commit of an epoch that
 * it never comes to. So nothing waits for a commit while QEMU owes us an answer, up to half of what
 * the backup may have to keep.
 *
 * If the backup still has images of these disks it sends hashes of their blocks first, and the
 * first copy leaves out what it has (checkpoint/sieve.c). The disks are added after the last hash.
 *
 * When the session ends nothing may wait: from disks_discard on everything is answered at once and
 * forgotten.
 *
 * Threads: the servers' (one for each disk), the capture thread, the loop. One lock over all; each
 * first copy has one of its own, taken before it. The loop is woken once for all that happens until
 * it looks.
 */
#include "replicator/source/disks_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- one more disk ---- */
/* For the next disk; its number. */
static int add_maker(struct disks *d, unsigned *disk)
{
	struct maker m = {.chunk = malloc(sizeof(*m.chunk)),
			  .scratch = malloc(CKPT_DISK_PIECE_BYTES)};
	int rc = m.chunk && m.scratch ? 0 : -ENOMEM;

	pthread_mutex_lock(&d->lock);
	for (*disk = 0; *disk < NBD_MAX_DISKS && d->makers[*disk].chunk; ++*disk)
		;
	if (!rc && *disk == NBD_MAX_DISKS)
		rc = -EMFILE;
	if (!rc) {
		d->makers[*disk].chunk = m.chunk;
		d->makers[*disk].scratch = m.scratch;
	}
	pthread_mutex_unlock(&d->lock);
	if (rc) {
		free(m.chunk);
		free(m.scratch);
	}
	return rc;
}

int disks_add(struct disks *d, uint64_t bytes, int *fd)
{
	static const int roomy = 1 << 20;
	unsigned disk;
	int pair[2], rc;

	*fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	/* A wish: larger pieces, fewer wake-ups. */
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &roomy, sizeof(roomy));
	rc = add_maker(d, &disk);
	if (!rc)
		rc = disks_make_sieve(d, disk, bytes);
	if (rc)
		close(pair[0]);
	else
		rc = nbd_add(d->nbd, bytes, pair[0], &disk);
	if (rc)
		close(pair[1]);
	else
		*fd = pair[1];
	return rc;
}

/* ---- life ---- */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct disks *d = arg;
	char why[sizeof(d->why)] = "";
	bool discard;

	(void)fd;
	(void)what;
	tv_wake_clear(&d->wake);
	pthread_mutex_lock(&d->lock);
	d->woken = false;
	discard = d->discard;
	if (!discard) { /* reported once */
		memcpy(why, d->why, sizeof(why));
		d->why[0] = 0;
	}
	pthread_mutex_unlock(&d->lock);
	if (why[0])
		d->conf.failed(why, d->conf.arg);
	else if (!discard)
		d->conf.ready(d->conf.arg);
}

static int init_sums(struct disks *d)
{
	for (unsigned i = 0; i < DISKS_EPOCHS; i++) {
		d->sums[i].sum = ckpt_sum_new();
		if (!d->sums[i].sum)
			return -ENOMEM;
	}
	return 0;
}

int disks_new(struct event_base *base, const struct disks_conf *conf, struct disks **out)
{
	struct disks *d = calloc(1, sizeof(*d));
	pthread_condattr_t attr;
	int rc;

	if (!d)
		return -ENOMEM;
	d->conf = *conf;
	d->wake.fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->room, &attr);
	pthread_condattr_destroy(&attr);
	TAILQ_INIT(&d->chunks);
	TAILQ_INIT(&d->spares);
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		d->copies[i].d = d;
		d->copies[i].disk = i;
		pthread_mutex_init(&d->copies[i].lock, NULL);
	}
	rc = getrandom(d->key, sizeof(d->key), 0) == sizeof(d->key) ? 0 : -EIO;
	if (!rc)
		rc = init_sums(d);
	if (!rc)
		rc = tv_wake_init(&d->wake);
	if (!rc)
		d->ev = event_new(base, d->wake.fd, EV_READ | EV_PERSIST, on_wake, d);
	if (!rc && (!d->ev || event_add(d->ev, NULL)))
		rc = -ENOMEM;
	if (!rc)
		rc = nbd_new(&disks_nbd_ops, d, &d->nbd);
	if (rc) {
		disks_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

static void free_chunks(struct chunk_list *list)
{
	struct chunk *c;

	while ((c = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, c, next);
		free(c);
	}
}

void disks_free(struct disks *d)
{
	if (!d)
		return;
	disks_discard(d);
	nbd_free(d->nbd);
	if (d->ev)
		event_free(d->ev);
	tv_wake_dispose(&d->wake);
	free_chunks(&d->chunks);
	free_chunks(&d->spares);
	for (unsigned i = 0; i < DISKS_EPOCHS; i++)
		ckpt_sum_free(d->sums[i].sum);
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		free(d->makers[i].chunk);
		free(d->makers[i].scratch);
		ckpt_sieve_free(d->copies[i].sieve);
		free(d->copies[i].hashes);
	}
	free(d->repairer.chunk);
	free(d->repairer.scratch);
	free(d);
}
