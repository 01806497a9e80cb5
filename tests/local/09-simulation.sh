#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The failover engines in simulated hosts (docs/SIMULATION.md): a seed replays exactly, and no history of
# many violates an invariant. That the simulation can fail is shown by 08-mutants.
# time limit: 900
# alone: it simulates on every CPU
set -euo pipefail
cd "$(dirname "$0")/../.."
export B=${B:-build}
histories=${HISTORIES:-20000} seed=${SEED:-1}
out=$B/simulation.txt

make --no-print-directory B="$B" sim-build
for s in 1 2 3; do
	first=$(tests/sim/run --seed "$s" | sha256sum)
	again=$(tests/sim/run --seed "$s" | sha256sum)
	[[ $first = "$again" ]] || {
		echo "seed $s does not replay exactly"
		exit 1
	}
done
[[ $(tests/sim/run --seed 1 | tail -n 1) != $(tests/sim/run --seed 2 | tail -n 1) ]] ||
	{ echo "two seeds have one trace"; exit 1; }
make --no-print-directory B="$B" sim HISTORIES="$histories" SEED="$seed" | tee "$out"
[[ $(tail -n 1 "$out") = "histories $histories violations 0" ]]
# and these were histories in which something happened
grep -qE '^[1-9][0-9]* fenced' "$out"
grep -qE ' [1-9][0-9]* promotions, [1-9][0-9]* planned switches' "$out"
