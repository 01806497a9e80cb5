/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The events on disk: lines in two files. The newest go to events.jsonl; when that would be larger than a
 * segment it becomes events.old.jsonl, whose place it takes, and a new one begins. So between one and two
 * segments are kept, and never more.
 *
 * A disk may be full, read-only or hang, so a thread of its own writes, and nobody waits for it. What it
 * cannot write stays in its queue and is tried again; the queue is bounded, the oldest lines go first.
 * A line that was written in part is cut off again; one that a power cut has torn is passed over when the
 * file is read, and ended before the next is written.
 */
#include "daemon/events_store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_NS (2 * TV_NS_PER_S)
#define QUEUE_BYTES (1u << 20)

struct pending {
	STAILQ_ENTRY(pending) link;
	size_t bytes;
	char text[];
};

struct events_file {
	/* written before the thread begins, then only read */
	char folder[256], path[300], old[300];
	size_t segment_bytes;
	int fd; /* of path, the thread's; -1: not open */

	pthread_t thread;
	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t changed;
	STAILQ_HEAD(pending_list, pending) queue;
	size_t queue_bytes;
	unsigned lost;
	bool ending, ended, left;
};

/* ---- the files, on the thread ---- */
static int open_newest(struct events_file *f)
{
	struct stat st;
	int rc;

	if (f->fd >= 0 && !fstat(f->fd, &st) && st.st_nlink)
		return 0;
	tv_close_fd(&f->fd); /* none yet, or somebody has removed it */
	rc = tv_mkdirs(f->folder);
	if (rc)
		return rc;
	f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return f->fd < 0 ? -errno : 0;
}

/* Larger by n bytes it would be more than a segment. */
static int rotate(struct events_file *f)
{
	if (rename(f->path, f->old))
		return -errno;
	tv_close_fd(&f->fd);
	return open_newest(f);
}

/* What a power cut, or another kernel, has left without an end would swallow the next line. */
static int end_torn(struct events_file *f, off_t *size)
{
	char last = '\n';

	if (*size && pread(f->fd, &last, 1, *size - 1) != 1)
		return -errno;
	if (last == '\n')
		return 0;
	if (write(f->fd, "\n", 1) != 1)
		return -errno;
	++*size;
	return 0;
}

/* All of the line, or nothing of it. */
static int append(struct events_file *f, const struct pending *p)
{
	struct stat st;
	int rc = open_newest(f);

	if (!rc && fstat(f->fd, &st))
		rc = -errno;
	if (!rc && st.st_size && (size_t)st.st_size + p->bytes > f->segment_bytes) {
		rc = rotate(f);
		st.st_size = 0;
	}
	if (!rc)
		rc = end_torn(f, &st.st_size);
	if (rc)
		return rc;
	rc = tv_write_all(f->fd, p->text, p->bytes);
	if (rc)
		(void)!ftruncate(f->fd, st.st_size);
	return rc;
}

/* ---- the thread ---- */
static void put_first(struct events_file *f, struct pending *p)
{
	STAILQ_INSERT_HEAD(&f->queue, p, link);
	f->queue_bytes += p->bytes;
}

static struct pending *take_first(struct events_file *f)
{
	struct pending *p = STAILQ_FIRST(&f->queue);

	STAILQ_REMOVE_HEAD(&f->queue, link);
	f->queue_bytes -= p->bytes;
	return p;
}

/* The lock is held. */
static void await_again(struct events_file *f)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(AGAIN_NS / TV_NS_PER_S);
	while (!f->ending && !pthread_cond_timedwait(&f->changed, &f->lock, &until))
		;
}

/* Logged when it begins and when it is over. */
static void note_trouble(const struct events_file *f, int rc, unsigned lost, bool *troubled)
{
	if (rc && !*troubled)
		tv_log(TV_ERROR,
		       "%s cannot be written: %s; events are kept in memory and written as soon as "
		       "they can be",
		       f->path, tv_strerror(rc));
	else if (!rc && *troubled)
		tv_log(TV_INFO, "%s is written again; %u events before it are not on disk", f->path,
		       lost);
	*troubled = rc != 0;
}

static void *write_thread(void *arg)
{
	struct events_file *f = arg;
	bool troubled = false, last;
	struct pending *p;
	unsigned lost;
	int rc = 0;

	pthread_mutex_lock(&f->lock);
	while (!STAILQ_EMPTY(&f->queue) || !f->ending) {
		if (STAILQ_EMPTY(&f->queue)) {
			pthread_cond_wait(&f->changed, &f->lock);
			continue;
		}
		p = take_first(f);
		lost = f->lost;
		last = f->ending;
		pthread_mutex_unlock(&f->lock);
		rc = append(f, p);
		if (rc)
			tv_close_fd(&f->fd);
		note_trouble(f, rc, lost, &troubled);
		pthread_mutex_lock(&f->lock);
		if (!rc) {
			free(p);
			f->lost = 0;
			if (STAILQ_EMPTY(&f->queue) && f->fd >= 0) {
				pthread_mutex_unlock(&f->lock);
				(void)!fdatasync(f->fd);
				tv_close_fd(&f->fd); /* an operator may remount its disk */
				pthread_mutex_lock(&f->lock);
			}
			continue;
		}
		put_first(f, p);
		if (last)
			break;
		await_again(f);
	}
	f->left = !STAILQ_EMPTY(&f->queue);
	f->ended = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- the loop's side ---- */
static void read_lines(const char *path, size_t limit_bytes,
		       void (*line)(const char *text, size_t n, void *arg), void *arg)
{
	TV_FREE char *text = NULL;
	const char *p, *end;
	size_t bytes = 0;
	int rc = tv_read_file(path, limit_bytes, &text, &bytes);

	if (rc && rc != -ENOENT)
		tv_log(TV_WARN, "%s cannot be read: %s; its events are left out", path,
		       tv_strerror(rc));
	if (rc)
		return;
	for (p = text; (end = memchr(p, '\n', bytes - (size_t)(p - text))); p = end + 1)
		line(p, (size_t)(end - p), arg);
}

static int start_thread(struct events_file *f)
{
	pthread_condattr_t attr;
	sigset_t all, before;
	int r;

	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->changed, &attr);
	pthread_condattr_destroy(&attr);
	/* Signals are the loop's; a limit of file sizes (SIGXFSZ) is an error like a full disk. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = pthread_create(&f->thread, NULL, write_thread, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int events_file_open(const char *folder, size_t segment_bytes,
		     void (*line)(const char *text, size_t n, void *arg), void *arg,
		     struct events_file **out)
{
	struct events_file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	f->segment_bytes = segment_bytes;
	f->fd = -1;
	STAILQ_INIT(&f->queue);
	tv_copy(f->folder, sizeof(f->folder), folder);
	snprintf(f->path, sizeof(f->path), "%s/events.jsonl", folder);
	snprintf(f->old, sizeof(f->old), "%s/events.old.jsonl", folder);
	read_lines(f->old, segment_bytes, line, arg);
	read_lines(f->path, segment_bytes, line, arg);
	rc = start_thread(f);
	if (rc) {
		free(f);
		return rc;
	}
	*out = f;
	return 0;
}

void events_file_add(struct events_file *f, const char *text, size_t n)
{
	struct pending *p = malloc(sizeof(*p) + n);

	if (!p)
		return; /* the event is in memory, as long as there is any */
	p->bytes = n;
	memcpy(p->text, text, n);
	pthread_mutex_lock(&f->lock);
	while (!STAILQ_EMPTY(&f->queue) && f->queue_bytes + n > QUEUE_BYTES) {
		free(take_first(f));
		f->lost++;
	}
	STAILQ_INSERT_TAIL(&f->queue, p, link);
	f->queue_bytes += n;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

bool events_file_close(struct events_file *f, int timeout_ms)
{
	struct timespec until;
	bool ended, left;

	if (!f)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * TV_NS_PER_MS;
	if (until.tv_nsec >= TV_NS_PER_S) {
		until.tv_sec++;
		until.tv_nsec -= TV_NS_PER_S;
	}
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	pthread_cond_broadcast(&f->changed);
	while (!f->ended && !pthread_cond_timedwait(&f->changed, &f->lock, &until))
		;
	ended = f->ended;
	left = f->left;
	pthread_mutex_unlock(&f->lock);
	if (!ended) { /* its disk hangs: it goes with the process */
		pthread_detach(f->thread);
		return false;
	}
	pthread_join(f->thread, NULL);
	while (!STAILQ_EMPTY(&f->queue))
		free(take_first(f));
	tv_close_fd(&f->fd);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return !left;
}
