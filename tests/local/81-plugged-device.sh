#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A device that is plugged into a VM or unplugged while it is protected is noticed before another epoch counts: the session ends by the
# device's name, the VM runs on alone by record, and is protected again by itself, with the device. One that cannot be carried over is
# refused by name until it is unplugged.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

plug() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$1" >"$PAIR_DIR/plug" && ! grep -q . "$PAIR_DIR/plug" || fail "$1: $(<"$PAIR_DIR/plug")"; }
sessions() { times_logged hostA "session ends: alone: .*$1"; }
# changes LINE SENTENCE: the session ends for it, once, and the next one protects the VM
changes() {
	local n
	n=$(sessions "$2")
	plug "$1"
	ended() { (($(sessions "$2") == $1)); }
	await 20 "a session to end by '$2'" ended $((n + 1)) "$2"
	await_pair hostA hostB vm1
	goes_on "$1"
	ended $((n + 1)) "$2" || fail "more than one session ended by '$2'"
}

pair_up
guest_start hostA vm1 -device pcie-root-port,id=rp1,chassis=7 -device qemu-xhci,id=xhci -device virtio-serial-pci,id=vs0 \
	-monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off"
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
client_start

changes "device_add virtio-rng-pci,id=late,bus=rp1" "device late (virtio-rng-pci) was plugged in"
changes "device_add usb-tablet,bus=xhci.0" "a device usb-tablet was plugged in"
# It has no section of its own in a state.
changes "device_add virtserialport,bus=vs0.0,id=port" "device port (virtserialport) was plugged in"
changes "device_del port" "device port (virtserialport) was unplugged"
changes "device_del late" "device late (virtio-rng-pci) was unplugged"

plug "object_add memory-backend-ram,id=shm,size=1M,share=on"
plug "device_add ivshmem-plain,id=shared,memdev=shm,bus=rp1"
await_field 30 hostA vm1 "['reason']" "*device shared (ivshmem-plain)*unplug it*"
goes_on "alone, with a device that cannot be carried over"
plug "device_del shared"
gone() {
	local tree
	tree=$(host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "info qtree") && [[ $tree = *"bus: "* && $tree != *'"shared"'* ]]
}
await 20 "the guest to let go of the device" gone
plug "object_del shm"
await_pair hostA hostB vm1
echo "refused by name, and protected without it"

host_power_cut hostA
client_cut
await_primary hostB vm1
goes_on "failed over"
planned_back hostA hostB vm1
goes_on "switched back"
client_ends
