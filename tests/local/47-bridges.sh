#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two NICs on two bridges, one of which has another name on the other host, one with large frames: after a power cut and a planned switch each is where it was, with its MTU. Before,
# what the backup's configuration does not allow, and a NIC in the place of a bridge, are refused by name. A bridge with STP
# is named in status.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

PAIR_ARBITER="file"
pair_up
declare -A SECOND=([hostA]=br1 [hostB]=lan1)
for host in hostA hostB; do
	host_run "$host" ip link add "${SECOND[$host]}" type bridge stp_state 0 forward_delay 0
	host_run "$host" ip link set "${SECOND[$host]}" up
	host_run "$host" ip link add plain type veth peer name plain-peer
done
for tap in tapa tapb; do
	host_tap hostA "$tap"
done
host_run hostA ip link set tapb mtu 9000
host_run hostA ip link set tapb master br1
qemu_start hostA vm1 -M q35 -m 128 -nodefaults -display none \
	-netdev tap,id=net0,ifname=tapa,script=no,downscript=no -device virtio-net-pci,netdev=net0,id=net0,romfile= \
	-netdev tap,id=net1,ifname=tapb,script=no,downscript=no -device virtio-net-pci,netdev=net1,id=net1,romfile=

tw_refuses hostA 1 "bridge br1.*'bridges'" protect vm1 --to hostB
echo "bridges = br1=lan1" >>"$PAIR_DIR/hostB.conf"
host_run hostB ip link set br0 down
host_run hostB ip link set br0 name br7
host_run hostB ip link set plain name br0
daemon_restart hostB
tw_refuses hostA 1 "br0, which on hostB is no bridge" protect vm1 --to hostB
host_run hostB ip link set br0 name plain
host_run hostB ip link set br7 name br0
host_run hostB ip link set br0 up
step "what cannot be is refused"

protect vm1
await_pair hostA hostB vm1
where_they_were() { # HOST WHAT
	says 'mtu 9000 .*state (UP|UNKNOWN)' host_run "$1" ip -o link show master "${SECOND[$1]}"
	says 'mtu 9000 ' host_run "$1" ip -o link show "${SECOND[$1]}"
	ports=$(host_run "$1" ip -o -d link show master br0 | grep -c " tun ")
	((ports == 1)) || fail "$2: $ports taps on br0"
	step "each NIC is where it was, $2"
}
host_power_cut hostA
await_state "$AWAIT_S" hostB vm1 alone
where_they_were hostB "after the power cut"

host_boot hostA
host_run hostA ip link add br1 type bridge stp_state 0 forward_delay 0
host_run hostA ip link set br1 up
# The least delay that the kernel has is 2 s, twice: for listening and for learning.
host_run hostA ip link set br0 type bridge stp_state 1
echo "bridges = lan1=br1" >>"$PAIR_DIR/hostA.conf"
daemon_start hostA
await_pair hostB hostA vm1
await_field "$AWAIT_S" hostB vm1 "['reason']" "*bridge br0 on hostA has STP*no network for 4 s*stp_state 0*"
host_run hostA ip link set br0 type bridge stp_state 0
await_field "$AWAIT_S" hostB vm1 "['reason']" ""
step "STP is named, while it is there"
tw_must hostB failover vm1
await_primary hostA vm1
where_they_were hostA "after the planned switch"
