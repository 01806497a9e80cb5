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

fail() {
	echo "FAIL: $*"
	exit 1
}
command -v qemu-img >/dev/null || {
	echo "qemu-img is not installed"
	exit 77
}
MIB=$((1 << 20))
gone() { [[ -z $(procs_of hostB "twinvmd replicate sink") ]]; }
lose_backup() {
	# shellcheck disable=SC2046 # pids
	kill -9 "${DAEMON_PID[hostB]}" $(procs_of hostB "twinvmd replicate sink") $(procs_of hostB qemu-system) 2>/dev/null || true
	wait "${DAEMON_JOB[hostB]}" 2>/dev/null || true
	await 5 "hostB's processes to end" gone
}
alone() { [[ $(vm_state "$1" disks) = alone ]]; }
# sent_within LEAST MOST WHAT: contents of disks, in MiB, that this session has sent; its replica is equal
sent_within() {
	local sent kept
	await_commit
	sent=$(vm_field hostA disks "['disk_bytes']") kept=$(vm_field hostA disks "['disk_kept_bytes']")
	((sent >= $1 * MIB && sent <= $2 * MIB)) || fail "$3: $((sent / MIB)) MiB of disk were sent, not $1 to $2"
	same "$PAIR_DIR/v.raw" raw "$(replica)" "$3"
	echo "$3: $((sent >> 10)) KiB of disk sent, $((kept >> 10)) KiB left out, $(vm_field hostA disks "['wire_bytes']") bytes on the wire in all; equal"
}
replica() { echo "$B_ROOT"/var/lib/twinvm/disks/*-0.raw; }

PAIR_CONF="replica_dir = /var/lib/twinvm/disks"
pair_up
B_ROOT=/proc/${HOST_INIT[hostB]}/root
truncate -s 1G "$PAIR_DIR/v.raw"
head -c 300M /dev/urandom | dd of="$PAIR_DIR/v.raw" bs=1M seek=100 conv=notrunc status=none iflag=fullblock
host_spawn hostA "$PAIR_DIR/disks-qemu.log" qemu-system-x86_64 -name disks -accel tcg -M q35 -m 64 \
	-nodefaults -display none -qmp "unix:$PAIR_DIR/disks.qmp,server=on,wait=off" \
	-monitor "unix:$PAIR_DIR/disks.hmp,server=on,wait=off" \
	-drive "file=$PAIR_DIR/v.raw,format=raw,if=virtio,id=dv,discard=unmap"
await 10 "QMP" test -S "$PAIR_DIR/disks.qmp"
tw hostA protect disks --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
sent_within 300 310 "first copy"

lose_backup
await 20 "hostA to run alone" alone hostA
io dv "write -P 1 120M 2M" "write -P 2 399M 3M" "write -P 3 700M 1M" "write -z 200M 4M" "write -P 4 1536 512" \
	"write -P 5 1073741312 512"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 5 8 "6 MiB changed meanwhile"

# While hashes and copy are on their way the VM writes, too.
lose_backup
io dv "write -P 6 300M 1M"
daemon_start hostB
for ((i = 0; i < 20; i++)); do
	io dv "write -P $((i + 7)) $((100 + 15 * i))M 64k" "write -z $((107 + 15 * i))M 64k" "write -P 9 $((110 + 15 * i))m 512"
done
await_state 60 hostA disks protected
sent_within 1 8 "writes during the copy"

lose_backup
head -c 1M /dev/urandom | dd of="$(replica)" bs=1M seek=250 conv=notrunc status=none iflag=fullblock
head -c 5M /dev/urandom | dd of="$(replica)" bs=1M seek=900 conv=notrunc status=none iflag=fullblock
head -c 100 /dev/urandom >"$(echo "$B_ROOT"/var/lib/twinvm/disks/*.state)"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 1 2 "a replica that somebody has changed"

lose_backup
truncate -s 512M "$(replica)"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 290 310 "a replica of another size"

# The primary's side dies: the backup is alive, and keeps what it has.
# shellcheck disable=SC2046 # pids
kill -9 $(procs_of hostA "twinvmd replicate source")
not_protected() { [[ $(vm_state hostA disks) != protected ]]; }
await 20 "the loss of the source" not_protected
io dv "write -P 8 150M 1M"
await_state 60 hostA disks protected
sent_within 1 2 "a killed source"

tw hostA unprotect disks >"$PAIR_DIR/out" || fail "unprotect: $(cat "$PAIR_DIR/out")"
nothing_left() { [[ -z $(ls -A "$B_ROOT/var/lib/twinvm/disks") ]]; }
await 10 "the replica to be removed" nothing_left
lose_backup
daemon_start hostB
tw hostA protect disks --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
sent_within 290 310 "after the end of protection"

lose_backup
io dv "write -P 11 180M 1M"
daemon_start hostB
await_state 60 hostA disks protected
sent_within 1 2 "lost once more"
cp --sparse=always "$PAIR_DIR/v.raw" "$PAIR_DIR/before.raw"
host_power_cut hostA
await 20 "hostB to take over" alone hostB
same "$PAIR_DIR/before.raw" raw "$(replica)" "after a power cut"
echo "power cut: the promoted VM has that disk"
