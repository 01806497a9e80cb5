#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The replica of a disk, at the moment of the power cut and never run: its file system is clean, and Redis (append-only
# file, synced before each answer) started from it holds every write that was acknowledged.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/disk.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
answers() { [[ -s $PAIR_DIR/record ]] && (($(wc -l <"$PAIR_DIR/record") > $1)); }
waiting() { [[ $(vm_field hostB vm1 "['core']") = WAITING ]]; }

pair_up # no arbiter: nobody promotes by itself
guest_disk "$PAIR_DIR/disk.ext4" 64
GUEST_EXTRA='twinvm.disk=/dev/vda' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
tw hostA protect vm1 --to hostB >/dev/null
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 2000 \
	--record "$PAIR_DIR/record"
await 30 "the client's writes" answers $((100 + RANDOM % 200))
host_power_cut hostA
await 20 "the backup to see it" waiting
acked=$(wc -l <"$PAIR_DIR/record")
pushes=$(grep -c '^R' "$PAIR_DIR/record" || true)
replica=$(echo "/proc/${HOST_INIT[hostB]}/root/var/lib/twinvm/disks/"*.raw)
cp --sparse=always "$replica" "$PAIR_DIR/copy.ext4"
disk_clean "$PAIR_DIR/copy.ext4" || fail "the replica's file system is not clean"
read -r counter length < <(disk_redis "$PAIR_DIR/copy.ext4" "$PAIR_DIR/redis")
((counter + length >= acked)) || fail "$acked writes were acknowledged, the disk holds $counter and $length"
((pushes == 0 || length >= pushes)) || fail "$pushes elements were acknowledged, the disk holds $length"
echo "$acked writes acknowledged, the disk alone holds $counter and $length"
