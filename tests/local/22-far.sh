#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hosts 200 ms apart. With the usual heartbeat a VM is refused in one sentence, with the round trip and the heartbeat_ms that
# works. With that one it is protected, though each answer takes the way there and back; through a power cut and a planned switch.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

PAIR_ARBITER="file" pair_up
host_far hostB 100
guest_start hostA vm1
before=$(vm_traces vm1)
tw_refuses hostA 1 "round trip to [^ ]* takes 2[0-9]* ms.*heartbeat_ms = [0-9]+" protect vm1 --to hostB
echo "$PRINTED"
unchanged vm1 "$before" "refused"
heartbeat=$(sed 's/.*heartbeat_ms = \([0-9]*\).*/\1/' <<<"$PRINTED")
for host in hostA hostB; do
	echo "heartbeat_ms = $heartbeat" >>"$PAIR_DIR/$host.conf"
	daemon_restart "$host"
done

protect vm1
client_start
goes_on "protected"
await_epochs hostA vm1 5
host_power_cut hostA
client_cut
await_primary hostB vm1
goes_on "after the power cut"
host_back hostA
await_pair hostB hostA vm1
goes_on "protected again"
tw_must hostB failover vm1
await_primary hostA vm1
goes_on "after the planned switch"
client_ends
