#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run states that others bring about. A migration by another program: cancelled, protection continues; completed, it ends by name, and
# a power cut starts no second copy. A disk of the primary that is full (io-error): status has the reason, the backup does not take
# over, and protection continues after `cont`. A reset. A power cut after these.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

hmp() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$@" >"$PAIR_DIR/hmp" || fail "$*: $(<"$PAIR_DIR/hmp")"; }
says_hmp() { hmp "$1" && grep -q "$2" "$PAIR_DIR/hmp"; }
in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
continues() { # WHAT
	await_field "$AWAIT_S" hostA vm1 "['run_state']" running
	await_epochs hostA vm1 5
	await "$AWAIT_S" "the guest to answer: $1" guest_answers
}
SMALL=$(mktemp -d)
mount -t tmpfs -o size=16M,mode=711 twinvm-test "$SMALL"
eval "pair_$(declare -f at_exit)" # pair.sh's own
at_exit() {
	pair_at_exit "$1"
	umount -l "$SMALL"
	rmdir "$SMALL"
}
PAIR_ARBITER='file' pair_up
guest_start hostA vm1 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off"
protect vm1

# ---- a migration that is cancelled ----
hmp "migrate_set_parameter max-bandwidth 1" "migrate -d \"exec:cat >/dev/null\""
await "$AWAIT_S" "the migration to begin" says_hmp "info migrate" "status: active"
await_epochs hostA vm1 5
hmp migrate_cancel
await "$AWAIT_S" "the migration to end" says_hmp "info migrate" "status: cancelled"
continues "after a migration that was cancelled"
field_is hostA vm1 "['state']" protected || fail "after a migration that was cancelled: $(tw hostA status)"
step "a migration that is cancelled: protection continues"

# ---- one that is completed ----
hmp "migrate_set_parameter max-bandwidth 1G" "migrate_set_parameter downtime-limit 2000" "migrate -d \"exec:cat >/dev/null\""
migrated() { hmp "info status" "info migrate" && cp "$PAIR_DIR/hmp" "$PAIR_DIR/migration.log" && grep -q postmigrate "$PAIR_DIR/hmp"; }
await "$AWAIT_S" "the migration to end" migrated
await_field "$AWAIT_S" hostA vm1 "['state']" alone
await_field "$AWAIT_S" hostA vm1 "['reason']" "*another program*migrat*the VM to another host*"
await_state "$AWAIT_S" hostB vm1 none
await "$AWAIT_S" "the standby on hostB to end" no_procs hostB qemu-system
says_hmp "info status" "postmigrate" || fail "it was resumed: $(<"$PAIR_DIR/hmp")"
host_power_cut hostA
let_pass 2 # longer than a backup waits before it takes over
no_procs hostB qemu-system || fail "a second copy runs on hostB: $(tw hostB status)"
[[ $(vm_state hostB vm1) = none ]] || fail "hostB took it over: $(tw hostB status)"
step "a migration that is completed: protection ends by name, no second copy after a power cut"

# ---- a full disk ----
host_back hostA
rm -f "$PAIR_DIR/vm1-serial.log"
host_run hostA ip link del tap-vm1 2>/dev/null || true
truncate -s 64M "$SMALL/data.raw"
GUEST_EXTRA="twinvm.shell=1" guest_start hostA vm1 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off" \
	-drive "file=$SMALL/data.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0 -action reboot=reset
protect vm1
in_guest "dd if=/dev/urandom of=/dev/vda bs=1M count=32 conv=fsync"
await_field "$AWAIT_S" hostA vm1 "['run_state']" io-error
await_field "$AWAIT_S" hostA vm1 "['reason']" "*cannot be read or written*cont*"
let_pass 1
field_is hostA vm1 "['role']" primary || fail "hostB took over: $(tw hostA status)"
field_is hostB vm1 "['role']" backup || fail "hostB took over: $(tw hostB status)"
tw_refuses hostA 3 "mend the storage" failover vm1
mount -o remount,size=100M "$SMALL"
hmp cont
continues "after a full disk"
step "a full disk: the VM waits, and so does its protection"

# ---- a reset ----
: >"$PAIR_DIR/vm1-serial.log"
hmp system_reset
await 120 "the guest to boot again" grep -saq "GUEST READY" "$PAIR_DIR/vm1-serial.log"
continues "after a reset"
field_is hostA vm1 "['state']" protected || fail "after a reset: $(tw hostA status)"
host_power_cut hostA
await_primary hostB vm1
await "$AWAIT_S" "the guest to answer on hostB" guest_answers
planned_back hostA hostB vm1
await "$AWAIT_S" "the guest to answer on hostA" guest_answers
step "a reset, and a power cut after it; a planned switch back"
