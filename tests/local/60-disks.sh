#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks of every kind (virtio-blk, virtio-scsi, IDE, flash; raw and qcow2; -drive, -blockdev, -hda) on a VM without a guest: what
# is written goes to the replicas epoch by epoch, the source's death harms nobody, detaching leaves
# nothing, and a power cut leaves a running VM with exactly the disks that were committed.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/diskvm.sh

replica() { find "$(host_path hostB /var/lib/twinvm/disks)" -name '*.raw' -size "$1"; } # by its size
replicas_equal() {
	same "$PAIR_DIR/v.raw" raw "$(replica 65536k)" "virtio-blk, $1"
	same "$PAIR_DIR/s.qcow2" qcow2 "$(replica 49152k)" "virtio-scsi, $1"
	same "$PAIR_DIR/i.raw" raw "$(replica 24576k)" "IDE, $1"
	same "$PAIR_DIR/flash.raw" raw "$(replica 256k)" "flash, $1"
}

PAIR_CONF="$PAIR_CONF
replica_dir = /var/lib/twinvm/disks"
pair_up
truncate -s 64M "$PAIR_DIR/v.raw"
truncate -s 24M "$PAIR_DIR/i.raw"
cp /usr/share/seabios/bios-256k.bin "$PAIR_DIR/flash.raw" # the firmware, in a flash chip that can be written
qemu-img create -q -f qcow2 "$PAIR_DIR/s.qcow2" 48M
qemu-img create -q -f qcow2 "$PAIR_DIR/base.qcow2" 8M
head -c 3000000 /dev/urandom | dd of="$PAIR_DIR/v.raw" bs=1M seek=20 conv=notrunc status=none iflag=fullblock

disks_start -m 128 \
	-drive "file=$PAIR_DIR/v.raw,format=raw,if=none,id=dv,discard=unmap" -device virtio-blk-pci,drive=dv \
	-blockdev "driver=file,filename=$PAIR_DIR/s.qcow2,node-name=fs" \
	-blockdev driver=qcow2,file=fs,node-name=ns -device virtio-scsi-pci -device scsi-hd,drive=ns,id=sd0 \
	-drive "file=$PAIR_DIR/base.qcow2,format=qcow2,readonly=on,if=none,id=ro" -device scsi-hd,drive=ro \
	-drive "if=pflash,format=raw,file=$PAIR_DIR/flash.raw" -hda "$PAIR_DIR/i.raw"
before=$(vm_traces disks) || fail "a fresh VM is not clean: $before"

protect disks
[[ $(vm_state hostA disks) = protected ]] || fail "not protected"
await_commit
replicas_equal "after the first copy"
used=$(du -k "$(replica 65536k)" | cut -f1)
((used < 8192)) || fail "the replica of a sparse disk takes $used KiB"
echo "first copy: equal, sparse ($used KiB of 64 MiB)"

io dv "write -P 7 0 64k" "write -P 9 63M 1M" "write -z 20M 1M" "write -P 3 1536 512" "discard 40M 4M"
io "-d sd0" "write -P 5 0 3M" "write -z 1M 64k" "write -P 6 47M 1M"
io ide0-hd0 "write -P 1 0 1M" "write -P 2 23M 512"
await_commit
replicas_equal "after writes"
counted() { (($(vm_field hostA disks "['disk_bytes']") >= 6 << 20)); }
await 5 "status to show the disks" counted
echo "writes: equal"

# An operator cancels a mirror job: that session is over, the next one copies anew.
hmp "block_job_cancel -f twinvm-mirror0" >/dev/null
await_state "$AWAIT_S" hostA disks '!(protected)' # the end of the session
await_state 30 hostA disks protected
io dv "write -P 33 3M 64k"
await_commit
replicas_equal "after a mirror was cancelled"
echo "a mirror cancelled: noticed, copied anew"

# The source dies while the VM writes: no write fails or hangs, and protection comes back.
(for ((i = 0; i < 40; i++)); do echo "write -P $((i + 1)) $((i * 65536)) 64k"; done) >"$PAIR_DIR/writes"
mapfile -t writes <"$PAIR_DIR/writes"
io dv "${writes[@]}" &
writer=$!
kill -9 "$(procs_of hostA "twinvmd replicate source" | head -n 1)"
wait "$writer" || fail "the VM's writes, while the source died"
io dv "write -P 77 0 1M"
await 30 "a new replicator" has_procs hostA "twinvmd replicate source"
await_state 30 hostA disks protected
await_commit
replicas_equal "after the source's death"
echo "the source's death: no harm"

tw_must hostA unprotect disks
before=$(vm_traces disks) || fail "left in the VM: $before"
# The firmware has opened its devices since the VM began: what counts is that another round adds nothing.
protect disks
tw_must hostA unprotect disks
unchanged disks "$before" "another round"
no_replica() { [[ -z $(ls "$(host_path hostB /var/lib/twinvm/disks)") ]]; }
await 10 "the replicas to go" no_replica
io dv "write -P 78 1M 1M"

protect disks
await_commit
io dv "write -P 42 5M 2M"
await_commit
host_power_cut hostA
await_state 20 hostB disks alone
replicas_equal "after the power cut"
[[ -z $(find "$(host_path hostB /var/lib/twinvm/disks)" -name '*.state') ]] || fail "a running VM's disks have a replica's state file"
echo "power cut: promoted with the committed disks"
