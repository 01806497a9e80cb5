#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest whose Redis writes its append-only file, flushed before each answer, to ext4 on a virtio-blk disk.
# Its host loses power. Before anybody promotes it, the replica alone is looked at: the file system is
# clean and a Redis started from it holds every write that was acknowledged. Then a person promotes the VM:
# it goes on with its disk, on the same connection, and the same way back once more; the disk is right when it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/disk.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
export PATH=$PATH:/usr/sbin:/sbin
command -v mkfs.ext4 >/dev/null && command -v debugfs >/dev/null || {
	echo "e2fsprogs is not installed"
	exit 77
}
answered() { grep -c . "$PAIR_DIR/record" 2>/dev/null || true; }
answered_past() { (($(answered) + 0 > $1)); }
waiting() { [[ $(vm_field hostB vm1 "['core']") = WAITING ]]; }
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
B_ROOT=/proc/${HOST_INIT[hostB]}/root
guest_disk "$PAIR_DIR/disk.raw" 128
# An I/O thread of its own: mirror, NBD and draining run there.
GUEST_EXTRA="twinvm.disk=/dev/vda" guest_start hostA vm1 -object iothread,id=io0 \
	-drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=data" -device virtio-blk-pci,drive=data,iothread=io0
await 30 "Redis" guest_answers
tw hostA protect vm1 --to hostB >"$PAIR_DIR/out" || fail "protect: $(cat "$PAIR_DIR/out")"
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
await 60 "500 acknowledged writes" answered_past 500
tw hostA status vm1 --json >"$PAIR_DIR/status"
host_power_cut hostA
await 20 "the backup to see it" waiting
cp "$PAIR_DIR/record" "$PAIR_DIR/record.cut"
n=$(answered)
look_at "$(echo "$B_ROOT"/var/lib/twinvm/disks/*-0.raw)" "replica after the power cut" \
	"$(last I "$PAIR_DIR/record.cut")" "$(last R "$PAIR_DIR/record.cut")"
(($(answered) == n)) || fail "answers from nowhere"

tw hostB failover vm1 --force >"$PAIR_DIR/out" 2>&1 || fail "failover: $(cat "$PAIR_DIR/out")"
await 60 "the VM to go on with its disk" answered_past $((n + 200))

# And back: hostA, with nothing but its old image, becomes the backup of what hostB runs.
host_boot hostA
daemon_start hostA
tw hostB protect vm1 --to hostA >"$PAIR_DIR/out" || fail "protect on the way back: $(cat "$PAIR_DIR/out")"
await 60 "the client to go on" answered_past $(($(answered) + 100))
host_power_cut hostB
waiting_a() { [[ $(vm_field hostA vm1 "['core']") = WAITING ]]; }
await 20 "the backup to see it" waiting_a
n=$(answered)
tw hostA failover vm1 --force >"$PAIR_DIR/out" 2>&1 || fail "failover back: $(cat "$PAIR_DIR/out")"
await 60 "the VM to go on at home" answered_past $((n + 100))
A_ROOT=/proc/${HOST_INIT[hostA]}/root
kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
kill -9 "$(procs_of hostA qemu-system | head -n 1)"
look_at "$(echo "$A_ROOT"/var/lib/twinvm/disks/*-0.raw)" "disk of the VM that came back" "$(last I "$PAIR_DIR/record")" \
	"$(last R "$PAIR_DIR/record")"
jq -c '{disk_bytes, wire_bytes, epoch_committed, pause_ms}' "$PAIR_DIR/status"
