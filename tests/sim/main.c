/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: runs histories. usage: sim --seed N            one history, with its trace
 *                             sim [--histories N] [--first SEED] [-j WORKERS] [--coverage]
 * In a build with FO_MUTANTS: sim --mutants, sim --mutant NAME --seed N [--asserted].
 */
#include "failover/mutant.h"
#include "tests/sim/many.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static int replay(uint64_t seed)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* an assertion aborts: the trace up to it is out */
	sim.verbose = true;
	history(seed);
	printf("%s; trace hash %016llx\n", sim.failed ? sim.message : "no violation",
	       (unsigned long long)(sim.hash ^ sim.text_hash));
	return sim.failed;
}

struct options {
	bool one, list, mutate, asserted;
	uint64_t seed, first, n;
	unsigned workers;
	const char *only; /* mutant */
};

#ifdef FO_MUTANTS
static const char *const mutant_names[] = {
#define NAME(x) #x,
	FO_MUTANT_LIST(NAME)};

/* No rule broken: neither an invariant nor an assertion complains. */
static bool none_holds(const struct options *o)
{
	struct many m = {
		.first = o->first, .n = o->n / 4, .workers = o->workers, .until_found = true};

	fo_mutant = FO_MUTANT_none;
	fo_unasserted = false;
	run_many(&m);
	printf("%-24s %s%s\n", mutant_names[0], m.violations ? "VIOLATES: " : "holds",
	       m.violations ? m.one.message : "");
	return !m.violations;
}

/*
 * One rule broken. The simulator's invariants must find it, with the assertions switched off: they
 * are a second guard, and must not hide what the first one misses. Then the same histories with
 * the assertions: does one fail?
 */
static bool find(enum fo_mutant mutant, const struct options *o)
{
	struct many m = {.first = o->first, .n = o->n, .workers = o->workers, .until_found = true};
	struct many a = m;

	fo_mutant = mutant;
	fo_unasserted = true;
	run_many(&m);
	if (!m.violations || m.deaths) {
		printf("%-24s NOT FOUND in %llu histories%s%s\n", mutant_names[mutant],
		       (unsigned long long)m.total.histories, m.deaths ? ": " : "",
		       m.deaths ? m.one.message : "");
		return false;
	}
	printf("%-24s found by invariant %d, seed %llu: %s", mutant_names[mutant], m.one.invariant,
	       (unsigned long long)m.one.seed, m.one.message);
	a.n = m.one.seed - o->first + 1;
	fo_unasserted = false;
	run_many(&a);
	if (a.one.invariant == BY_ASSERTION && a.violations)
		printf("; seed %llu: %s", (unsigned long long)a.one.seed, a.one.message);
	printf("\n");
	return true;
}

static int mutants(const struct options *o)
{
	unsigned found = 0, of = 0;
	bool holds = true;

	for (int i = 0; i < FO_MUTANT_COUNT; i++) {
		if (o->only && strcmp(o->only, mutant_names[i]) != 0)
			continue;
		if (o->one) {
			fo_mutant = (enum fo_mutant)i;
			fo_unasserted = !o->asserted;
			return replay(o->seed);
		}
		if (!i) {
			holds = none_holds(o);
			continue;
		}
		of++;
		found += find((enum fo_mutant)i, o);
	}
	printf("mutants %u found %u\n", of, found);
	return found == of && holds ? 0 : 1;
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
					      {"asserted", no_argument, NULL, 'a'},
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
		case 'a':
			o->asserted = true;
			break;
		default:
			return false;
		}
	return optind == argc && o->workers && o->workers <= 64;
}

int main(int argc, char **argv)
{
	struct options o = {.first = 1, .n = 1000, .workers = 2};
	struct many m;

	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: %s [--mutant NAME [--asserted]] --seed N\n"
			"       %s [--mutants] [--histories N] [--first SEED] [-j WORKERS] "
			"[--coverage]\n",
			argv[0], argv[0]);
		return 2;
	}
	if (o.mutate || o.only)
		return mutants(&o);
	if (o.one)
		return replay(o.seed);
	m = (struct many){.first = o.first, .n = o.n, .workers = o.workers};
	run_many(&m);
	report(&m.total);
	coverage(&m.total, o.list);
	printf("histories %llu violations %llu\n", (unsigned long long)m.total.histories,
	       (unsigned long long)m.violations);
	return m.violations != 0;
}
