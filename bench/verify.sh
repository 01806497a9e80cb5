#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/verify: what a comparison with the backup (`twinvm verify`) costs the VM: the pauses of epochs while one runs after the other,
# against those without, in alternating rounds of one run, under a client's load. Writes BUILD/bench/verify.json: the median and 99th
# percentile of both, and their ratios. ROUNDS (6), ROUND_S (10), RATE (100 MB/s).
set -euo pipefail
cd "$(dirname "$0")/.."
PAIR_CALM=1
. tests/lib/pair.sh
ROUNDS=${ROUNDS:-6} ROUND_S=${ROUND_S:-10} RATE=${RATE:-100}

# pauses FROM: of the epochs that began since, in us, from the trace
pauses() {
	tw hostA trace vm1 --out "$PAIR_DIR/trace.json" >/dev/null
	jq -r --argjson from "$1" '.traceEvents[] | select(.name == "pause" and .ph == "X" and .args.epoch > $from) | .dur' "$PAIR_DIR/trace.json"
}
epoch() { vm_field hostA vm1 "['epoch_committed']"; }
verify_on() {
	local until=$((${EPOCHREALTIME/./} + ROUND_S * 1000000))
	while ((${EPOCHREALTIME/./} < until)); do
		tw hostA verify vm1 --rate "$RATE" --json >/dev/null || fail "verify failed"
	done
}

read -r load _ </proc/loadavg
PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1
protect vm1 --mode remus --epoch 25
client_start
for ((r = 0; r < ROUNDS; r++)); do
	from=$(epoch)
	verify_on
	pauses "$from" >>"$PAIR_DIR/with"
	from=$(epoch)
	sleep "$ROUND_S"
	pauses "$from" >>"$PAIR_DIR/without"
done
mkdir -p "$PAIR_B/bench"
at() { sort -n "$PAIR_DIR/$1" | awk -v q="$2" '{v[NR] = $1} END {print v[int(NR * q) + 1]}'; }
jq -n --argjson a "$(at with 0.5)" --argjson b "$(at without 0.5)" --argjson c "$(at with 0.99)" --argjson d "$(at without 0.99)" \
	--argjson n "$(wc -l <"$PAIR_DIR/with")" --argjson m "$(wc -l <"$PAIR_DIR/without")" --arg load "$load" --arg rate "$RATE" '
	{pause_with_us_p50: $a, pause_without_us_p50: $b, ratio_p50: ($a / $b), pause_with_us_p99: $c, pause_without_us_p99: $d,
	 ratio_p99: ($c / $d), epochs_with: $n, epochs_without: $m, rate_mb_s: ($rate | tonumber), load: $load}' | tee "$PAIR_B/bench/verify.json"
