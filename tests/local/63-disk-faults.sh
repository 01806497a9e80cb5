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

replica_equal() {
	await_commit
	same "$PAIR_DIR/v.raw" raw "$(replica_of hostB)" "$1"
}

pair_up
mkdir -p "$(host_path hostB /var/lib/twinvm/disks)"
host_run hostB mount -t tmpfs -o size=8M tmpfs /var/lib/twinvm/disks
truncate -s 64M "$PAIR_DIR/v.raw"
disks_start -drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv"
protect disks

io dv "write -P 1 0 4M"
replica_equal "with room"
io dv "write -P 2 4M 4M" "write -P 3 8M 8M" "write -P 4 16M 4M"
await 20 "the backup to notice that its disk is full" logged hostB "replica image.*reserve_mib"
await 10 "the primary to continue alone" logged hostA "reserve_mib"
io dv "write -P 5 0 1M" "write -P 6 20M 1M"
host_run hostB mount -o remount,size=64M /var/lib/twinvm/disks
await_state 60 hostA disks protected
replica_equal "after there was room again"
echo "replica disk full: the VM kept running"

daemon_restart hostB TWINVM_FAULT=replica_kill:4
kill -9 "$(procs_of hostB "twinvmd replicate sink" | head -n 1)" # one that has the fault comes next
await_state 20 hostA disks '!(protected)'
await_state 60 hostA disks protected
# Each write an epoch of its own, until the fault's.
two_epochs_or_death() {
	local n
	[[ $(vm_state hostA disks) = protected ]] || return 0
	n=$(vm_field hostA disks "['epoch_committed']")
	[[ $n = [0-9]* ]] && ((n >= before + 2 || n < before))
}
for ((i = 0; i < 8; i++)); do
	io dv "write -P $((i + 10)) $i""M 1M"
	before=$(vm_field hostA disks "['epoch_committed']")
	[[ $before = [0-9]* ]] || break
	await "$AWAIT_S" "two epochs, or the backup's death" two_epochs_or_death
done
await 30 "the replicator on the backup to die in the middle of an epoch" logged hostB "is not one epoch's"
daemon_restart hostB
await_state 60 hostA disks protected
io dv "write -P 99 30M 1M"
replica_equal "after a replicator that died while it applied"
echo "killed while applying: known to be mixed, copied anew"

# QEMU itself dies: its mirrors' ends are reported first, and must not be taken for more than they are.
kill -9 "${GUEST_PID[disks]}"
await_primary hostB disks
same "$PAIR_DIR/v.raw" raw "$(replica_of hostB)" "after the death of QEMU"
echo "QEMU killed: taken over with its disk"
