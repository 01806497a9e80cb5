#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a promotion meets on the other host, once by a power cut and once by a planned switch: a VM that gave up its rights (-runas),
# and a host without the bridge. The VM runs somewhere in each case. (Devices that do not load: 79-last-copy, 81-plugged-device.)
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

no_bridge() { host_run "$1" ip link set br0 down name gone0; }
bridge_back() { host_run "$1" ip link set gone0 name br0 up; }

pair_up
cp "$GUEST_KERNEL" "$GUEST_INITRD" "$PAIR_DIR/" # where nobody can read them, wherever this tree lies
GUEST_KERNEL=$PAIR_DIR/${GUEST_KERNEL##*/}
GUEST_INITRD=$PAIR_DIR/${GUEST_INITRD##*/}
guest_start hostA vm1 -runas nobody
[[ $(stat -c %U "/proc/${GUEST_PID[vm1]}") = nobody ]] || fail "QEMU did not give up its rights"
client_start

# ---- -runas nobody: refused by name until that user may have VMs run elsewhere ----
tw_refuses hostA 3 "is user nobody.*vm_users" protect vm1 --to hostB
goes_on "without a backup"
for host in hostA hostB; do
	echo "vm_users = nobody" >>"$PAIR_DIR/$host.conf"
	daemon_restart "$host"
done
protect vm1
await_pair hostA hostB vm1
host_power_cut hostA
client_cut
goes_on "on hostB after the power cut, -runas nobody"
await_primary hostB vm1
for pid in $(procs_of hostB qemu-system); do
	[[ $(stat -c %u "/proc/$pid") != 0 ]] || fail "the promoted VM has more rights than it had: $(ps -o user,args -p "$pid")"
done
host_back hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
goes_on "on hostA after a planned switch, -runas nobody"
await_pair hostA hostB vm1
echo "ok -runas nobody: power cut and planned"

# ---- the bridge is gone ----
no_bridge hostB
await_field "$AWAIT_S" hostA vm1 "['reason']" "*br0 is missing on hostB*"
tw_must hostA failover vm1
await_primary hostB vm1
tw hostB status | grep -q "no network" || fail "status does not say that the network is missing: $(tw hostB status)"
bridge_back hostB
goes_on "on hostB when its bridge is back, planned"
await_pair hostB hostA vm1
no_bridge hostA
await_field "$AWAIT_S" hostB vm1 "['reason']" "*br0 is missing on hostA*"
host_power_cut hostB
await_primary hostA vm1
bridge_back hostA
goes_on "on hostA when its bridge is back, power cut"
client_ends
echo "ok no bridge: planned and power cut"
