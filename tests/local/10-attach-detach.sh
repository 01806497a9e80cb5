#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM started by hand with nothing special but a QMP socket: protect and unprotect, ATTACH_ROUNDS times
# (100), leave nothing in it: no filter, job, fd, userfaultfd or stopped thread, and it runs. Then other
# shapes of VM, once each, and the whole-VM copy of an idle 512 MiB guest.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
start() {
	local name=$1
	shift
	host_spawn hostA "$PAIR_DIR/$name-qemu.log" qemu-system-x86_64 -name "$name" -accel tcg \
		-qmp "unix:$PAIR_DIR/$name.qmp,server=on,wait=off" "$@"
	QEMU_PID=$SPAWNED_PID
	await 10 "QMP of $name" test -S "$PAIR_DIR/$name.qmp"
}
traces() { "$PAIR_B/tools/vm_traces" "$PAIR_DIR/$1.qmp"; }

# round NAME EXPECTED: one protect and unprotect; the VM is as it was before.
round() {
	local after
	tw hostA protect "$1" --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
	[[ $(vm_state hostA "$1") = protected ]] || fail "$1 is not protected"
	tw hostA unprotect "$1" >"$PAIR_DIR/out" || fail "unprotect: $(cat "$PAIR_DIR/out")"
	after=$(traces "$1") || fail "something is left in $1: $after"
	[[ $after = "$2" ]] || fail "$1 had '$2' and has '$after'"
}

pair_up
start plain -m 512 -display none
before=$(traces plain) || fail "a fresh VM is not clean: $before"
for ((i = 1; i <= ${ATTACH_ROUNDS:-100}; i++)); do
	round plain "$before"
done
echo "$((i - 1)) rounds: nothing left"
[[ -z $(procs_of hostA "twinvmd replicate") ]] || fail "a replicator is left on hostA"
no_standby() { [[ -z $(procs_of hostB qemu-system) ]]; }
await 5 "the standbys to go" no_standby || fail "a standby is left"
[[ $(host_run hostB ls /dev/shm) = "" ]] || fail "memory files are left on hostB"
kill -9 "$QEMU_PID"

declare -A shapes=(
	[nographic]="-m 256 -nographic"
	[e1000]="-M q35 -nodefaults -display none -m 256 -netdev user,id=u0 -device e1000,netdev=u0"
	[nonet]="-M q35 -nodefaults -display none -m 192 -nic none -smp 2"
	[two]="-M q35 -nodefaults -display none -m 256 -nic user,model=virtio-net-pci -nic user,model=e1000"
	[backend]="-M q35,memory-backend=ram0 -object memory-backend-ram,id=ram0,size=256M -nodefaults -display none -m 256"
)
for name in "${!shapes[@]}"; do
	# shellcheck disable=SC2086 # words
	start "$name" ${shapes[$name]}
	before=$(traces "$name") || fail "$name: $before"
	round "$name" "$before"
	kill -9 "$QEMU_PID"
	echo "$name: clean"
done

guest_start hostA idle
start_us=${EPOCHREALTIME/./}
tw hostA protect idle --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
echo "an idle 512 MiB guest was protected after $(((${EPOCHREALTIME/./} - start_us) / 1000)) ms"
guest_answers || fail "the guest does not answer while protected"
tw hostA unprotect idle >/dev/null
guest_answers || fail "the guest does not answer after unprotect"
