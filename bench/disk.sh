#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/disk: guest writes (O_DIRECT) with protection on, against the same guest with a plain write-blocking mirror job to a
# local NBD server, in alternating rounds of one run. Time is taken outside the guest. Ratio: protected / mirrored
# throughput, medians. Writes BUILD/bench/disk.json and adds to BUILD/bench/results.json. ROUNDS (5), SEQ_MIB (512), RAND_MIB (8).
# 512 MiB: every block of the disk once, and long enough that what is measured is the disk. Connection, shell and process start in
# the guest take some 30 ms, and under protection 80, since each answer waits for a commit (SEQ_MIB=1 shows it). Both sides of a
# ratio come from one run, but a busy machine takes more from the side that needs more of it: the load is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
. bench/lib.sh
ROUNDS=${ROUNDS:-5}
declare -A mib=([seq]=${SEQ_MIB:-512} [rand]=${RAND_MIB:-8})

# timed_in_guest COMMAND: runs it, prints the milliseconds it took
timed_in_guest() {
	local begin=${EPOCHREALTIME/./} answer
	answer=$(in_guest "$1")
	[[ $answer = done* ]] || {
		echo "in the guest: $answer" >&2
		return 1
	}
	echo $(((${EPOCHREALTIME/./} - begin) / 1000))
}

read -r load _ </proc/loadavg
pair_up
truncate -s 512M "$PAIR_DIR/disk.raw"
truncate -s 512M "$PAIR_DIR/target.raw"
GUEST_EXTRA='twinvm.shell=1' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
host_spawn hostA "$PAIR_DIR/nbd.log" qemu-nbd -k "$PAIR_DIR/nbd.sock" -f raw -t -e 8 "$PAIR_DIR/target.raw"
await 10 "the NBD server" test -S "$PAIR_DIR/nbd.sock"
timed_in_guest "diskbench /dev/vda seq ${mib[seq]}" >/dev/null # blocks are allocated once, for all rounds
for kind in seq rand; do : >"$PAIR_DIR/mirror-$kind" && : >"$PAIR_DIR/protected-$kind"; done
for ((r = 0; r < ROUNDS; r++)); do
	python3 bench/qmp_mirror.py "${GUEST_QMP[vm1]}" d0 "$PAIR_DIR/nbd.sock" start
	for kind in seq rand; do
		timed_in_guest "diskbench /dev/vda $kind ${mib[$kind]}" >>"$PAIR_DIR/mirror-$kind"
	done
	python3 bench/qmp_mirror.py "${GUEST_QMP[vm1]}" d0 "$PAIR_DIR/nbd.sock" stop
	tw hostA protect vm1 --to hostB >/dev/null
	for kind in seq rand; do
		timed_in_guest "diskbench /dev/vda $kind ${mib[$kind]}" >>"$PAIR_DIR/protected-$kind"
	done
	tw hostA unprotect vm1 >/dev/null
done
mkdir -p "$PAIR_B/bench"
json=
worst=
printf '%6s %6s %16s %16s %8s\n' kind MiB mirrored_ms protected_ms ratio
for kind in seq rand; do
	m=$(median <"$PAIR_DIR/mirror-$kind") p=$(median <"$PAIR_DIR/protected-$kind")
	ratio=$(awk -v m="$m" -v p="$p" 'BEGIN {printf "%.2f", m / p}')
	printf '%6s %6d %16d %16d %8s\n' $kind "${mib[$kind]}" "$m" "$p" "$ratio"
	json+="${json:+,}{\"kind\":\"$kind\",\"mib\":${mib[$kind]},\"mirrored_ms\":$m,\"protected_ms\":$p,\"ratio\":$ratio}"
	worst=$(awk -v a="${worst:-9}" -v b="$ratio" 'BEGIN {print a < b ? a : b}')
done
echo "load of the machine before: $load"
echo "[$json]" >"$PAIR_B/bench/disk.json"
result disk_vs_mirror_ratio "$worst"
