#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that answers heartbeats and commits nothing: the connection's packets get lost in both directions or in one while
# datagrams pass, or only the large ones are (an MTU black hole), or the file system of the replica hangs. Each time the primary
# notices by itself and runs alone by record, the guest answers again, nobody takes over, and the VM is protected again when what was
# stuck moves. Each fault lasts longer than the kernel's own backstop (100 H); STUCK_S=60 for longer.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
STUCK_S=${STUCK_S:-12}
H_MS=100
. tests/lib/pair.sh

DISKS=/var/lib/twinvm/disks # of hostB: a file system of its own
. tests/lib/freeze.sh

freeze() { fs_freeze hostB "$DISKS"; }
stream() { to_backup && from_backup; }
stream_again() { to_backup_again && from_backup_again; }
large() { host_narrow hostB 1280; }
large_again() { host_widen hostB; }
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
	let_pass "$STUCK_S"
	goes_on "$STUCK_S s later, $1"
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

scene "nothing of the connection arrives" stream stream_again
scene "packets over 1280 bytes are lost" large large_again
scene "nothing of the connection arrives at the backup" to_backup to_backup_again
grep -q 'COMMIT_OVERDUE: PROTECTED -> ASKING' "$PAIR_DIR/hostA.log" || fail "it was not the deadline"
scene "nothing of the connection arrives from the backup" from_backup from_backup_again
scene "the replica's file system hangs" freeze thaw
client_ends
# Held for ten heartbeats at most; and a client's TCP, which sends again after 1.4 s at the latest then.
gap=$(jq .longest_gap_ms "$PAIR_DIR/client.json")
jq -e ".longest_gap_ms < 3000 + 10 * $H_MS" "$PAIR_DIR/client.json" >/dev/null || fail "no answer for $gap ms"
tw_must hostA unprotect vm1
vm_traces vm1 || fail "something is left in the VM"
