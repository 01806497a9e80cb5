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
. tests/lib/verify.sh

goes_on() { verify_goes_on vm1 "$1"; }
# What the state file (checkpoint/repstate.c) claims: 2 and 4: the images are one epoch; 1 and 3: they are not.
look_at_replica() {
	local phase dir
	dir=$(host_path hostB /var/lib/twinvm/disks)
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
verify_start hostA vm1
protect vm1

for ((round = 1; round <= ${KILL_ROUNDS:-3}; round++)); do
	goes_on "round $round"
	moment 300
	kill_side hostB
	look_at_replica
	goes_on "without its backup"
	daemon_start hostB
	await_state 60 hostA vm1 protected
done

kill_side hostB
mixed=$(times_logged hostB "is not one epoch's")
daemon_start hostB TWINVM_FAULT=replica_kill:4
# Twice: the first one may speak of what was killed before it.
await "$AWAIT_S" "a replicator to die while it applies" logged hostB "is not one epoch's" $((mixed + 2))
kill_side hostB
daemon_start hostB
await_state 60 hostA vm1 protected
goes_on "with a replica copied anew"
echo "died while it applied: copied anew"

host_power_cut hostA
GUEST_PID[vm1]='' # QEMU runs on hostB now
await_state 20 hostB vm1 alone
verify_check "promoted"
goes_on "on hostB"
echo "promoted after it all: $PRINTED"
