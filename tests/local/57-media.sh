#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a VM only reads, and what the backup has none of: a cloud-init seed in -cdrom, an installer's disc in a SCSI drive that was
# deleted meanwhile, firmware and a file for the guest. Nothing is copied by hand. Discs are ejected, inserted and changed
# while the VM is protected; after a power cut and after a planned switch each drive has what it had.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/diskvm.sh

DISKS=/var/lib/twinvm/disks
# Below no folder of `media`: no host has a file of these names for a standby.
ISO=$(mktemp -d /tmp/twinvm-iso.XXXXXX)
trap 'rm -rf "$ISO"' EXIT
disc() { head -c "$2" /dev/zero | tr '\0' "\\$1" >"$ISO/$3"; } # of one octal byte
disc 021 400000 seed.iso
disc 042 5000192 installer.iso
disc 063 2049024 second.iso
disc 104 524288 floppy.img
cp /usr/share/seabios/bios-256k.bin "$ISO/firmware.bin"
head -c 3000 /dev/urandom >"$ISO/config"
chmod -R go= "$ISO"

vm_qmp() { host_run "$1" python3 tests/tools/qmp.py "$2" "${@:3}"; }
promoted() { echo "/run/twinvm/$ID/standby.qmp"; }
# drives HOST SOCKET: "NAME first byte" of each drive, "NAME -" of an empty one
drives() {
	vm_qmp "$1" "$2" query-block | python3 -c '
import json, sys
for d in json.load(sys.stdin):
    if not d.get("removable"): continue
    name = d.get("qdev") or d["device"]
    if name.startswith("/"): name = d["device"]
    f = d.get("inserted")
    print(name, ("%02x" % open(sys.argv[1] + f["file"], "rb").read(1)[0]) if f else "-", end="; ")
' "$3"
}
drives_are() { # HOST ROOT EXPECTED WHAT
	local found
	found=$(drives "$1" "$(promoted)" "$2") || fail "$4: no answer of QEMU"
	[[ $found = "$3" ]] || fail "$4: the drives hold '$found', not '$3'"
}
other() { vm_qmp hostA "$PAIR_DIR/other.qmp" "$@"; }
copies() { find "$(host_path "$1" $DISKS)" -name '*-file-*' | wc -l; }

PAIR_CONF="$PAIR_CONF
replica_dir = $DISKS"
pair_up
truncate -s 16M "$PAIR_DIR/v.raw"
qemu_start hostA disks -M q35 -m 64 -display none -vga none -net none -bios "$ISO/firmware.bin" \
	-monitor "unix:$PAIR_DIR/disks.hmp,server=on,wait=off" -qmp "unix:$PAIR_DIR/other.qmp,server=on,wait=off" \
	-fw_cfg "name=opt/org.twinvm/config,file=$ISO/config" -cdrom "$ISO/seed.iso" -device virtio-scsi-pci \
	-blockdev "driver=file,filename=$ISO/installer.iso,node-name=store,read-only=on" \
	-blockdev driver=raw,file=store,node-name=format,read-only=on -device scsi-cd,drive=format,id=cd1 \
	-device scsi-cd,id=cd2 -device isa-fdc,id=fdc -device floppy,id=fl \
	-drive "file=$PAIR_DIR/v.raw,format=raw,if=none,id=dv" -device virtio-blk-pci,drive=dv
rm "$ISO/installer.iso" # long gone; QEMU has it open
for thread in "/proc/${GUEST_PID[disks]}/task"/*; do
	renice -n 7 -p "${thread##*/}" >/dev/null
done
protect disks
await_commit
ID=$(vm_field hostA disks "['id']")
(($(copies hostB) == 4)) || fail "hostB has $(copies hostB) copies, not 4"
echo "protected: no file was copied by hand"
score() { cat "/proc/$(procs_of "$1" qemu-system)/oom_score_adj"; }
(($(score hostB) > $(score hostA) + 500)) || fail "the standby's oom_score_adj is $(score hostB), the VM's $(score hostA)"
was=$(score hostA)

# Ejected, changed and inserted: the session ends by name, and a new one begins.
sessions() { times_logged hostA "session ends: .*$1"; }
hmp "eject -f ide2-cd0" >/dev/null
named() { (($(sessions "$1") >= 1)); }
await 10 "an eject to end the session" named "the medium in drive ide2-cd0 was taken out"
await_state 30 hostA disks protected
hmp "change ide2-cd0 $ISO/second.iso raw" >/dev/null
await 10 "a change to end the session" named "another medium is in drive ide2-cd0: $ISO/second.iso"
await_state 30 hostA disks protected
other blockdev-change-medium "{\"id\": \"fl\", \"filename\": \"$ISO/floppy.img\", \"format\": \"raw\", \"read-only-mode\": \"read-only\"}" >/dev/null
await 10 "a floppy, which has no event, to end the session" named "another medium is in drive fl: $ISO/floppy.img"
await_state 30 hostA disks protected
other eject '{"id": "cd1", "force": true}' >/dev/null
other blockdev-change-medium "{\"id\": \"cd2\", \"filename\": \"$ISO/seed.iso\", \"format\": \"raw\"}" >/dev/null
in_all() { [[ $(drives hostA "$PAIR_DIR/other.qmp" "") = "$NOW" ]] && [[ $(vm_state hostA disks) = protected ]]; }
NOW="ide2-cd0 33; sd0 -; cd1 -; cd2 11; fl 44; "
await 30 "the discs to be in their drives, and protection" in_all
await_commit
rm "$ISO"/*

host_power_cut hostA
await_state 20 hostB disks alone
drives_are hostB "$(host_path hostB /)" "$NOW" "after the power cut"
await 10 "old copies to be gone" test "$(copies hostB)" = 5
# The nice values of all threads of the host's only QEMU.
nices() { ps -L -o ni= -p "$(procs_of "$1" qemu-system)" | sort -u | tr -d ' \n'; }
[[ $(nices hostB) = 7 ]] || fail "a running VM's nice values are $(nices hostB), on the primary 7"
[[ $(score hostB) = "$was" ]] || fail "a running VM's oom_score_adj is $(score hostB), on the primary it was $was"
echo "power cut: each drive holds what it held"

# The way back: that host has none of the files, neither by name nor as a copy.
host_back hostA
await_state 60 hostB disks protected
tw_must hostB failover disks
await_state 20 hostA disks "@(alone|syncing|protected)"
await_primary hostA disks
await_state 60 hostA disks protected
tw_must hostA unprotect disks # its monitor is free
drives_are hostA "$(host_path hostA /)" "$NOW" "after a planned switch"
echo "planned switch: each drive holds what it held"
gone() { [[ -z $(find "$(host_path hostB $DISKS)" -name '*-file-*') ]]; }
await 10 "the copies to go with protection" gone
