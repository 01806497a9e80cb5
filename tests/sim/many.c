/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: many histories in several processes. A worker notes in shared memory which history it is in.
 * When it aborts there, with an assertion's line on its stderr, that history is found by an
 * assertion; any other death is reported as what it is. Either way a new worker continues behind
 * it.
 */
#include "tests/sim/many.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_FOUND 8
#define ASSERTED "assertion failed: "

struct worker {
	pid_t pid;
	int err_fd; /* its stderr, a file */
	uint64_t seed, end;
	struct stats stats;
	uint64_t violations, deaths, hash;
	unsigned found_n;
	struct found found[MAX_FOUND];
};

static void add_found(struct worker *w, int invariant, const char *message)
{
	struct found *f = &w->found[w->found_n];

	w->violations++;
	if (w->found_n == MAX_FOUND)
		return;
	w->found_n++;
	f->seed = w->seed;
	f->invariant = invariant;
	snprintf(f->message, sizeof(f->message), "%s", message);
}

/* ---- in a worker's process ---- */
static void work(struct worker *w, const struct many *m)
{
	for (; w->seed < w->end; w->seed += m->workers) {
		history(w->seed);
		w->hash = (w->hash ^ sim.hash) * UINT64_C(0x100000001b3);
		w->stats = sim.stats;
		if (!sim.failed)
			continue;
		add_found(w, sim.invariant, sim.message);
		if (m->until_found)
			return;
	}
}

static void start(struct worker *w, const struct many *m)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		exit(1);
	if (pid) {
		w->pid = pid;
		return;
	}
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	dup2(w->err_fd, STDERR_FILENO);
	sim.stats = w->stats;
	work(w, m);
	_exit(0);
}

/* ---- in the parent ---- */
/* What it wrote to stderr since the last look; the newest assertion in it, NULL: none. */
static const char *read_stderr(struct worker *w, char *text, size_t room)
{
	ssize_t n = pread(w->err_fd, text, room - 1, 0);
	char *at = NULL;

	text[n > 0 ? n : 0] = 0;
	for (char *p = text; (p = strstr(p, ASSERTED)); p++)
		at = p;
	if (!at) {
		fputs(text, stderr);
	} else {
		at[strcspn(at, "\n")] = 0;
		while (at > text && at[-1] != '\n' && strncmp(at - 1, " failover/", 10) != 0)
			at--;
	}
	if (ftruncate(w->err_fd, 0) || lseek(w->err_fd, 0, SEEK_SET))
		exit(1);
	return at;
}

/* True: it has died in a history, and those behind it are still to be run. */
static bool ended(struct worker *w, int status, const struct many *m)
{
	char text[4096], what[64];
	const char *assertion = read_stderr(w, text, sizeof(text));

	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && assertion) {
		add_found(w, BY_ASSERTION, assertion);
	} else {
		snprintf(what, sizeof(what), "the simulator's process ended with status %#x",
			 (unsigned)status);
		add_found(w, BY_DEATH, what);
		w->deaths++;
	}
	w->seed += m->workers;
	w->stats.histories++;
	return !m->until_found && w->seed < w->end;
}

static void wait_for_all(struct worker *w, const struct many *m)
{
	unsigned running = m->workers;

	while (running) {
		int status = 0;
		pid_t pid = wait(&status);

		if (pid < 0)
			exit(1);
		for (unsigned i = 0; i < m->workers; i++) {
			if (w[i].pid != pid)
				continue;
			if (ended(&w[i], status, m))
				start(&w[i], m);
			else
				running--;
		}
	}
}

static void add(struct stats *to, const struct stats *from)
{
	uint64_t *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)from;

	for (size_t i = 0; i < offsetof(struct stats, primary_rows) / sizeof(*a); i++)
		a[i] += b[i];
	for (int s = 0; s < FO_P_COUNT; s++)
		for (int e = 0; e < FO_PE_COUNT; e++)
			to->primary_rows[s][e] += from->primary_rows[s][e];
	for (int s = 0; s < FO_B_COUNT; s++)
		for (int e = 0; e < FO_BE_COUNT; e++)
			to->backup_rows[s][e] += from->backup_rows[s][e];
}

static void print_found(const struct found *f)
{
	char by[32] = "assertion";

	if (f->invariant >= 0)
		snprintf(by, sizeof(by), "invariant %d", f->invariant);
	else if (f->invariant == BY_DEATH)
		snprintf(by, sizeof(by), "crash");
	printf("seed %llu: %s, %s (tests/sim/run --seed %llu)\n", (unsigned long long)f->seed, by,
	       f->message, (unsigned long long)f->seed);
}

static void collect(const struct worker *w, struct many *m)
{
	add(&m->total, &w->stats);
	m->violations += w->violations;
	m->deaths += w->deaths;
	for (unsigned i = 0; i < w->found_n; i++) {
		if (!m->until_found)
			print_found(&w->found[i]);
		if (w->found[i].seed < m->one.seed)
			m->one = w->found[i];
	}
}

void run_many(struct many *m)
{
	struct worker *w = mmap(NULL, m->workers * sizeof(*w), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (w == MAP_FAILED)
		exit(1);
	for (unsigned i = 0; i < m->workers; i++) {
		w[i].seed = m->first + i;
		w[i].end = m->first + m->n;
		w[i].err_fd = memfd_create("stderr", MFD_CLOEXEC);
		if (w[i].err_fd < 0)
			exit(1);
		start(&w[i], m);
	}
	wait_for_all(w, m);
	m->total = (struct stats){0};
	m->violations = m->deaths = 0;
	m->one.seed = UINT64_MAX;
	for (unsigned i = 0; i < m->workers; i++) {
		collect(&w[i], m);
		close(w[i].err_fd);
	}
	munmap(w, m->workers * sizeof(*w));
}
