#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What goes wrong with a replica is the backup's trouble: its disk is full, its replicator is killed in the
# middle of an epoch, its host is cut off. The VM's writes succeed each time, protection comes back when it
# can, and then the replica is equal; what a killed replicator left is known to be mixed.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
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
restart_b() { # [VARIABLE=VALUE]: hostB's daemon with something in the environment
	kill "${DAEMON_PID[hostB]}"
	wait "${DAEMON_JOB[hostB]}" 2>/dev/null || true
	[[ -z ${1:-} ]] || export "${1?}"
	daemon_start hostB
	[[ -z ${1:-} ]] || unset "${1%%=*}"
}
said() { grep -q "$2" "$PAIR_DIR/$1.log"; }
replica_equal() {
	await_commit
	same "$PAIR_DIR/v.raw" raw "$(echo "$B_ROOT"/var/lib/twinvm/disks/*-0.raw)" "$1"
}
not_protected() { [[ $(vm_state hostA disks) != protected ]]; }

pair_up
B_ROOT=/proc/${HOST_INIT[hostB]}/root
mkdir -p "$B_ROOT/var/lib/twinvm/disks"
host_run hostB mount -t tmpfs -o size=8M tmpfs /var/lib/twinvm/disks
truncate -s 64M "$PAIR_DIR/v.raw"
host_spawn hostA "$PAIR_DIR/disks-qemu.log" qemu-system-x86_64 -name disks -accel tcg -M q35 -m 64 \
	-nodefaults -display none -qmp "unix:$PAIR_DIR/disks.qmp,server=on,wait=off" \
	-monitor "unix:$PAIR_DIR/disks.hmp,server=on,wait=off" \
	-drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv"
qemu=$SPAWNED_PID
await 10 "QMP" test -S "$PAIR_DIR/disks.qmp"
tw hostA protect disks --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"

io dv "write -P 1 0 4M"
replica_equal "with room"
io dv "write -P 2 4M 4M" "write -P 3 8M 8M" "write -P 4 16M 4M"
await 20 "the backup to notice that its disk is full" said hostB "replica image.*No space left"
await 10 "the primary to go on alone" said hostA "No space left"
io dv "write -P 5 0 1M" "write -P 6 20M 1M"
host_run hostB mount -o remount,size=64M /var/lib/twinvm/disks
await_state 60 hostA disks protected
replica_equal "after there was room again"
echo "replica disk full: the VM went on"

restart_b TWINVM_FAULT=replica_kill:4
kill -9 "$(procs_of hostB "twinvmd replicate sink" | head -n 1)" # one that has the fault comes next
await 20 "the loss of the backup" not_protected
await_state 60 hostA disks protected
for ((i = 0; i < 8; i++)); do
	io dv "write -P $((i + 10)) $i""M 1M"
	await 20 "an epoch, or the backup's death" epoch_past 0
done
await 30 "the replicator on the backup to die in the middle of an epoch" said hostB "is not one epoch's"
restart_b
await_state 60 hostA disks protected
io dv "write -P 99 30M 1M"
replica_equal "after a replicator that died while it applied"
echo "killed while applying: known to be mixed, copied anew"

# QEMU itself dies: its mirrors' ends are heard first, and must not be taken for more than they are.
kill -9 "$qemu"
runs_here() { [[ $(vm_field hostB disks "['role']") = primary ]]; }
await 20 "hostB to run it" runs_here
same "$PAIR_DIR/v.raw" raw "$(echo "$B_ROOT"/var/lib/twinvm/disks/*-0.raw)" "after the death of QEMU"
echo "QEMU killed: taken over with its disk"
