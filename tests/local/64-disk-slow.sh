#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM that writes to its disk faster than the link carries, with little room on the backup: its writes
# become as fast as the link (back-pressure), nobody's memory grows, the VM stays protected, and when the link
# is cut in the middle of it, the writes that wait go on at once.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CONF="spool_mib = 16"
. tests/lib/pair.sh
. tests/lib/diskvm.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
command -v qemu-img >/dev/null || {
	echo "qemu-img is not installed"
	exit 77
}
pair_up
B_ROOT=/proc/${HOST_INIT[hostB]}/root
truncate -s 64M "$PAIR_DIR/v.raw"
head -c 1M /dev/urandom >"$PAIR_DIR/noise"
host_spawn hostA "$PAIR_DIR/disks-qemu.log" qemu-system-x86_64 -name disks -accel tcg -M q35 -m 64 \
	-nodefaults -display none -qmp "unix:$PAIR_DIR/disks.qmp,server=on,wait=off" \
	-monitor "unix:$PAIR_DIR/disks.hmp,server=on,wait=off" \
	-drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv"
await 10 "QMP" test -S "$PAIR_DIR/disks.qmp"
tw hostA protect disks --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
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
same "$PAIR_DIR/v.raw" raw "$(echo "$B_ROOT"/var/lib/twinvm/disks/*-0.raw)" "over a slow link"
peak_kib=$(awk '/VmHWM/ { print $2 }' "/proc/$(procs_of hostA "twinvmd replicate source" | head -n 1)/status")
echo "30 MiB over 50 Mbit/s: written in $took_ms ms, the source's peak is $((peak_kib >> 10)) MiB"
((peak_kib < 200 << 10)) || fail "the source took $peak_kib KiB"

writes 30 20 &
writer=$!
host_link hostA down
wait "$writer" || fail "writes while the link was cut"
echo "the link cut while writes waited: they went on"
