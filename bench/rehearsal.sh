#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/rehearsal: what a test failover costs when the power of the VM's host is cut in the middle of it: the outage that a client
# sees with a clone running on the backup, against that without one, in alternating rounds of one run. Writes
# BUILD/bench/rehearsal.json. ROUNDS (5) of each.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
ROUNDS=${ROUNDS:-5}

a=hostA b=hostB
one() { # with|without
	await_state "$AWAIT_S" "$a" vm1 protected # from the second round on by itself
	await_pair "$a" "$b" vm1
	client_start
	await_epochs "$a" vm1 20
	[[ $1 = without ]] || tw_must "$b" test-failover vm1 --keep --probe redis
	await_epochs "$a" vm1 20
	moment 300
	client_cut
	host_power_cut "$a"
	goes_on "round $round, $1 a test"
	client_ends >/dev/null
	jq .outage_ms "$PAIR_DIR/client.json" >>"$PAIR_DIR/$1"
	echo "round $round, $1 a test: $(tail -n 1 "$PAIR_DIR/$1") ms"
	host_back "$a"
	swap=$a a=$b b=$swap
}
median() { sort -n "$PAIR_DIR/$1" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

read -r load _ </proc/loadavg
PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1
protect vm1
for ((round = 1; round <= ROUNDS; round++)); do
	one without
	one with
done
mkdir -p "$PAIR_B/bench"
jq -n --argjson a "$(median with)" --argjson b "$(median without)" --slurpfile with "$PAIR_DIR/with" --slurpfile without "$PAIR_DIR/without" \
	--arg load "$load" '{outage_with_ms: $a, outage_without_ms: $b, more_ms: ($a - $b), $with, $without, $load}' | tee "$PAIR_B/bench/rehearsal.json"
