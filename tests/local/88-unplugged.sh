#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Devices of a VM's command line are unplugged, before it is protected and while it is: the standby has none of them, and the others
# are where they were. After a planned switch and after a power cut the guest runs on, with an empty place where each was.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/plug.sh

# unplugged HOST ID...: asks for it, and waits until the guest has let go of each
unplugged() {
	local id
	for id in "${@:2}"; do
		plug "$1" "device_del $id"
	done
	for id in "${@:2}"; do
		await "$AWAIT_S" "the guest to let go of $id" bus_is_free "$1" "$id"
	done
}
# What is left works, and nothing of what is gone is to be seen.
left() {
	local out
	out=$(guest_sh "echo 3 >/proc/sys/vm/drop_caches; md5sum <$keep | cut -c1-32
		ls /dev/vd? /dev/sd? /dev/vport* 2>/dev/null | grep -v $keep"'
		ls /sys/bus/pci/devices | wc -l
		for c in /sys/bus/pci/devices/*/config; do [ "$(od -An -tx2 -N2 $c)" != " ffff" ] || echo "$c"; done')
	[[ $(tr '\n' ' ' <<<"$out") = "$sum $devices " ]] || fail "$1: the guest sees $out and not $sum, $devices devices"
	step "the guest is as it was: $1"
}

PAIR_ARBITER='file' pair_up
plug_prepare hostA
truncate -s 16M "$PAIR_DIR/keep.raw"
# On the bus without an address, the one that stays behind those that go.
plug_start hostA \
	-drive "file=$PAIR_DIR/vb.raw,format=raw,if=none,id=vb" -device virtio-blk-pci,drive=vb,bus=rp1,id=vb1 \
	-blockdev "driver=raw,node-name=sd,file.driver=file,file.filename=$PAIR_DIR/sd.raw" -device scsi-hd,drive=sd,id=sd1 \
	-netdev tap,id=late0,ifname=tap-late,script=no,downscript=no -device "virtio-net-pci,netdev=late0,bus=rp2,id=nic1,mac=$PLUG_MAC" \
	-object rng-random,id=rng1,filename=/dev/urandom -device virtio-rng-pci,rng=rng1,bus=rp4,id=r1 \
	-device usb-tablet,id=tablet1 -device usb-kbd,id=stays \
	-drive "file=$PAIR_DIR/us.raw,format=raw,if=none,id=us" -device usb-storage,drive=us,id=us1 \
	-chardev null,id=port1 -device virtserialport,chardev=port1,name=org.twinvm.late,id=vp1 \
	-chardev null,id=com1 -device pci-serial,bus=rp5,chardev=com1,id=com \
	-drive "file=$PAIR_DIR/keep.raw,format=raw,if=none,id=keep" -device virtio-blk-pci,drive=keep,serial=keep
keep=/dev/$(guest_sh 'grep -l keep /sys/block/vd*/serial | cut -d/ -f4')
guest_sh "dd if=/dev/urandom of=$keep bs=64k conv=fsync 2>/dev/null" >/dev/null
sum=$(guest_sh "md5sum <$keep | cut -c1-32")
devices=$(($(guest_sh 'ls /sys/bus/pci/devices | wc -l') - 4))

unplugged hostA tablet1 r1 com
plug hostA "object_del rng1" "chardev-remove com1"
protect vm1
client_start
unplugged hostA vb1 sd1 nic1 us1 vp1
plug hostA "netdev_del late0"
noticed() { logged hostA "session ends: alone: .*was unplugged"; }
await "$AWAIT_S" "an unplugged device to be noticed" noticed
await_pair hostA hostB vm1
left "protected"

tw_must hostA failover vm1
await_primary hostB vm1
goes_on "switched"
left "after the planned switch"
await_pair hostB hostA vm1
await_epochs hostB vm1 3
host_power_cut hostB
client_cut
await_primary hostA vm1
goes_on "failed over"
left "after the power cut"
client_ends
