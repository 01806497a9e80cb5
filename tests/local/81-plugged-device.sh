#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A device that is plugged into a running VM is not on its command line, so a standby does not have it, and the device state would not
# load: found at the first epoch and refused by the device's name, before protection or while it lasts. The VM runs on.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

plug() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$1" >"$PAIR_DIR/plug" || fail "$1: $(<"$PAIR_DIR/plug")"; }
known() { logged hostB "the VM has a device that its standby does not have: virtio-rng at" "$1"; }

pair_up
guest_start hostA vm1 -device pcie-root-port,id=rp1,chassis=7 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off"
client_start

plug "device_add virtio-rng-pci,id=late,bus=rp1"
rc=0
out=$(tw hostA protect vm1 --to hostB --arbiter "file://$PAIR_DIR/arbiter") || rc=$?
((rc == 3)) && grep -q "device that its standby does not have: virtio-rng at" <<<"$out" || fail "protect: exit status $rc: $out"
goes_on "without a backup"
guest_lives vm1 "refused protection"
await_state 20 hostB vm1 none
echo "plugged before: refused by name"

plug "device_del late"
gone() { ! host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "info qtree" | grep -q 'id "late"'; }
await 20 "the guest to let go of the device" gone
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
plug "device_add virtio-rng-pci,id=late,bus=rp1"
await 20 "the epoch with the device to be refused" known 2
await_field 20 hostA vm1 "['state']" "@(alone|syncing)"
goes_on "alone, with the device"
plug "device_del late"
await 20 "the guest to let go of the device" gone
await_pair hostA hostB vm1
goes_on "protected without it"
client_ends
