#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that was lost and comes back: of a disk with 300 MiB on it only what has changed is sent, and the replica is
# equal then; also when somebody has changed the replica meanwhile (that is sent, too), and when it is of no use (then
# everything is sent). A power cut after that leaves a VM with exactly that disk. (66-backup-killed.sh: the same with a
# guest that checks memory against disk.) The end of protection removes the replica.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
. tests/lib/diskvm.sh

MIB=$((1 << 20))
# sent_within LEAST MOST WHAT: contents of disks, in MiB, that this session has sent; its replica is equal
sent_within() {
	local sent kept
	await_commit
	sent=$(vm_field hostA disks "['disk_bytes']") kept=$(vm_field hostA disks "['disk_kept_bytes']")
	((sent >= $1 * MIB && sent <= $2 * MIB)) || fail "$3: $((sent / MIB)) MiB of disk were sent, not $1 to $2"
	same "$PAIR_DIR/v.raw" raw "$(replica_of hostB)" "$3"
	echo "$3: $((sent >> 10)) KiB of disk sent, $((kept >> 10)) KiB left out, $(vm_field hostA disks "['wire_bytes']") bytes on the wire in all; equal"
}

PAIR_CONF="replica_dir = /var/lib/twinvm/disks"
pair_up
truncate -s 1G "$PAIR_DIR/v.raw"
head -c 300M /dev/urandom | dd of="$PAIR_DIR/v.raw" bs=1M seek=100 conv=notrunc status=none iflag=fullblock
disks_start -drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv,discard=unmap"
protect disks
sent_within 300 310 "first copy"

kill_side hostB
await_state 20 hostA disks alone
io dv "write -P 1 120M 2M" "write -P 2 399M 3M" "write -P 3 700M 1M" "write -z 200M 4M" "write -P 4 1536 512" \
	"write -P 5 1073741312 512"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 5 8 "6 MiB changed meanwhile"

# While hashes and copy are on their way the VM writes, too.
kill_side hostB
io dv "write -P 6 300M 1M"
daemon_start hostB
for ((i = 0; i < 20; i++)); do
	io dv "write -P $((i + 7)) $((100 + 15 * i))M 64k" "write -z $((107 + 15 * i))M 64k" "write -P 9 $((110 + 15 * i))m 512"
done
await_state 60 hostA disks protected
sent_within 1 8 "writes during the copy"

kill_side hostB
head -c 1M /dev/urandom | dd of="$(replica_of hostB)" bs=1M seek=250 conv=notrunc status=none iflag=fullblock
head -c 5M /dev/urandom | dd of="$(replica_of hostB)" bs=1M seek=900 conv=notrunc status=none iflag=fullblock
head -c 100 /dev/urandom >"$(echo "$(host_path hostB /var/lib/twinvm/disks)"/*.state)"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 1 2 "a replica that somebody has changed"

kill_side hostB
truncate -s 512M "$(replica_of hostB)"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 290 310 "a replica of another size"

# The primary's side dies: the backup is alive, and keeps what it has.
# shellcheck disable=SC2046 # pids
kill -9 $(procs_of hostA "twinvmd replicate source")
await_state 20 hostA disks '!(protected)'
io dv "write -P 8 150M 1M"
await_state 60 hostA disks protected
sent_within 1 2 "a killed source"

tw_must hostA unprotect disks
nothing_left() { [[ -z $(ls -A "$(host_path hostB /var/lib/twinvm/disks)") ]]; }
await 10 "the replica to be removed" nothing_left
kill_side hostB
daemon_start hostB
protect disks
sent_within 290 310 "after the end of protection"

kill_side hostB
io dv "write -P 11 180M 1M"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 1 2 "lost once more"
cp --sparse=always "$PAIR_DIR/v.raw" "$PAIR_DIR/before.raw"
host_power_cut hostA
await_state 20 hostB disks alone
same "$PAIR_DIR/before.raw" raw "$(replica_of hostB)" "after a power cut"
echo "power cut: the promoted VM has that disk"
