#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/rehearsal: what a test failover costs. In alternating rounds of one run: the answers to a client (99th percentile, longest)
# while a test is made and ended on the backup, against as many epochs without; and the outage of a power cut of the VM's host with a
# clone running on the backup, against one without. Writes BUILD/bench/rehearsal.json. ROUNDS (5) of each.
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
served() { # with|without: the round trips of one client
	client_start
	await_epochs "$a" vm1 50
	[[ $1 = without ]] || tw_must "$b" test-failover vm1 --probe redis
	await_epochs "$a" vm1 50
	client_ends >/dev/null
	jq -c .rtt_ms_before "$PAIR_DIR/client.json" >>"$PAIR_DIR/rtt-$1"
	echo "round $round, $1 a test: round trips $(tail -n 1 "$PAIR_DIR/rtt-$1")"
}
median() { sort -n "$PAIR_DIR/$1" | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }

read -r load _ </proc/loadavg
PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1
protect vm1
await_pair "$a" "$b" vm1
for ((round = 1; round <= ROUNDS; round++)); do
	served without
	served with
done
for ((round = 1; round <= ROUNDS; round++)); do
	one without
	one with
done
mkdir -p "$PAIR_B/bench"
jq -n --argjson a "$(median with)" --argjson b "$(median without)" --slurpfile with "$PAIR_DIR/with" --slurpfile without "$PAIR_DIR/without" \
	--slurpfile rtt "$PAIR_DIR/rtt-without" --slurpfile rtt_with "$PAIR_DIR/rtt-with" --arg load "$load" '
	def median: sort | .[length / 2 | floor];
	{answer_p99_without_ms: ([$rtt[].p99] | median), answer_max_without_ms: ([$rtt[].max] | median),
	 answer_p99_with_ms: ([$rtt_with[].p99] | median), answer_max_with_ms: ([$rtt_with[].max] | median),
	 outage_with_ms: $a, outage_without_ms: $b, more_ms: ($a - $b), $with, $without, $load}' | tee "$PAIR_B/bench/rehearsal.json"
