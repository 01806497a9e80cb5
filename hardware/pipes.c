/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pipe that had something is looked at again after BATCH_MS only: a storm of single records does not
 * wake this process for each of them. And each is read every READ_ANYWAY_MS although it was not
 * reported to be readable, as kernels differ in when they report it.
 */
#include "hardware/pipes.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MS 20
#define READ_ANYWAY_MS 1000
#define PAGES_AT_ONCE 64
#define PAGE_MOST_BYTES 65536 /* pages of the buffer may be larger than those of memory */

struct pipe {
	struct hw_pipes *of;
	struct event *readable, *later;
	int fd;
};
struct hw_pipes {
	struct ras_reader *reader;
	struct ras_cpu cpu;
	hw_fault_fn *fault;
	void *arg;
	uint64_t empty;
	struct event *anyway;
	unsigned n;
	uint8_t page[PAGE_MOST_BYTES];
	struct pipe pipe[];
};

static int64_t clock_ns(clockid_t c)
{
	struct timespec t;

	clock_gettime(c, &t);
	return (int64_t)t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

int64_t hw_from_monotonic(int64_t mono_ns)
{
	int64_t now = tv_now_ns(), age = clock_ns(CLOCK_MONOTONIC) - mono_ns;

	return age > 0 ? now - age : now;
}

static void on_record(void *arg, const struct ras_record *r)
{
	struct hw_pipes *p = arg;
	struct ras_fault f;

	if (ras_decode(&p->cpu, r, &f))
		p->empty++;
	else
		p->fault(p->arg, &f, hw_from_monotonic(r->time_ns));
}

/* Whether there was anything. What is broken is counted by the reader. */
static bool read_pages(struct pipe *x)
{
	struct hw_pipes *p = x->of;
	unsigned pages = 0;
	ssize_t r;

	while (pages < PAGES_AT_ONCE && (r = read(x->fd, p->page, sizeof(p->page))) > 0) {
		pages++;
		if (ras_reader_page(p->reader, p->page, (size_t)r, on_record, p, NULL))
			tv_log(TV_DEBUG, "a broken page of the trace was left out");
	}
	return pages > 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = tv_timeval(BATCH_MS * TV_NS_PER_MS);
	struct pipe *x = arg;

	(void)fd;
	(void)what;
	read_pages(x);
	event_add(x->later, &soon);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct pipe *x = arg;

	(void)fd;
	(void)what;
	event_add(x->readable, NULL);
}

static void on_anyway(evutil_socket_t fd, short what, void *arg)
{
	struct hw_pipes *p = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < p->n; i++)
		read_pages(&p->pipe[i]);
}

struct hw_pipes *hw_pipes_new(struct event_base *base, struct ras_reader *reader, const int *fds,
			      unsigned n, const struct ras_cpu *cpu, hw_fault_fn *fault, void *arg)
{
	const struct timeval every = tv_timeval(READ_ANYWAY_MS * TV_NS_PER_MS);
	struct hw_pipes *p = calloc(1, sizeof(*p) + n * sizeof(*p->pipe));

	if (!p)
		return NULL;
	p->reader = reader;
	p->cpu = *cpu;
	p->fault = fault;
	p->arg = arg;
	for (unsigned i = 0; i < n; i++) {
		struct pipe *x = &p->pipe[p->n];

		if (fds[i] < 0)
			continue;
		*x = (struct pipe){.of = p, .fd = fds[i]};
		x->readable = event_new(base, x->fd, EV_READ, on_readable, x);
		x->later = event_new(base, -1, 0, on_later, x);
		p->n++;
		/* Where it cannot be waited for, it is read every second. */
		if (x->readable && x->later)
			event_add(x->readable, NULL);
	}
	p->anyway = event_new(base, -1, EV_PERSIST, on_anyway, p);
	if (!p->anyway || event_add(p->anyway, &every)) {
		hw_pipes_free(p);
		return NULL;
	}
	on_anyway(-1, 0, p);
	return p;
}

void hw_pipes_free(struct hw_pipes *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n; i++) {
		if (p->pipe[i].readable)
			event_free(p->pipe[i].readable);
		if (p->pipe[i].later)
			event_free(p->pipe[i].later);
	}
	if (p->anyway)
		event_free(p->anyway);
	free(p);
}

uint64_t hw_pipes_empty_records(const struct hw_pipes *p)
{
	return p->empty;
}
