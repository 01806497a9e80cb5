/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An arbiter by hand: the calls of failover.h as commands, for tests and for a look at what is
 * recorded. Prints "0 ..." or "CODE sentence" (names of failover's own codes), exit status 0 or 1.
 */
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
	"usage: arbiter [--ca F] [--cert F] [--key F] [--user U --password-file F] [--heartbeat MS] URL COMMAND\n"
	"  probe\n"
	"  probes                     one for each line of stdin, by one handle\n"
	"  read VM\n"
	"  claim pair|alone|promote VM SELF PEER SESSION GENERATION\n"
	"  cas VM VERSION PRIMARY\n"
	"  forget VM\n"
	"  announce NAME ADDRESS FREE_MIB CPUS green|yellow|red\n"
	"  members\n"
	"  race VM PROCESSES ROUNDS   all want each version, exactly one may get it\n";

#define MAX_RACERS 64

static struct fo_arbiter_conf conf;

static int failed(int rc, const struct tv_err *e)
{
	const char *name = rc == TV_E_LOST	 ? "LOST"
			   : rc == TV_E_PROTOCOL ? "PROTOCOL"
			   : rc < -9999		 ? "OTHER"
						 : strerrorname_np(-rc);

	printf("%s %s\n", name, e->text);
	return 1;
}

static int show(const struct fo_record *r)
{
	printf("0 version=%llu generation=%llu state=%s primary=%s backup=%s session=%s\n",
	       (unsigned long long)r->version, (unsigned long long)r->generation,
	       r->state == FO_PAIRED ? "paired" : "alone", r->primary, r->backup, r->session);
	return 0;
}

static struct fo_record record_of(uint64_t version, const char *primary)
{
	struct fo_record r = {.version = version, .generation = 1, .state = FO_ALONE};

	snprintf(r.primary, sizeof(r.primary), "%s", primary);
	return r;
}

static int do_claim(struct fo_arbiter *a, char **v, struct tv_err *e)
{
	enum fo_question q = !strcmp(v[0], "pair")    ? FO_ASK_PAIR
			     : !strcmp(v[0], "alone") ? FO_ASK_ALONE
						      : FO_ASK_PROMOTE;
	struct fo_claim c = {.generation = strtoull(v[5], NULL, 10)};
	struct fo_record r;
	int rc;

	snprintf(c.vm_id, sizeof(c.vm_id), "%s", v[1]);
	snprintf(c.self, sizeof(c.self), "%s", v[2]);
	snprintf(c.peer, sizeof(c.peer), "%s", v[3]);
	snprintf(c.session, sizeof(c.session), "%s", v[4]);
	rc = fo_claim(a, q, &c, &r, e);
	return rc ? failed(rc, e) : show(&r);
}

static int do_announce(struct fo_arbiter *a, char **v, struct tv_err *e)
{
	struct fo_host h = {.free_mib = strtoull(v[2], NULL, 10),
			    .cpus = (unsigned)atoi(v[3]),
			    .health = !strcmp(v[4], "green")	? FO_GREEN
				      : !strcmp(v[4], "yellow") ? FO_YELLOW
								: FO_RED};
	int rc;

	snprintf(h.name, sizeof(h.name), "%s", v[0]);
	snprintf(h.address, sizeof(h.address), "%s", v[1]);
	rc = fo_arbiter_announce(a, &h, e);
	if (!rc)
		puts("0");
	return rc ? failed(rc, e) : 0;
}

static int do_members(struct fo_arbiter *a, struct tv_err *e)
{
	struct fo_host h[FO_MAX_HOSTS];
	int n = fo_arbiter_members(a, h, FO_MAX_HOSTS, e);

	if (n < 0)
		return failed(n, e);
	printf("0");
	for (int i = 0; i < n; i++)
		printf(" %s,%s,%llu,%u,%s", h[i].name, h[i].address,
		       (unsigned long long)h[i].free_mib, h[i].cpus, fo_health_name(h[i].health));
	puts("");
	return 0;
}

/* ---- race ---- */
struct race {
	pthread_barrier_t start, end;
	int rc[MAX_RACERS];
	uint64_t version; /* of the round */
};

/* Opened once, before what the race is about: a directory that is read-only just now is tried
 * again. */
static struct fo_arbiter *open_surely(const char *url)
{
	struct fo_arbiter *a = NULL;
	struct pollfd none = {-1, 0, 0};

	for (int i = 0; i < 5000 && fo_arbiter_open(url, &conf, &a, NULL); i++)
		poll(&none, 1, 1);
	if (!a)
		abort();
	return a;
}

static void racer(const char *url, const char *vm, struct race *r, int self, int rounds)
{
	struct fo_arbiter *a;
	struct tv_err e = {0};
	char name[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no process waits at a barrier for a parent that died */
	snprintf(name, sizeof(name), "p%d", self);
	a = open_surely(url);
	for (int i = 0; i < rounds; i++) {
		struct fo_record next;

		pthread_barrier_wait(&r->start);
		next = record_of(r->version, name);
		r->rc[self] = fo_arbiter_cas(a, vm, &next, &e);
		pthread_barrier_wait(&r->end);
	}
	fo_arbiter_close(a);
}

/*
 * One round's end. At most one process may have got 0, and then the record is its own. If none did, the
 * record belongs to one with an unknown result (an error that is not TV_E_LOST), or there is no new
 * record and none got TV_E_LOST.
 */
static bool fair(const struct race *r, const struct fo_record *rec, int n, int *unclear)
{
	int winner = -1, winners = 0, owner = atoi(rec->primary + 1), errors = 0;

	for (int i = 0; i < n; i++) {
		winners += r->rc[i] == 0;
		winner = r->rc[i] == 0 ? i : winner;
		errors += r->rc[i] != 0 && r->rc[i] != TV_E_LOST;
	}
	*unclear += errors;
	if (winners > 1)
		return false;
	if (winners)
		return rec->version == r->version && owner == winner;
	if (rec->version == r->version)
		return r->rc[owner] != TV_E_LOST;
	return errors == n;
}

static int read_surely(struct fo_arbiter *a, const char *vm, struct fo_record *rec,
		       struct tv_err *e)
{
	int rc = -EAGAIN;

	for (int i = 0; i < 100 && rc; i++) {
		rc = fo_arbiter_read(a, vm, rec, e);
		if (rc == -ENOENT)
			return 0;
	}
	return rc;
}

static int race(const char *url, const char *vm, int n, int rounds)
{
	struct race *r =
		mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct fo_arbiter *a = NULL;
	pthread_barrierattr_t attr;
	struct fo_record rec = {0};
	struct tv_err e = {0};
	int unclear = 0, bad = 0, rc = 0, recorded = 0;

	if (n < 1 || n > MAX_RACERS || r == MAP_FAILED)
		return 2;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&r->start, &attr, (unsigned)n + 1);
	pthread_barrier_init(&r->end, &attr, (unsigned)n + 1);
	for (int i = 0; i < n; i++)
		if (!fork()) {
			racer(url, vm, r, i, rounds);
			_exit(0);
		}
	a = open_surely(url);
	if (read_surely(a, vm, &rec, &e))
		abort();
	for (int i = 0; i < rounds; i++) {
		r->version = rec.version + 1;
		pthread_barrier_wait(&r->start);
		pthread_barrier_wait(&r->end);
		rc = rc ? rc : read_surely(a, vm, &rec, &e);
		bad += !rc && !fair(r, &rec, n, &unclear);
		recorded += rec.version == r->version;
	}
	while (wait(NULL) > 0)
		;
	fo_arbiter_close(a);
	if (rc)
		return failed(rc, &e);
	printf("%d rounds=%d recorded=%d unfair=%d unclear=%d\n", bad ? 1 : 0, rounds, recorded,
	       bad, unclear);
	return bad ? 1 : 0;
}

static int probes(struct fo_arbiter *a)
{
	struct tv_err e = {0};
	char line[16];
	int rc = 0;

	while (!rc && fgets(line, sizeof(line), stdin)) {
		rc = fo_arbiter_probe(a, &e);
		rc = rc ? failed(rc, &e) : puts("0") < 0;
		fflush(stdout);
	}
	return rc;
}

static int run(const char *url, char **v, int n)
{
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};
	struct fo_record r;
	int rc;

	if (n == 4 && !strcmp(v[0], "race"))
		return race(url, v[1], atoi(v[2]), atoi(v[3]));
	rc = fo_arbiter_open(url, &conf, &a, &e);
	if (rc || !a)
		return failed(rc ? rc : -EINVAL, &e);
	if (n == 1 && !strcmp(v[0], "probe")) {
		rc = fo_arbiter_probe(a, &e);
		rc = rc ? failed(rc, &e) : puts("0") < 0;
	} else if (n == 1 && !strcmp(v[0], "probes")) {
		rc = probes(a);
	} else if (n == 2 && !strcmp(v[0], "read")) {
		rc = fo_arbiter_read(a, v[1], &r, &e);
		rc = rc ? failed(rc, &e) : show(&r);
	} else if (n == 7 && !strcmp(v[0], "claim")) {
		rc = do_claim(a, v + 1, &e);
	} else if (n == 4 && !strcmp(v[0], "cas")) {
		r = record_of(strtoull(v[2], NULL, 10), v[3]);
		rc = fo_arbiter_cas(a, v[1], &r, &e);
		rc = rc ? failed(rc, &e) : show(&r);
	} else if (n == 2 && !strcmp(v[0], "forget")) {
		rc = fo_arbiter_forget(a, v[1], &e);
		rc = rc ? failed(rc, &e) : puts("0") < 0;
	} else if (n == 6 && !strcmp(v[0], "announce")) {
		rc = do_announce(a, v + 1, &e);
	} else if (n == 1 && !strcmp(v[0], "members")) {
		rc = do_members(a, &e);
	} else {
		fputs(usage, stderr);
		rc = 2;
	}
	fo_arbiter_close(a);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"ca", required_argument, NULL, 'a'},
						{"cert", required_argument, NULL, 'c'},
						{"key", required_argument, NULL, 'k'},
						{"user", required_argument, NULL, 'u'},
						{"password-file", required_argument, NULL, 'p'},
						{"heartbeat", required_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct fo_times times;
	int c, heartbeat_ms = 100;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c == 'a')
			conf.ca = optarg;
		else if (c == 'c')
			conf.cert = optarg;
		else if (c == 'k')
			conf.key = optarg;
		else if (c == 'u')
			conf.user = optarg;
		else if (c == 'p')
			conf.password_file = optarg;
		else if (c == 'h')
			heartbeat_ms = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind < 2 || heartbeat_ms < 20 || heartbeat_ms > 60000) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	fo_times_init(&times, heartbeat_ms * TV_NS_PER_MS);
	conf.times = &times;
	return run(argv[optind], argv + optind + 1, argc - optind - 1);
}
