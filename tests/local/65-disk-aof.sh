#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest whose Redis writes its append-only file, flushed before each answer, to ext4 on a virtio-blk disk.
# Its host loses power. Before anybody promotes it, the replica alone is looked at: the file system is
# clean and a Redis started from it holds every write that was acknowledged. Then an operator promotes the VM:
# it continues with its disk, on the same connection, and the same way back once more; the disk is right when it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/disk.sh

export PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.ext4 >/dev/null && command -v debugfs >/dev/null || skip "e2fsprogs is not installed"
last() { awk -v k="$1" '$2 == k { n = $3 } END { print n + 0 }' "$2"; }

# look_at IMAGE WHAT INCR RPUSH
look_at() {
	local copy=$PAIR_DIR/copy.raw dir=$PAIR_DIR/from-disk counter length
	rm -rf "$copy" "$dir"
	cp --sparse=always "$1" "$copy"
	disk_clean "$copy" >"$PAIR_DIR/fsck" || fail "$2: the file system is not clean: $(cat "$PAIR_DIR/fsck")"
	read -r counter length <<<"$(disk_redis "$copy" "$dir")"
	((counter >= $3 && length >= $4)) || fail "$2: acknowledged $3 and $4, the disk has $counter and $length"
	echo "$2: file system clean; $counter and $length for $3 and $4 acknowledged"
}

pair_up
guest_disk "$PAIR_DIR/disk.raw" 128
# An I/O thread of its own: mirror, NBD and draining run there.
GUEST_EXTRA="twinvm.disk=/dev/vda" guest_start hostA vm1 -object iothread,id=io0 \
	-drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=data" -device virtio-blk-pci,drive=data,iothread=io0
await 30 "Redis" guest_answers
protect vm1
client_start
client_more "$AWAIT_S" 500
tw hostA status vm1 --json >"$PAIR_DIR/status"
host_power_cut hostA
await_field 20 hostB vm1 "['core']" WAITING
cp "$PAIR_DIR/client.record" "$PAIR_DIR/record.cut"
n=$(client_acked)
look_at "$(replica_of hostB)" "replica after the power cut" \
	"$(last I "$PAIR_DIR/record.cut")" "$(last R "$PAIR_DIR/record.cut")"
no_answer_since "$n" "without an operator"

tw_must hostB failover vm1 --force
client_more "$AWAIT_S" 200

# And back: hostA, with nothing but its old image, becomes the backup of what hostB runs.
host_back hostA
tw_must hostB protect vm1 --to hostA
client_more "$AWAIT_S" 100
host_power_cut hostB
await_field 20 hostA vm1 "['core']" WAITING
tw_must hostA failover vm1 --force
client_more "$AWAIT_S" 100
client_ends
kill -9 "$(procs_of hostA qemu-system | head -n 1)"
look_at "$(replica_of hostA)" "disk of the VM that came back" "$(last I "$PAIR_DIR/client.record")" \
	"$(last R "$PAIR_DIR/client.record")"
jq -c '{disk_bytes, wire_bytes, epoch_committed, pause_ms}' "$PAIR_DIR/status"
