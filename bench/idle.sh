#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/idle: what the web server costs on a host with one idle protected VM while nobody looks: CPU time of twinvmd and of its web
# process, against the same hosts with `dashboard = no`, in alternating rounds of one run. In percent of a core. Writes
# BUILD/bench/idle.json. ROUNDS (3), ROUND_S (30).
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
. bench/lib.sh
ROUNDS=${ROUNDS:-3} ROUND_S=${ROUND_S:-30}

web_of() { procs_of "$1" '^twinvmd web'; }
web_is_there() { [[ -n $(web_of "$1") ]]; }
web_is_gone() { [[ -z $(web_of "$1") ]]; }
# serve HOST on|off
serve() {
	sed -i '/^dashboard = no$/d' "$PAIR_DIR/$1.conf"
	[[ $2 = on ]] || echo "dashboard = no" >>"$PAIR_DIR/$1.conf"
	kill -HUP "${DAEMON_PID[$1]}"
	if [[ $2 = on ]]; then
		await "$AWAIT_S" "the web process" web_is_there "$1"
	else
		await "$AWAIT_S" "the web process to end" web_is_gone "$1"
	fi
	sleep 2 # the first snapshots are another matter
}
share() { awk -v ns="$1" -v s="$ROUND_S" 'BEGIN { printf "%.3f\n", ns / s / 1e7 }'; }

read -r load _ </proc/loadavg
PAIR_ARBITER="file"
pair_up
guest_start hostA vm1
protect vm1
for ((r = 0; r < ROUNDS; r++)); do
	for on in on off; do
		for host in hostA hostB; do serve "$host" $on; done
		declare -A before=()
		for host in hostA hostB; do
			for pid in ${DAEMON_PID[$host]} $(web_of "$host"); do before[$pid]=$(cpu_ns "$pid"); done
		done
		sleep "$ROUND_S"
		for host in hostA hostB; do
			pid=${DAEMON_PID[$host]}
			share $(($(cpu_ns "$pid") - before[$pid])) >>"$PAIR_DIR/$host-$on"
			for pid in $(web_of "$host"); do share $(($(cpu_ns "$pid") - before[$pid])) >>"$PAIR_DIR/$host-web"; done
		done
	done
done
mkdir -p "$PAIR_B/bench"
json=
printf '%-8s %10s %14s %10s %12s\n' host twinvmd "without web" web "for web all"
for host in hostA hostB; do
	on=$(median <"$PAIR_DIR/$host-on") off=$(median <"$PAIR_DIR/$host-off") web=$(median <"$PAIR_DIR/$host-web")
	all=$(awk -v a="$on" -v b="$off" -v c="$web" 'BEGIN { printf "%.3f", a - b + c }')
	printf '%-8s %8s %% %12s %% %8s %% %10s %%\n' $host "$on" "$off" "$web" "$all"
	json+="${json:+,}\"$host\":{\"twinvmd\":$on,\"twinvmd_without_web\":$off,\"web\":$web,\"web_all\":$all}"
done
echo "load of the machine before: $load"
echo "{$json}" >"$PAIR_B/bench/idle.json"
