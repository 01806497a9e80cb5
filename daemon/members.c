/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * This host among others: announced at the configured arbiter every few seconds, and which others
 * are there. An arbiter may block, so a thread of its own asks it, with a handle of its own; the
 * loop only copies what that thread has seen last. Nothing about a running VM depends on it: it is
 * where a new backup may be found.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct members { /* one a process */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct config conf;    /* as the daemon has it */
	enum fo_health health; /* of this host */
	bool reopen;
	struct fo_host seen[FO_MAX_HOSTS];
	unsigned n;
	struct members_state state;
} m = {.lock = PTHREAD_MUTEX_INITIALIZER, .health = FO_UNKNOWN};

static uint64_t free_mib(void)
{
	TV_FREE char *text = NULL;
	const char *p;

	if (tv_read_file("/proc/meminfo", 1 << 16, &text, NULL))
		return 0;
	p = strstr(text, "MemAvailable:");
	return p ? strtoull(p + strlen("MemAvailable:"), NULL, 10) >> 10 : 0;
}

static enum fo_health own_health(void)
{
	enum fo_health health;

	pthread_mutex_lock(&m.lock);
	health = m.health;
	pthread_mutex_unlock(&m.lock);
	return health;
}

static void describe(const struct config *c, struct fo_host *out)
{
	*out = (struct fo_host){.free_mib = free_mib(),
				.cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN),
				.health = own_health()};
	tv_copy(out->name, sizeof(out->name), c->host);
	tv_copy(out->address, sizeof(out->address), c->address);
}

/* One turn. That it fails, or is over, is an event of the loop's (cluster.c). */
static void look(struct fo_arbiter *a, const struct config *c)
{
	struct fo_host self, seen[FO_MAX_HOSTS];
	struct tv_err e = {0};
	int n, rc;

	describe(c, &self);
	rc = fo_arbiter_announce(a, &self, &e);
	n = rc ? rc : fo_arbiter_members(a, seen, FO_MAX_HOSTS, &e);
	pthread_mutex_lock(&m.lock);
	m.state = (struct members_state){.asked = strcmp(c->arbiter, "none") != 0,
					 .answers = n >= 0,
					 .asked_ns = tv_now_ns()};
	tv_copy(m.state.why, sizeof(m.state.why), e.text);
	/* What was known last still counts while the arbiter is away: a host that has died since
	 * costs a try. */
	if (n >= 0) {
		memcpy(m.seen, seen, (size_t)n * sizeof(*seen));
		m.n = (unsigned)n;
	}
	pthread_mutex_unlock(&m.lock);
}

static void await(int64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ns / TV_NS_PER_S);
	pthread_mutex_lock(&m.lock);
	while (!m.reopen && !pthread_cond_timedwait(&m.changed, &m.lock, &until))
		;
	pthread_mutex_unlock(&m.lock);
}

static void *announce_thread(void *arg)
{
	(void)arg;
	for (;;) {
		struct fo_arbiter *a = NULL;
		struct fo_arbiter_conf ac;
		struct fo_times times;
		struct config c;
		struct tv_err e = {0};
		bool again;

		pthread_mutex_lock(&m.lock);
		m.reopen = false;
		c = m.conf;
		pthread_mutex_unlock(&m.lock);
		fo_times_init(&times, c.heartbeat_ms * TV_NS_PER_MS);
		ac = config_arbiter(&c, &times);
		if (fo_arbiter_open(c.arbiter, &ac, &a, &e))
			tv_log(TV_WARN, "%s: this host is not announced to others", e.text);
		do {
			if (a)
				look(a, &c);
			await(times.announce_ns);
			pthread_mutex_lock(&m.lock);
			again = m.reopen;
			pthread_mutex_unlock(&m.lock);
		} while (!again);
		fo_arbiter_close(a);
	}
	return NULL;
}

int members_start(const struct config *c)
{
	pthread_condattr_t attr;
	sigset_t all, before;
	pthread_t t;
	int r;

	m.conf = *c;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m.changed, &attr);
	pthread_condattr_destroy(&attr);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = pthread_create(&t, NULL, announce_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		pthread_detach(t);
	return -r;
}

void members_conf(const struct config *c)
{
	pthread_mutex_lock(&m.lock);
	m.conf = *c;
	m.reopen = true;
	pthread_cond_signal(&m.changed);
	pthread_mutex_unlock(&m.lock);
}

void members_health(enum fo_health health)
{
	pthread_mutex_lock(&m.lock);
	m.health = health;
	pthread_mutex_unlock(&m.lock);
}

unsigned members_seen(struct fo_host out[FO_MAX_HOSTS])
{
	unsigned n;

	pthread_mutex_lock(&m.lock);
	n = m.n;
	memcpy(out, m.seen, n * sizeof(*out));
	pthread_mutex_unlock(&m.lock);
	return n;
}

void members_state(struct members_state *out)
{
	pthread_mutex_lock(&m.lock);
	*out = m.state;
	pthread_mutex_unlock(&m.lock);
}
