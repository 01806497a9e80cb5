#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/libvirt: what an epoch of a libvirt domain costs: through libvirt's passthrough; by a monitor of the domain's own,
# where libvirt sees each stop and resume; and by that monitor while no libvirtd runs, which is the floor. One domain, one
# run, alternating rounds, medians of rounds. The pause is QEMU's own time from STOP to RESUME, which a third monitor reports;
# the epoch is from its command to its answer. And libvirtd's CPU time for each epoch.
# Writes BUILD/bench/libvirt.json and a table. ROUNDS (3), EPOCHS a round (120).
set -euo pipefail
cd "$(dirname "$0")/.."
PAIR_HOSTS=hostA
. tests/lib/pair.sh
. tests/lib/libvirt.sh
ROUNDS=${ROUNDS:-3}
EPOCHS=${EPOCHS:-120}
tool=$PAIR_B/bench/libvirt_tool
ln -sfn ../twinvm-libvirt "$PAIR_B/bench/twinvm-libvirt" # it is looked for beside the program

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
column() { awk -v n="$2" '{print $n}' "$PAIR_DIR/$1" | median; }
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print ($12 + $13) * 1000 / hz}' "/proc/$1/stat"; }

pair_up
lv_up hostA
lv_qmp_dir hostA vm1
watch=/var/lib/libvirt/qemu/domain-vm1/watch.sock
lv_domain hostA vm1 "$LV_QMP" arg=-qmp "arg=unix:$watch,server=on,wait=off"

# round KIND WAY: one line of the tool's, and libvirtd's time for each of its epochs
round() {
	local before=0 after=0
	[[ $1 = floor ]] || before=$(cpu_ms "${LV_PID[hostA]}")
	host_run hostA "$tool" "$2" vm1 "$watch" "$EPOCHS" 25 >"$PAIR_DIR/line"
	[[ $1 = floor ]] || after=$(cpu_ms "${LV_PID[hostA]}")
	awk -v ms="$(awk -v a="$after" -v b="$before" -v n="$EPOCHS" 'BEGIN {print (a - b) / n}')" '{print $0, ms}' \
		"$PAIR_DIR/line" >>"$PAIR_DIR/$1"
}
for ((r = 0; r < ROUNDS; r++)); do
	round passthrough libvirt
	round monitor socket
	lv_stop hostA
	round floor socket
	lv_start hostA
done

mkdir -p "$PAIR_B/bench"
json=
floor50=$(column floor 1) floor99=$(column floor 2)
printf '%12s %10s %10s %9s %9s %10s %10s %12s\n' way pause_p50 pause_p99 ratio_p50 ratio_p99 epoch_p50 epoch_p99 libvirtd_ms
for way in passthrough monitor floor; do
	p50=$(column $way 1) p99=$(column $way 2) e50=$(column $way 3) e99=$(column $way 4) cpu=$(column $way 5)
	r50=$(awk -v a="$p50" -v b="$floor50" 'BEGIN {printf "%.2f", a / b}')
	r99=$(awk -v a="$p99" -v b="$floor99" 'BEGIN {printf "%.2f", a / b}')
	printf '%12s %10.3f %10.3f %9s %9s %10.3f %10.3f %12.3f\n' $way "$p50" "$p99" "$r50" "$r99" "$e50" "$e99" "$cpu"
	json+="${json:+,}{\"way\":\"$way\",\"pause_ms_p50\":$p50,\"pause_ms_p99\":$p99,\"pause_vs_floor_p50\":$r50,\"pause_vs_floor_p99\":$r99,\"epoch_ms_p50\":$e50,\"epoch_ms_p99\":$e99,\"libvirtd_cpu_ms\":$cpu}"
done
echo "[$json]" >"$PAIR_B/bench/libvirt.json"
