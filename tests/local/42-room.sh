#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The file system of the backup fills up. The replica does not grow into the reserve, so that state files can still be written
# there: the session ends with a sentence, the primary runs alone by record and its client notices nothing, and the VM is
# protected again by itself once there is room.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

DIR=/var/lib/twinvm # of hostB: state and replicas, on a file system of their own
MIB=1048576

free_bytes() { host_run hostB stat -f -c '%a %S' "$DIR" | awk '{ print $1 * $2 }'; }
total_bytes() { host_run hostB stat -f -c '%b %S' "$DIR" | awk '{ print $1 * $2 }'; }
# Each value is on the guest's disk when it is acknowledged (AOF).
fill_guest() {
	host_run client python3 - "$GUEST_IP" "$1" <<-'END'
		import os, socket, sys
		s = socket.create_connection((sys.argv[1], 6379)); f = s.makefile("rb")
		for i in range(int(sys.argv[2])):
		    v = os.urandom(1 << 20); k = b"room:%d" % i
		    s.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(k), k, len(v), v))
		    assert f.readline() == b"+OK\r\n"
	END
}
explains() { [[ $(vm_field hostA vm1 "['reason']") == *hostB*"$DIR/disks"*reserve_mib* ]]; }

pair_up
daemon_stop hostB
truncate -s 256M "$PAIR_DIR/lib.ext4"
mkfs.ext4 -q -m 0 "$PAIR_DIR/lib.ext4"
host_run hostB mkdir -p "$DIR"
host_run hostB mount -o loop "$PAIR_DIR/lib.ext4" "$DIR" || skip "no loop device can be mounted here"
daemon_start hostB
guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start

# A twentieth of this file system is the reserve.
reserve=$(($(total_bytes) / 20))
host_run hostB fallocate -l $(($(free_bytes) - reserve - 2 * MIB)) "$DIR/others" || fail "fill the file system"
fill_guest 10
await_state "$AWAIT_S" hostA vm1 alone
logged hostA 'ALONE_RECORDED: [A-Z]* -> ALONE' || fail "it does not run alone by record"
goes_on "when the backup's file system is full"
await "$AWAIT_S" "hostA to report why" explains
left=$(free_bytes)
((left >= reserve * 3 / 4)) || fail "$left bytes are left of a reserve of $reserve"
host_run hostB sh -c "head -c 100000 /dev/urandom >$DIR/vms/probe && rm $DIR/vms/probe" || fail "no state file can be written"
[[ -z $(host_run hostB find "$DIR" /run -name 'twinvm-spool-*') ]] || fail "a spool is left"
echo "ended: $(vm_field hostA vm1 "['reason']")"

host_run hostB rm "$DIR/others"
await_state "$AWAIT_S" hostA vm1 protected
fill_guest 10
await_epochs hostA vm1 3
host_power_cut hostA
client_cut
goes_on "on hostB after the power cut"
await_primary hostB vm1
client_ends
