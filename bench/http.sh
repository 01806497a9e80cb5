#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/http: does load on the web server slow an epoch down? The VM's pause and the time from an epoch's state to its commit,
# medians of blocks of epochs, without load and with it (1,000 requests a second on /metrics and 200 event streams), in
# alternating blocks of one protection. 500 dirty pages an epoch, as in pause.sh. The load comes from this machine too, at the
# lowest priority (SCHED_IDLE); from elsewhere it would cost this machine less.
# Writes BUILD/bench/http.json, adds to BUILD/bench/results.json, and prints a table. ROUNDS (5), EPOCHS a block (530: all of
# the 512 that a median is of).
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
ROUNDS=${ROUNDS:-5}
EPOCHS=${EPOCHS:-530}
RATE=${RATE:-1000}
STREAMS=${STREAMS:-200}
tool=$PAIR_B/bench/pause_tool

median() { sort -n | awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'; }
column() { awk -v n="$2" '{print $n}' "$PAIR_DIR/$1" | median; }
serves() { [[ $(host_run hostA curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:7891/healthz) = 200 ]]; }

pair_up
GUEST_EXTRA=$GUEST_RESERVE guest_start hostA vm1
read -r hva _ < <("$tool" hva "${GUEST_QMP[vm1]}")
"$tool" dirty "${GUEST_PID[vm1]}" $((hva + GUEST_RESERVE_ADDR)) 500 5 &
await "$AWAIT_S" "the web server" serves
tw_must hostA protect vm1 --to hostB --mode remus --epoch 25
await_pair hostA hostB vm1

# block WAY: one line: pause and commit of its epochs
block() {
	local load=
	if [[ $1 = http ]]; then
		host_spawn hostA "$PAIR_DIR/load" chrt --idle 0 "$PAIR_B/tools/http_load" 127.0.0.1 7891 "rate=$RATE" "streams=$STREAMS"
		load=$SPAWNED_PID
		await "$AWAIT_S" "the load" grep -q ready "$PAIR_DIR/load"
	fi
	await_epochs hostA vm1 "$EPOCHS"
	vm_field hostA vm1 "['pause_ms']['p50'], s['pause_ms']['p99'], s['commit_ms']['p50'], s['commit_ms']['p99'], s['dirty_pages']['p50']" |
		tr -d '(),' >>"$PAIR_DIR/$1"
	if [[ -n $load ]]; then
		kill -TERM "$load"
		await "$AWAIT_S" "the load to end" grep -q '^{' "$PAIR_DIR/load"
		grep '^{' "$PAIR_DIR/load" >>"$PAIR_DIR/loads"
	fi
}
block none
for ((r = 0; r < ROUNDS; r++)); do
	block http
	block none
done

# Each block with load against the mean of its neighbours without, and, as the floor, of two neighbours without load the second
# against the first: what this machine does by itself.
ratio() { paste <(head -n "$ROUNDS" "$PAIR_DIR/none") "$PAIR_DIR/http" <(tail -n "$ROUNDS" "$PAIR_DIR/none") | awk -v n="$1" '{print $(n + 5) * 2 / ($n + $(n + 10))}' | median; }
floor() { paste <(head -n "$ROUNDS" "$PAIR_DIR/none") <(tail -n "$ROUNDS" "$PAIR_DIR/none") | awk -v n="$1" '{print $(n + 5) / $n}' | median; }
mkdir -p "$PAIR_B/bench"
rate=$(jq -s 'map(.rate) | add / length | floor' "$PAIR_DIR/loads")
refused=$(jq -s 'map(.limited + .other + .cut + .streams_refused) | add' "$PAIR_DIR/loads")
printf '%6s %10s %10s %11s %11s %8s\n' load pause_p50 pause_p99 commit_p50 commit_p99 dirty
json=
for way in none http; do
	read -r p50 p99 c50 c99 dirty < <(for c in 1 2 3 4 5; do column $way $c; done | paste -sd " ")
	printf '%6s %10.3f %10.3f %11.3f %11.3f %8s\n' $way "$p50" "$p99" "$c50" "$c99" "$dirty"
	json+="${json:+,}{\"load\":\"$way\",\"pause_ms_p50\":$p50,\"pause_ms_p99\":$p99,\"commit_ms_p50\":$c50,\"commit_ms_p99\":$c99,\"dirty_pages_p50\":$dirty}"
done
pause=$(ratio 1) commit=$(ratio 3)
printf 'requests a second: %s, refused: %s; with load / without: pause %.3f (floor %.3f), commit %.3f (floor %.3f)\n' "$rate" "$refused" \
	"$pause" "$(floor 1)" "$commit" "$(floor 3)"
echo "{\"requests_s\":$rate,\"streams\":$STREAMS,\"refused\":$refused,\"pause_floor_ratio\":$(floor 1),\"commit_floor_ratio\":$(floor 3),\"blocks\":[$json]}" \
	>"$PAIR_B/bench/http.json"
results=$PAIR_B/bench/results.json
[[ -s $results ]] || echo '{}' >"$results"
jq --argjson p "$pause" --argjson c "$commit" '.http_load_pause_ratio = $p | .http_load_commit_ratio = $c' "$results" >"$results.new" &&
	mv "$results.new" "$results"
