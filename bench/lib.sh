# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the benches share. Source it after tests/lib/pair.sh.
#
#   median                   of the numbers on standard input, one a line
#   in_guest COMMAND         runs it in the guest (started with twinvm.shell=1), prints what it prints
#   cpu_ns PID...            CPU time of all threads of these processes
#   mode_on VM MODE[:EPOCH]  protects VM in that mode; none: not at all
#   mode_off VM MODE[:EPOCH]
#   result NAME VALUE        adds it to BUILD/bench/results.json
#   machine                  a line: processors, load, which accelerator

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
in_guest() {
	host_run client timeout 300 bash -c "exec 3<>/dev/tcp/$GUEST_IP/7002 && echo '$1; echo over' >&3 && while read -r x <&3; do [[ \$x != over ]] || exit 0; echo \"\$x\"; done"
}
cpu_ns() {
	local pid
	for pid in "$@"; do cat "/proc/$pid"/task/*/schedstat 2>/dev/null || true; done | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
mode_on() {
	[[ $2 != none ]] || return 0
	local epoch=()
	[[ $2 != *:* ]] || epoch=(--epoch "${2#*:}")
	tw_must hostA protect "$1" --to hostB --mode "${2%:*}" "${epoch[@]}"
	await_pair hostA hostB "$1"
}
mode_off() { [[ $2 = none ]] || tw_must hostA unprotect "$1"; }
result() {
	local results=$PAIR_B/bench/results.json
	mkdir -p "$PAIR_B/bench"
	[[ -s $results ]] || echo '{}' >"$results"
	jq --arg k "$1" --argjson v "$2" '.[$k] = $v' "$results" >"$results.new" && mv "$results.new" "$results"
}
machine() { echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg), guests under $(guest_accel)"; }
