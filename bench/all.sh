#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: these benches, one after the other; then all results. BENCH_QUICK=1: one short round of each.
# usage: all.sh BENCH...      names of scripts of this folder
set -euo pipefail
cd "$(dirname "$0")/.."
export B=${B:-build}
if ((${BENCH_QUICK:-0})); then
	export ROUNDS=1 ROUND_S=2 EPOCHS=60 CUTS=2 SEQ_MIB=128 RAND_MIB=2 MODES="none adaptive"
fi
rm -f "$B/bench/results.json"
for bench in "$@"; do
	begin=$SECONDS
	"bench/$bench.sh"
	echo "-- $bench: $((SECONDS - begin)) s"
done
jq . "$B/bench/results.json"
