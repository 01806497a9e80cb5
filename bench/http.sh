#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/http: does load on the web server slow an epoch down? The VM's pause and its commit (from the end of the pause to the
# backup's answer), without load and with it: 1,000 requests a second on /metrics and 200 event streams, which are opened
# anew each time. A second without, a second with, and so on, in one protection with 500 dirty pages an epoch; each epoch is
# looked up in `twinvm trace`. The load comes from this machine too, at the lowest priority. What that costs by itself is the
# floor: instead of every second turn with load the same program takes BURN percent of a CPU (20: as much as server and load
# take together) and asks nothing.
# Writes BUILD/bench/http.json, adds to BUILD/bench/results.json, and prints a table. EPOCHS (3600; a trace has 4,000),
# RATE, STREAMS.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
EPOCHS=${EPOCHS:-3600}
RATE=${RATE:-1000}
STREAMS=${STREAMS:-200}
BURN=${BURN:-20}
tool=$PAIR_B/bench/pause_tool

serves() { [[ $(host_run hostA curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:7891/healthz) = 200 ]]; }
loaded() { grep -q '^{' "$PAIR_DIR/load"; }

pair_up
GUEST_EXTRA=$GUEST_RESERVE guest_start hostA vm1
read -r hva _ < <("$tool" hva "${GUEST_QMP[vm1]}")
"$tool" dirty "${GUEST_PID[vm1]}" $((hva + GUEST_RESERVE_ADDR)) 500 5 &
await "$AWAIT_S" "the web server" serves
tw_must hostA protect vm1 --to hostB --mode remus --epoch 25
await_pair hostA hostB vm1
host_spawn hostA "$PAIR_DIR/load" chrt --idle 0 "$PAIR_B/tools/http_load" 127.0.0.1 7891 "rate=$RATE" "streams=$STREAMS" duty_ms=1000 "burn=$BURN"
load=$SPAWNED_PID
await 600 "$EPOCHS epochs" epochs_past hostA vm1 "$EPOCHS"
kill -TERM "$load"
await "$AWAIT_S" "the load to end" loaded
tw_must hostA trace vm1 --out "$PAIR_DIR/trace"
mkdir -p "$PAIR_B/bench"
python3 bench/http_ratio.py "$PAIR_DIR/trace" "$PAIR_DIR/load" >"$PAIR_B/bench/http.json"
jq -r '"load     pause_p50  pause_p99 commit_p50 commit_p99   epochs",
	(.blocks[] | [.load, .pause_ms_p50, .pause_ms_p99, .commit_ms_p50, .commit_ms_p99, .epochs] | map(tostring) | join("      ")),
	"\(.requests_s) requests a second, \(.messages) messages of streams, \(.refused) refused",
	"with load / without, \(.pairs) pairs: pause \(.pause_ratio) (+-\(.pause_error)), commit \(.commit_ratio) (+-\(.commit_error))",
	"as much work without requests / without: pause \(.pause_floor_ratio) (+-\(.pause_floor_error)), commit \(.commit_floor_ratio) (+-\(.commit_floor_error))"' \
	"$PAIR_B/bench/http.json"
results=$PAIR_B/bench/results.json
[[ -s $results ]] || echo '{}' >"$results"
jq --slurpfile h "$PAIR_B/bench/http.json" '.http_load_pause_ratio = $h[0].pause_ratio | .http_load_commit_ratio = $h[0].commit_ratio' \
	"$results" >"$results.new" && mv "$results.new" "$results"
