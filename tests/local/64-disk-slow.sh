#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM that writes to its disk faster than the link carries, with little room on the backup: its writes
# become as fast as the link (back-pressure), no process's memory grows, the VM stays protected, and when the link
# is cut in the middle of it, the writes that wait complete at once.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CONF="spool_mib = 16"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/diskvm.sh

pair_up
truncate -s 64M "$PAIR_DIR/v.raw"
head -c 1M /dev/urandom >"$PAIR_DIR/noise"
disks_start -drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv"
protect disks
host_shape hostA 50mbit
writes() { # FROM COUNT: MiB of noise, one after the other
	local i list=()
	for ((i = $1; i < $1 + $2; i++)); do list+=("write -s $PAIR_DIR/noise ${i}M 1M"); done
	io dv "${list[@]}"
}
start_us=${EPOCHREALTIME/./}
writes 0 30
took_ms=$(((${EPOCHREALTIME/./} - start_us) / 1000))
[[ $(vm_state hostA disks) = protected ]] || fail "not protected any more: $(tw hostA status)"
await_commit
same "$PAIR_DIR/v.raw" raw "$(replica_of hostB)" "over a slow link"
peak_kib=$(awk '/VmHWM/ { print $2 }' "/proc/$(procs_of hostA "twinvmd replicate source" | head -n 1)/status")
echo "30 MiB over 50 Mbit/s: written in $took_ms ms, the source's peak is $((peak_kib >> 10)) MiB"
((peak_kib < 200 << 10)) || fail "the source took $peak_kib KiB"

# Slower still, so that QEMU is in a write that waits whenever the source asks it something.
host_shape hostA 10mbit
writes 30 8
[[ $(vm_state hostA disks) = protected ]] || fail "not protected any more: $(tw hostA status)"
await_commit
same "$PAIR_DIR/v.raw" raw "$(replica_of hostB)" "over a slower link"

writes 38 20 &
writer=$!
host_link hostA down
wait "$writer" || fail "writes while the link was cut"
echo "the link cut while writes waited: they completed"
