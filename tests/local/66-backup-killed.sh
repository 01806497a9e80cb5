#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL of all of the backup's side at random moments while the guest writes at random places of its disk: each time
# the replica is one state of that disk, or its state file does not claim so. The last time it dies in the middle of
# applying an epoch, for certain. Protection comes back; then the primary loses power: memory and disk of the promoted
# VM are of one epoch. (63-disk-faults.sh compares block by block, without a guest.) KILL_ROUNDS (3), SEED.
# With GUEST_ENV="LD_PRELOAD=$PWD/build/tools/heapguard.so" it also finds a QEMU that writes into freed memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
RANDOM=${SEED:-$$}
echo "SEED=${SEED:-$$}"

fail() {
	echo "FAIL: $*"
	exit 1
}
ask() { # STATE or CHECK
	host_run client timeout 60 bash -c "exec 3<>/dev/tcp/$GUEST_IP/7001 && echo $1 >&3 && read -r x <&3 && echo \"\$x\"" 2>/dev/null
}
writes() { ask STATE | sed -nE 's/.*writes=([0-9]+).*/\1/p'; }
beyond() {
	local n
	n=$(writes) || true
	((${n:-0} > $1))
}
goes_on() {
	local n
	kill -0 "${GUEST_PID[vm1]}" 2>/dev/null || [[ -n ${moved:-} ]] || fail "the VM's QEMU has died: $1 ($(tail -n 1 "$PAIR_DIR/vm1-qemu.log"))"
	n=$(writes) || fail "the guest does not answer: $1"
	await 30 "the guest to write: $1" beyond $((n + 100))
}
alone() { [[ $(vm_state "$1" vm1) = alone ]]; }
said() { grep -q "$1" "$PAIR_DIR/hostB.log"; }
kill_b() {
	# shellcheck disable=SC2046 # pids
	kill -9 "${DAEMON_PID[hostB]}" $(procs_of hostB "twinvmd replicate sink") $(procs_of hostB qemu-system) 2>/dev/null || true
	wait "${DAEMON_JOB[hostB]}" 2>/dev/null || true
	await 5 "hostB's processes to end" gone
}
gone() { [[ -z $(procs_of hostB "twinvmd replicate sink") ]]; }
# What the state file (checkpoint/repstate.c) claims: 2 and 4: the images are one epoch; 1 and 3: they are not.
look_at_replica() {
	local phase dir=$B_ROOT/var/lib/twinvm/disks
	phase=$(od -An -t u4 -j 8 -N 4 "$dir"/*.state | tr -d ' ')
	case $phase in
	2 | 4)
		"$VERIFY" --check "$dir"/*-0.raw >"$PAIR_DIR/check" 2>&1 || fail "it claims to be whole: $(cat "$PAIR_DIR/check")"
		echo "killed: the replica is whole ($(cat "$PAIR_DIR/check"))"
		;;
	1 | 3) echo "killed: the replica is known to be mixed ($phase)" ;;
	*) fail "the state file says '$phase'" ;;
	esac
}

VERIFY=$PAIR_B/guest/tree/bin/verify
pair_up
B_ROOT=/proc/${HOST_INIT[hostB]}/root
truncate -s 32M "$PAIR_DIR/disk.raw"
GUEST_EXTRA='twinvm.verify=/dev/vda' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
await 60 "the guest to write to its disk" beyond 0
tw hostA protect vm1 --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"

for ((round = 1; round <= ${KILL_ROUNDS:-3}; round++)); do
	goes_on "round $round"
	read -r -t "0.$(printf '%03d' $((RANDOM % 300)))" <> <(:) || true
	kill_b
	look_at_replica
	goes_on "without its backup"
	daemon_start hostB
	await_state 60 hostA vm1 protected
done

kill_b
export TWINVM_FAULT=replica_kill:4
daemon_start hostB
unset TWINVM_FAULT
await 60 "a replicator to die while it applies" said "is not one epoch's"
kill_b
daemon_start hostB
await_state 60 hostA vm1 protected
goes_on "with a replica copied anew"
echo "died while it applied: copied anew"

host_power_cut hostA
moved=1
await 20 "hostB to take over" alone hostB
answer=$(ask CHECK) || fail "the promoted VM does not answer"
[[ $answer = ok\ * && $answer = *' mismatches=0 errors=0 '* ]] || fail "$answer"
goes_on "on hostB"
echo "promoted after it all: $answer"
