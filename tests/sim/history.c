/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim: one history, from its seed to a VM that is well again. */
#include "tests/sim/sim.h"

#include <stdio.h>

#define WELL_WITHIN_NS (25000 * MS)

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
	operator_start();
	check_held(NULL, 0);
}

void history(uint64_t seed)
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
