#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bridges that filter VLANs: the guest's port is in VLAN 10, untagged, as the cable outside is. After a power cut, and
# after a planned switch back, its tap is in that VLAN before it is up, and in no other; in the bridge's default VLAN
# nobody would hear it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

filtering() { # HOST
	host_run "$1" ip link set br0 type bridge vlan_filtering 1
	in_vlan "$1" cl0
}
in_vlan() { # HOST PORT
	host_run "$1" bridge vlan add dev "$2" vid 10 pvid untagged
	host_run "$1" bridge vlan del dev "$2" vid 1
}
is_in_vlan() { # HOST: the VM's tap
	local tap vlans
	tap=$(host_run "$1" sh -c 'cd /sys/class/net; for i in */tun_flags; do echo "${i%%/*}"; done')
	vlans=$(host_run "$1" bridge vlan show dev "$tap" | grep -o '[0-9]* PVID.*\|^[^ ]* *[0-9]*$' || true)
	[[ $vlans =~ ^10\ PVID\ Egress\ Untagged ]] || fail "the port $tap on $1 is in: $(host_run "$1" bridge vlan show dev "$tap")"
	step "the VM's port on $1 is in VLAN 10"
}

labpair_up
for host in hostA hostB; do
	filtering "$host"
done
guest_start hostA vm1
in_vlan hostA tap-vm1
client_start
protect vm1
client_more 120 20
reads_committed vm1 3
client_cut
host_power_cut hostA
client_more 300 20
is_in_vlan hostB
host_boot hostA
host_wait hostA
filtering hostA
daemon_start hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_primary hostA vm1
labpair_goes_on
is_in_vlan hostA
