/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: the ring
 *
 * One thread writes, the replicator's loop: the capture thread, the encoder and the apply thread only take
 * stamps, and hand them over with what they hand over anyway. So nothing is recorded between pause and
 * resume but times in variables, and the ring needs no lock.
 *
 * A phase is recorded when it has ended, in one slot: the ring can lose the oldest phases, never half of
 * one. Its memory is a memfd. Whoever holds a descriptor of it reads it while it is written (trace_int.h),
 * and after this process has died, which is when people want it most. By its seals it is known: a process
 * without rights may have handed over anything.
 */
#include "trace/trace_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct trace {
	int fd;
	struct trace_head *head;
	struct trace_slot *slots;
	uint64_t n;	      /* events that were recorded */
	uint64_t reported_to; /* the peer knows those before */
	bool has_epoch;
};

static int64_t wall_ms_at_0(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (ts.tv_sec * TV_NS_PER_S + ts.tv_nsec - tv_now_ns()) / TV_NS_PER_MS;
}

static int map(struct trace *t)
{
	void *p;

	t->fd = memfd_create("twinvm-trace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (t->fd < 0 || ftruncate(t->fd, TRACE_BYTES) || fcntl(t->fd, F_ADD_SEALS, SEALS))
		return -errno;
	p = mmap(NULL, TRACE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	memset(p, 0, TRACE_BYTES); /* touched: no page fault later */
	t->head = p;
	t->slots = (struct trace_slot *)((char *)p + TRACE_HEAD_BYTES);
	return 0;
}

int trace_new(const struct trace_names *names, struct trace **out)
{
	struct trace *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->fd = -1;
	rc = map(t);
	if (rc) {
		trace_free(t);
		return rc;
	}
	t->head->slots = TRACE_SLOTS;
	t->head->slot_bytes = sizeof(struct trace_slot);
	t->head->role = names->role;
	t->head->generation = names->generation;
	t->head->wall_ms_at_0 = wall_ms_at_0();
	tv_copy(t->head->vm, sizeof(t->head->vm), names->vm);
	tv_copy(t->head->host, sizeof(t->head->host), names->host);
	tv_copy(t->head->peer, sizeof(t->head->peer), names->peer);
	t->head->magic = TRACE_MAGIC;
	*out = t;
	return 0;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	if (t->head)
		munmap(t->head, TRACE_BYTES);
	tv_close_fd(&t->fd);
	free(t);
}

int trace_fd(const struct trace *t)
{
	return t ? t->fd : -1;
}

bool trace_fd_ok(int fd)
{
	struct stat st;

	/* Only memory can be sealed: nothing else would do, which might keep its reader waiting. */
	return fcntl(fd, F_GET_SEALS) == SEALS && !fstat(fd, &st) &&
	       st.st_size == (off_t)TRACE_BYTES;
}

bool trace_is_empty(const struct trace *t)
{
	return !t || !t->has_epoch;
}

static void put(struct trace *t, const struct trace_event *ev, bool peers)
{
	struct trace_slot *s = &t->slots[t->n % TRACE_SLOTS];

	t->has_epoch |= ev->epoch != 0;
	*s = (struct trace_slot){.number = t->n,
				 .epoch = ev->epoch,
				 .start_ns = ev->start_ns,
				 .length_ns = ev->length_ns,
				 .value = ev->value,
				 .phase = ev->phase,
				 .peers = peers};
	t->n++;
	atomic_store_explicit(&t->head->done, t->n, memory_order_release);
}

void trace_add(struct trace *t, enum trace_phase phase, uint64_t epoch, int64_t start_ns,
	       int64_t end_ns, int64_t value)
{
	struct trace_event ev = {phase, epoch, start_ns, end_ns - start_ns, value};

	if (t && start_ns > 0 && end_ns > 0 && trace_event_ok(&ev, t->head->role))
		put(t, &ev, false);
}

unsigned trace_unreported(struct trace *t, struct trace_event out[TRACE_REPORT])
{
	uint64_t from = t ? t->reported_to : 0;
	unsigned n = 0;

	if (!t)
		return 0;
	/* Seldom more than a dozen: what is older would only delay the message. */
	if (t->n - from > 2 * TRACE_REPORT)
		from = t->n - 2 * TRACE_REPORT;
	for (; from != t->n && n < TRACE_REPORT; from++) {
		const struct trace_slot *s = &t->slots[from % TRACE_SLOTS];

		if (!s->peers)
			out[n++] = (struct trace_event){s->phase, s->epoch, s->start_ns,
							s->length_ns, s->value};
	}
	t->reported_to = from;
	return n;
}

void trace_add_peers(struct trace *t, const struct trace_event *ev)
{
	if (!t)
		return;
	if (trace_event_ok(ev, t->head->role == TRACE_P ? TRACE_B : TRACE_P))
		put(t, ev, true);
	else
		atomic_fetch_add_explicit(&t->head->refused, 1, memory_order_relaxed);
}
