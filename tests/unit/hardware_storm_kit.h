/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storm of machine checks, as raw pages of the trace through what reads them, up to messages for the daemon. */
#ifndef HARDWARE_STORM_KIT_H
#define HARDWARE_STORM_KIT_H

#include "ras_format_kit.h"

#include "hardware/gather.h"
#include "hardware/pipes.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STORM_A_PAGE 25 /* records */
#define STORM_PARTS 8	/* different pages of trace data: so many DIMMs fail */

struct storm {
	unsigned records; /* to send; a multiple of STORM_A_PAGE */
	/* Called with each message, which is the storm's. May be NULL. */
	void (*message)(const json_t *m, void *arg);
	void *arg;
	/* what came of it */
	uint64_t faults, messages;
	int64_t cpu_ns, wall_ns; /* of reading, decoding, and making the messages */

	struct event_base *base;
	struct hw_gather gather;
};

static inline int64_t storm_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

static inline void storm_send(struct storm *s)
{
	int64_t now = tv_now_ns();
	json_t *m;
	char *text;

	if (!hw_gather_due(&s->gather, now))
		return;
	m = hw_gather_take(&s->gather, now);
	text = json_dumps(m, JSON_COMPACT); /* as it is sent */
	free(text);
	s->messages++;
	if (s->message)
		s->message(m, s->arg);
	json_decref(m);
}

static inline void storm_fault(void *arg, const struct ras_fault *f, int64_t at_ns)
{
	struct storm *s = arg;

	s->faults++;
	hw_gather_add(&s->gather, f, at_ns);
}

/* Of one DIMM: each record has another page of memory. */
static inline struct raw_page storm_page(unsigned part)
{
	struct raw mce = raw_mce();
	struct raw_page p;

	page_begin(&p, 1000);
	mce.b[113] = (uint8_t)part; /* bank */
	for (unsigned i = 0; i < STORM_A_PAGE; i++) {
		tv_put_le64(mce.b + 32, (uint64_t)(part * STORM_A_PAGE + i) << TV_PAGE_SHIFT);
		page_add(&p, 1, &mce);
	}
	return p;
}

static inline void storm_pages(struct storm *s, int to)
{
	static struct raw_page pages[STORM_PARTS];
	unsigned n = s->records / STORM_A_PAGE, sent = 0;

	for (unsigned i = 0; i < STORM_PARTS; i++)
		pages[i] = storm_page(i);
	while (sent < n) {
		const struct raw_page *p = &pages[sent % STORM_PARTS];

		if (write(to, p->b, sizeof(p->b)) == (ssize_t)sizeof(p->b)) {
			sent++;
			continue;
		}
		event_base_loop(s->base, EVLOOP_ONCE);
		storm_send(s);
	}
	for (unsigned turns = 0; s->faults < s->records && turns < 1000; turns++) {
		event_base_loop(s->base, EVLOOP_ONCE);
		storm_send(s);
	}
	s->gather.second_ns = 0; /* the second is over */
	storm_send(s);
}

/* False: it could not be made. */
static inline bool storm_run(struct storm *s)
{
	struct ras_reader *r = ras_reader_new();
	struct ras_cpu cpu = {0};
	struct hw_pipes *pipes = NULL;
	int fd[2] = {-1, -1};

	s->gather = (struct hw_gather){0};
	s->base = event_base_new();
	if (r && s->base && !ras_reader_format(r, RAS_SRC_MCE, mce_6_12, strlen(mce_6_12), NULL) &&
	    !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd))
		pipes = hw_pipes_new(s->base, r, fd, 1, &cpu, storm_fault, s);
	if (pipes) {
		s->cpu_ns = storm_clock(CLOCK_THREAD_CPUTIME_ID);
		s->wall_ns = storm_clock(CLOCK_MONOTONIC);
		storm_pages(s, fd[1]);
		s->cpu_ns = storm_clock(CLOCK_THREAD_CPUTIME_ID) - s->cpu_ns;
		s->wall_ns = storm_clock(CLOCK_MONOTONIC) - s->wall_ns;
	}
	hw_pipes_free(pipes);
	ras_reader_free(r);
	if (s->base)
		event_base_free(s->base);
	close(fd[0]);
	close(fd[1]);
	return pipes != NULL;
}

#endif
