#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/user: what a user of the guest feels, with no protection and in each mode, in alternating rounds on one VM: Redis with one
# connection and one request at a time, and with 50 connections and 16; bulk TCP in both directions; a job that computes; programs
# that write 4 and 64 MiB of memory at full speed; and, idle, what all of it costs. Time is taken outside the guest; shares of a
# core are CPU time of QEMU, of twinvm's processes and of the standby. Medians of the rounds, ratios to no protection.
# Writes BUILD/bench/user.json, adds to BUILD/bench/results.json. ROUNDS (3), ROUND_S (4) a workload, MODES, WORKLOADS.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
. bench/lib.sh
ROUNDS=${ROUNDS:-3} ROUND_S=${ROUND_S:-4}
read -ra modes <<<"${MODES:-none adaptive kemari remus:25}"
read -ra workloads <<<"${WORKLOADS:-redis1 redis50 tcp_in tcp_out cpu writer4 writer64 idle}"
tool=$PAIR_B/bench/load_tool

load() { host_run client "$tool" "$@"; }
note() { # NAME VALUE
	[[ -n $2 ]] || fail "no $1 of $workload with $mode"
	echo "$mode $workload $1 $2" >>"$figures"
}
stat_of() { vm_field hostA vm1 "$1" | tr -d '(),'; }
all_of_twinvm() { procs_of hostA '^twinvmd' && procs_of hostB '^twinvmd|qemu-system'; }
bytes() { stat_of "['raw_bytes'], s['wire_bytes']"; }
listens() { host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/$1" 2>/dev/null; }
with_workload() { # WORD...
	local rate
	in_guest "(workload 7005 $* >/dev/null 2>&1 &)"
	await "$AWAIT_S" "the workload" listens 7005
	rate=$(load count "$GUEST_IP" 7005 "$ROUND_S")
	note rate "$rate"
}
one() {
	local out begin raw wire rate p50 p99
	begin=$(date +%s%3N)
	[[ $mode = none ]] || read -r raw wire < <(bytes)
	case $workload in
	redis1 | redis50)
		[[ $workload = redis1 ]] && out="1 1" || out="50 16"
		# shellcheck disable=SC2086 # words
		read -r rate p50 p99 < <(load redis "$GUEST_IP" $out "$ROUND_S")
		note rate "$rate" && note p50_ms "$p50" && note p99_ms "$p99"
		;;
	tcp_in | tcp_out)
		[[ $workload = tcp_in ]] && out=7003 || out=7004
		rate=$(load tcp "${workload#tcp_}" "$GUEST_IP" "$out" "$ROUND_S")
		note rate "$rate"
		;;
	cpu) with_workload cpu ;;
	writer*) with_workload write "${workload#writer}" ;;
	idle)
		local pids=("${GUEST_PID[vm1]}") ns
		mapfile -t -O 1 pids < <(all_of_twinvm)
		sleep 1 # what the last workload has left
		begin=$(date +%s%3N)
		ns=$(cpu_ns "${pids[@]}")
		sleep "$((2 * ROUND_S))"
		note core_share "$(awk -v ns=$(($(cpu_ns "${pids[@]}") - ns)) -v ms=$(($(date +%s%3N) - begin)) 'BEGIN { printf "%.5f", ns / ms / 1e6 }')"
		;;
	esac
	if [[ $mode != none ]]; then
		note wire_ratio "$(awk -v a="$raw $wire" -v b="$(bytes)" 'BEGIN { split(a, x); split(b, y); printf "%.2f", (y[1] - x[1]) / (y[2] - x[2] + 1) }')"
		tw_must hostA trace vm1 --out "$PAIR_DIR/trace.json"
		bench/user_sum.py pauses "$PAIR_DIR/trace.json" "$begin" >"$PAIR_DIR/pauses"
		while read -r name value; do note "$name" "$value"; done <"$PAIR_DIR/pauses"
	fi
	[[ $workload != cpu && $workload != writer* ]] || in_guest "killall workload"
}

begun=$(machine)
pair_up
figures=$PAIR_DIR/figures
GUEST_EXTRA='twinvm.shell=1' guest_start hostA vm1
in_guest "(nc -ll -p 7003 -e /bin/dd of=/dev/null bs=256k >/dev/null 2>&1 &); (nc -ll -p 7004 -e /bin/dd if=/dev/zero bs=256k >/dev/null 2>&1 &)"
for port in 7003 7004; do await "$AWAIT_S" "port $port of the guest" listens $port; done
for ((r = 0; r < ROUNDS; r++)); do
	for workload in "${workloads[@]}"; do
		for mode in "${modes[@]}"; do
			mode_on vm1 "$mode"
			one
			mode_off vm1 "$mode"
		done
	done
	echo "round $((r + 1)) of $ROUNDS: $(machine)"
done
mkdir -p "$PAIR_B/bench"
bench/user_sum.py table "$figures" "$PAIR_B/bench/user.json" "$begun"
while read -r name value; do result "$name" "$value"; done < <(jq -r '.results | to_entries[] | "\(.key) \(.value | tojson)"' "$PAIR_B/bench/user.json")
