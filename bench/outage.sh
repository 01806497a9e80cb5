#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/outage: the primary's power is cut under a client's load, again and again, the hosts changing roles: from the client's last
# answer before the cut to its first one after it. Nothing may be lost. An arbiter in a file, all at its defaults. The guest's cold
# start is in it: under TCG its code is translated anew. Writes BUILD/bench/outage.json, adds to BUILD/bench/results.json. CUTS (10).
set -euo pipefail
cd "$(dirname "$0")/.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
. bench/lib.sh
CUTS=${CUTS:-10}

begun=$(machine)
pair_up
guest_start hostA vm1
protect vm1
from=hostA to=hostB
for ((i = 0; i < CUTS; i++)); do
	client_start
	client_more "$AWAIT_S" 200
	host_power_cut "$from"
	client_cut
	goes_on "on $to"
	client_ends
	jq .outage_ms "$PAIR_DIR/client.json" >>"$PAIR_DIR/outages"
	host_back "$from"
	await_pair "$to" "$from" vm1
	read -r from to <<<"$to $from"
done
p50=$(median <"$PAIR_DIR/outages") max=$(sort -n "$PAIR_DIR/outages" | tail -n 1)
mkdir -p "$PAIR_B/bench"
jq -n --slurpfile all "$PAIR_DIR/outages" --arg machine "$begun" '{machine: $machine, outage_ms: $all}' >"$PAIR_B/bench/outage.json"
result outage_ms_p50 "$p50"
result outage_ms_max "$max"
echo "outage of $CUTS power cuts: median $p50 ms, longest $max ms; $begun, $(machine) at the end"
