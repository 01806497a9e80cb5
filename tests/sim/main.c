/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: runs histories. usage: sim --seed N            one history, with its trace
 *                             sim [--histories N] [--first SEED] [-j WORKERS] [--coverage]
 */
#include "failover/mutant.h"
#include "tests/sim/sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WELL_WITHIN_NS (25000 * MS)

/* ---- one history ---- */
static void begin(uint64_t seed)
{
	struct state fresh = {0};
	int64_t heartbeat = 100 * MS;

	sim_reset(seed);
	fo_times_init(&sim.times, heartbeat);
	sim.hosts = chance(500) ? 2 : 3;
	sim.arbiter = chance(850);
	net_init();
	for (unsigned i = 0; i < sim.hosts; i++)
		host_init((int)i);
	sim.owner = &sim.host[0];
	sim.top_generation = 1;
	sim.owner->role = R_PRIMARY;
	sim.owner->generation = 1;
	note(NULL, "seed %llu: %u hosts, %s", (unsigned long long)seed, sim.hosts,
	     sim.arbiter ? "an arbiter" : "no arbiter");
	for (unsigned i = 0; i < sim.hosts; i++)
		note(&sim.host[i], "clock %+.2f %%", (double)sim.host[i].rate_ppm / 1e4);
	sim.owner->vm = inst_new(sim.owner, 1, &fresh);
	clients_start();
	protect_again(sim.owner, &sim.host[1]);
	faults_plan();
	person_start();
}

static void history(uint64_t seed)
{
	char why[160] = "";
	int64_t end;

	begin(seed);
	run_until(between(2000 * MS, 7000 * MS));
	if (!sim.failed) {
		faults_end();
		end = sim.now + WELL_WITHIN_NS;
		while (!sim.failed && sim.now < end) {
			run_until(sim.now + 50 * MS);
			if (sim.failed || all_is_well(why, sizeof(why)))
				break;
			if (vm_is_lost()) {
				note(NULL, "the VM is really lost");
				sim.stats.lost_vms++;
				break;
			}
		}
		if (!sim.failed && sim.now >= end)
			violation(8, "%d s later %s", (int)(WELL_WITHIN_NS / TV_NS_PER_S), why);
	}
	sim.stats.histories++;
}

/* ---- many ---- */
struct found {
	uint64_t seed;
	int invariant;
	char message[400];
};
#define KEEP 8
struct worker {
	struct stats stats;
	uint64_t violations, hash;
	unsigned kept;
	struct found found[KEEP];
	volatile bool enough;
};

static void work(struct worker *w, uint64_t first, uint64_t n, unsigned step_by, bool until_found)
{
	for (uint64_t i = 0; i < n; i += step_by) {
		history(first + i);
		w->hash = (w->hash ^ sim.hash) * UINT64_C(0x100000001b3);
		if (!sim.failed)
			continue;
		w->violations++;
		if (w->kept < KEEP) {
			struct found *f = &w->found[w->kept++];

			f->seed = first + i;
			f->invariant = sim.invariant;
			memcpy(f->message, sim.message, sizeof(f->message));
		}
		if (until_found)
			break;
	}
	w->stats = sim.stats;
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

static void coverage(const struct stats *st, bool list)
{
	unsigned rows = 0, met = 0;

	for (int s = 0; s < FO_P_COUNT; s++)
		for (int e = 0; e < FO_PE_COUNT; e++) {
			struct fo_step x = fo_primary_step((enum fo_primary_state)s,
							   (enum fo_primary_event)e, true);

			if (x.next == s && !x.actions)
				continue;
			rows++;
			met += st->primary_rows[s][e] != 0;
			if (list)
				printf("  primary %-10s %-20s %u\n",
				       fo_primary_state_name((enum fo_primary_state)s),
				       fo_primary_event_name((enum fo_primary_event)e),
				       st->primary_rows[s][e]);
		}
	for (int s = 0; s < FO_B_COUNT; s++)
		for (int e = 0; e < FO_BE_COUNT; e++) {
			struct fo_step x =
				fo_backup_step((enum fo_backup_state)s, (enum fo_backup_event)e,
					       s != FO_B_WAITING);

			if (x.next == s && !x.actions)
				continue;
			rows++;
			met += st->backup_rows[s][e] != 0;
			if (list)
				printf("  backup  %-10s %-20s %u\n",
				       fo_backup_state_name((enum fo_backup_state)s),
				       fo_backup_event_name((enum fo_backup_event)e),
				       st->backup_rows[s][e]);
		}
	printf("rows of the tables met: %u of %u\n", met, rows);
}

static void report(const struct stats *st)
{
	printf("%llu faults, %llu sessions, %llu times protected, %llu promotions, %llu planned "
	       "switches,\n%llu fenced, %llu suspended, %llu alone, %llu recoveries, %llu VMs "
	       "really lost;\n%llu epochs committed, %llu frames released, %llu answers to "
	       "clients, %llu events\n",
	       (unsigned long long)st->faults, (unsigned long long)st->sessions,
	       (unsigned long long)st->protected_again, (unsigned long long)st->promotions,
	       (unsigned long long)st->switches, (unsigned long long)st->fenced,
	       (unsigned long long)st->suspended, (unsigned long long)st->alone,
	       (unsigned long long)st->recoveries, (unsigned long long)st->lost_vms,
	       (unsigned long long)st->commits, (unsigned long long)st->released,
	       (unsigned long long)st->acks, (unsigned long long)st->events);
}

static uint64_t run_many(uint64_t first, uint64_t n, unsigned workers, bool until_found,
			 struct stats *total, struct found *one)
{
	struct worker *w = mmap(NULL, workers * sizeof(*w), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t violations = 0;

	if (w == MAP_FAILED)
		exit(1);
	fflush(stdout);
	for (unsigned i = 0; i < workers; i++)
		if (!fork()) {
			work(&w[i], first + i, n - (n > i ? i : n), workers, until_found);
			_exit(0);
		}
	for (unsigned i = 0; i < workers; i++) {
		int status = 0;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("a worker died\n");
			violations++;
		}
	}
	*total = (struct stats){0};
	one->seed = UINT64_MAX;
	for (unsigned i = 0; i < workers; i++) {
		add(total, &w[i].stats);
		violations += w[i].violations;
		for (unsigned j = 0; j < w[i].kept; j++) {
			if (!until_found)
				printf("seed %llu: invariant %d, %s (tests/sim/run --seed %llu)\n",
				       (unsigned long long)w[i].found[j].seed,
				       w[i].found[j].invariant, w[i].found[j].message,
				       (unsigned long long)w[i].found[j].seed);
			if (w[i].found[j].seed < one->seed)
				*one = w[i].found[j];
		}
	}
	munmap(w, workers * sizeof(*w));
	return violations;
}

static int replay(uint64_t seed)
{
	sim.verbose = true;
	history(seed);
	printf("%s; trace hash %016llx\n", sim.failed ? sim.message : "no violation",
	       (unsigned long long)(sim.hash ^ sim.text_hash));
	return sim.failed;
}

struct options {
	bool one, list, mutate;
	uint64_t seed, first, n;
	unsigned workers;
	const char *only; /* mutant */
};

#ifdef FO_MUTANTS
/* Each rule broken, one after the other: found or not. */
static int mutants(const struct options *o)
{
	static const char *const names[] = {
#define NAME(x) #x,
		FO_MUTANT_LIST(NAME)};
	unsigned found = 0, of = 0;
	bool none_violates = false;

	for (int i = 0; i < FO_MUTANT_COUNT; i++) {
		struct stats st;
		struct found f;
		uint64_t bad;

		if (o->only && strcmp(o->only, names[i]) != 0)
			continue;
		fo_mutant = (enum fo_mutant)i;
		if (o->one)
			return replay(o->seed);
		bad = run_many(o->first, i ? o->n : o->n / 4, o->workers, true, &st, &f);
		if (!i) {
			none_violates = bad;
			printf("%-26s %s\n", names[i], bad ? "VIOLATES" : "holds");
			continue;
		}
		of++;
		found += bad != 0;
		if (bad)
			printf("%-26s found by invariant %d, seed %llu: %s\n", names[i],
			       f.invariant, (unsigned long long)f.seed, f.message);
		else
			printf("%-26s NOT FOUND in %llu histories\n", names[i],
			       (unsigned long long)st.histories);
	}
	printf("mutants %u found %u\n", of, found);
	return found == of && !none_violates ? 0 : 1;
}
#else
static int mutants(const struct options *o)
{
	(void)o;
	fprintf(stderr, "mutants are in a build of their own: make mutants\n");
	return 2;
}
#endif

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {{"seed", required_argument, NULL, 's'},
					      {"histories", required_argument, NULL, 'n'},
					      {"first", required_argument, NULL, 'f'},
					      {"coverage", no_argument, NULL, 'c'},
					      {"mutants", no_argument, NULL, 'm'},
					      {"mutant", required_argument, NULL, 'M'},
					      {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "j:", names, NULL)) != -1)
		switch (c) {
		case 's':
			o->one = true;
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			o->n = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			o->first = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			o->workers = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'c':
			o->list = true;
			break;
		case 'm':
			o->mutate = true;
			break;
		case 'M':
			o->only = optarg;
			break;
		default:
			return false;
		}
	return optind == argc && o->workers && o->workers <= 64;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1, .n = 1000, .workers = 2};
	uint64_t violations;
	struct stats st;
	struct found f;

	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: %s [--mutant NAME] --seed N\n"
			"       %s [--mutants] [--histories N] [--first SEED] [-j WORKERS] "
			"[--coverage]\n",
			argv[0], argv[0]);
		return 2;
	}
	if (o.mutate || o.only)
		return mutants(&o);
	if (o.one)
		return replay(o.seed);
	violations = run_many(o.first, o.n, o.workers, false, &st, &f);
	report(&st);
	coverage(&st, o.list);
	printf("histories %llu violations %llu\n", (unsigned long long)st.histories,
	       (unsigned long long)violations);
	return violations != 0;
}
