#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM started by hand with nothing special but a QMP socket: protect and unprotect, ATTACH_ROUNDS times
# (100), leave nothing in it: no filter, job, fd, userfaultfd or stopped thread, and it runs. Then other
# shapes of VM, once each, and the whole-VM copy of an idle 512 MiB guest.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

# round NAME EXPECTED: one protect and unprotect; the VM is as it was before.
round() {
	protect "$1"
	[[ $(vm_state hostA "$1") = protected ]] || fail "$1 is not protected"
	tw_must hostA unprotect "$1"
	unchanged "$1" "$2" "unprotected"
}

pair_up
qemu_start hostA plain -m 512 -display none
before=$(vm_traces plain) || fail "a fresh VM is not clean: $before"
for ((i = 1; i <= ${ATTACH_ROUNDS:-100}; i++)); do
	round plain "$before"
done
echo "$((i - 1)) rounds: nothing left"
no_procs hostA "twinvmd replicate" || fail "a replicator is left on hostA"
await "$AWAIT_S" "the standbys to go" no_procs hostB qemu-system || fail "a standby is left"
[[ $(host_run hostB ls /dev/shm) = "" ]] || fail "memory files are left on hostB"
kill -9 "${GUEST_PID[plain]}"

declare -A shapes=(
	[nographic]="-m 256 -nographic"
	[e1000]="-M q35 -nodefaults -display none -m 256 -netdev user,id=u0 -device e1000,netdev=u0"
	[nonet]="-M q35 -nodefaults -display none -m 192 -nic none -smp 2"
	[two]="-M q35 -nodefaults -display none -m 256 -nic user,model=virtio-net-pci -nic user,model=e1000"
	[backend]="-M q35,memory-backend=ram0 -object memory-backend-ram,id=ram0,size=256M -nodefaults -display none -m 256"
)
for name in "${!shapes[@]}"; do
	# shellcheck disable=SC2086 # words
	qemu_start hostA "$name" ${shapes[$name]}
	before=$(vm_traces "$name") || fail "$name: $before"
	round "$name" "$before"
	kill -9 "${GUEST_PID[$name]}"
	echo "$name: clean"
done

guest_start hostA idle
start_us=${EPOCHREALTIME/./}
protect idle
echo "an idle 512 MiB guest was protected after $(((${EPOCHREALTIME/./} - start_us) / 1000)) ms"
guest_answers || fail "the guest does not answer while protected"
tw hostA unprotect idle >/dev/null
guest_answers || fail "the guest does not answer after unprotect"
