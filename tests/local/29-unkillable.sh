#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hung_qemu = failover, and a QEMU that cannot die: one of its threads waits in a write to a frozen file system, which no signal ends.
# The backup runs the VM while the old process is still there. Two instances never run: of the old one only that thread is left, and
# none of its code runs when its write returns.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
PAIR_CONF='hung_qemu = failover'
. tests/lib/pair.sh

. tests/lib/freeze.sh
# The states of a process's threads, "D Z": one letter for each kind.
threads() {
	local states
	states=$(cat "/proc/$1/task"/*/stat 2>/dev/null | sed 's/.*) \(.\) .*/\1/' | sort -u)
	echo "${states//$'\n'/ }"
}
waits_in_a_write() { [[ $(threads "$1") = *D* ]]; }
is_gone() { [[ ! -e /proc/$1 ]]; }

pair_up
truncate -s 160M "$PAIR_DIR/store.ext4"
mkfs.ext4 -q "$PAIR_DIR/store.ext4"
mkdir "$PAIR_DIR/store"
host_run hostA mount -o loop "$PAIR_DIR/store.ext4" "$PAIR_DIR/store" || skip "no loop device can be mounted here"
guest_disk "$PAIR_DIR/vm1.ext4" 64
host_run hostA cp "$PAIR_DIR/vm1.ext4" "$PAIR_DIR/store/vm1.raw"
GUEST_EXTRA="twinvm.disk=/dev/vda" guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/store/vm1.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
old=${GUEST_PID[vm1]}
protect vm1
await_pair hostA hostB vm1
client_start
await_epochs hostA vm1 5

fs_freeze hostA "$PAIR_DIR/store"
await "$AWAIT_S" "a write of the guest's to wait in the kernel" waits_in_a_write "$old"
GUEST_PID[vm1]=
await_primary hostB vm1
logged hostA "its QEMU is killed, and the backup is to run it" || fail "QEMU was not killed: $(tw hostA status)"
states=$(threads "$old")
[[ $states = @(D|D Z) ]] || fail "the old QEMU's threads are in the states '$states' while the VM runs on hostB"
goes_on "on hostB, while the old QEMU cannot die"
serial=$(stat -c %s "$PAIR_DIR/vm1-serial.log")
step "the backup runs it; of the old QEMU (states of its threads: $states) nothing runs"

# The write returns: the process ends in it, and this host can be the backup.
thaw
await "$AWAIT_S" "the old QEMU to end" is_gone "$old"
[[ $(stat -c %s "$PAIR_DIR/vm1-serial.log") = "$serial" ]] || fail "the old guest wrote after the thaw"
goes_on "on hostB, after the thaw"
field_is hostB vm1 "['role']" primary || fail "hostB does not run it: $(tw hostB status)"
await_pair hostB hostA vm1
client_ends
