#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM on a macvtap, which its manager handed over open: its output is held as any other's. After a power cut its NIC is a tap on the
# backup's bridge, and after a planned switch back on the first host's; the client's connection lasts through both.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

PAIR_ARBITER="file" pair_up
# guest_start makes a tap and opens it by name; here the VM has a macvtap above the bridge instead.
guest_command vm1 none "$PAIR_DIR/vm1.qmp" "$PAIR_DIR/vm1-serial.log"
words=("${GUEST_COMMAND[@]/ifname=none,script=no,downscript=no/fd=30}")
mac=$(printf '%s\n' "${words[@]}" | sed -n 's/.*mac=\([0-9a-f:]*\).*/\1/p')
host_run hostA ip link add link br0 name mv0 address "$mac" type macvtap mode bridge || skip "no macvtap in this kernel"
host_run hostA ip link set mv0 up
host_spawn hostA "$PAIR_DIR/vm1-qemu.log" python3 tests/tools/fdrun.py 30:macvtap:mv0 -- "${words[@]}"
GUEST_PID[vm1]=$SPAWNED_PID GUEST_QMP[vm1]=$PAIR_DIR/vm1.qmp
await 120 "the guest to boot" grep -saq "GUEST READY" "$PAIR_DIR/vm1-serial.log"
before=$(vm_traces vm1)

client_start
protect vm1
goes_on "protected"
await_epochs hostA vm1 5
(($(vm_field hostA vm1 "['released_frames']") > 0)) || fail "no frame was held and released: $(tw hostA status vm1 --json)"
tw_must hostA unprotect vm1
unchanged vm1 "$before" "unprotected"
protect vm1
await_epochs hostA vm1 3
host_power_cut hostA
client_cut
await_primary hostB vm1
goes_on "after the power cut"
says ' master br0 ' host_run hostB ip -o link show type tun
host_back hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_primary hostA vm1
goes_on "after the planned switch"
says ' master br0 ' host_run hostA ip -o link show type tun
client_ends
