#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that answers heartbeats and commits nothing: the connection's packets get lost in one direction while
# datagrams pass, or the file system of the replica hangs. Each time the primary notices by itself and runs alone by
# record, the guest answers again, nobody takes over, and the VM is protected again when what was stuck moves.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

DISKS=/var/lib/twinvm/disks # of hostB: a file system of its own
FROZEN=

freeze() {
	host_run hostB fsfreeze -f "$DISKS"
	FROZEN=1
}
thaw() {
	host_run hostB fsfreeze -u "$DISKS"
	FROZEN=
}
# Nothing in a host ends while it waits for a frozen file system.
eval "$(declare -f at_exit | sed '1s/at_exit/pair_at_exit/')"
at_exit() {
	[[ -z $FROZEN ]] || thaw
	pair_at_exit "$1"
}

to_backup() { host_stick hostA hostB; }
to_backup_again() { host_unstick hostA hostB; }
from_backup() { host_stick hostB hostA; }
from_backup_again() { host_unstick hostB hostA; }

noticed() { times_logged hostA 'COMMIT_OVERDUE: PROTECTED\|LEASE_OVER: PROTECTED'; }
has_noticed() { (($(noticed) > $1)); }

# scene NAME BEGIN END
scene() {
	local before
	before=$(noticed)
	"$2"
	await "$AWAIT_S" "the primary to notice: $1" has_noticed "$before"
	goes_on "while $1"
	logged hostB 'ASKING -> PROMOTING' && fail "the backup took over: $1"
	"$3"
	await_state 60 hostA vm1 protected
	await_epochs hostA vm1 3
	goes_on "after it: $1"
	echo "ok $1"
}

pair_up
truncate -s 256M "$PAIR_DIR/disks.ext4"
mkfs.ext4 -q "$PAIR_DIR/disks.ext4"
host_run hostB mkdir -p "$DISKS"
host_run hostB mount -o loop "$PAIR_DIR/disks.ext4" "$DISKS" || skip "no loop device can be mounted here"
guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start

scene "nothing of the connection arrives at the backup" to_backup to_backup_again
grep -q 'COMMIT_OVERDUE: PROTECTED -> ASKING' "$PAIR_DIR/hostA.log" || fail "it was not the deadline"
scene "nothing of the connection arrives from the backup" from_backup from_backup_again
scene "the replica's file system hangs" freeze thaw
client_ends
tw_must hostA unprotect vm1
vm_traces vm1 || fail "something is left in the VM"
