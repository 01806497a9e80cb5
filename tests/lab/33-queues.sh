#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A NIC with two queues, each with its own vhost worker, on a guest with two vCPUs: all of it is held as one. The
# replicator dies in between; unprotecting leaves the host's devices and queues as they were.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

devices() { host_run hostA sh -c 'ip -o link | cut -d" " -f2 | sort; tc qdisc'; }

GUEST_SMP=2 GUEST_QUEUES=2 GUEST_NETDEV=,vhost=on,queues=2 GUEST_NIC=,mq=on,vectors=6
labpair_up
guest_start hostA vm1
before=$(devices)
client_start
protect vm1
[[ $(vm_field hostA vm1 "['output_held_by']") = plug ]] || fail "the output is not held in the kernel"
client_more 120 20
source=$(host_run hostA sh -c 'ps w | grep "[r]eplicate source"' | awk '{print $1}')
host_run hostA kill -9 "$source"
step "the replicator is killed"
await 120 "another one" grep -q "recovery info: vm1 keeps running" "$PAIR_DIR/hostA.log"
client_more 120 20
await_state 120 hostA vm1 protected
client_more 120 20
tw hostA unprotect vm1 >/dev/null
[[ $(devices) = "$before" ]] || fail "left behind: $(diff <(echo "$before") <(devices))"
step "not protected any more, nothing is left behind"
client_more 120 50
protect vm1
client_more 120 20
reads_committed vm1 5
client_cut
host_power_cut hostA
step "hostA's power was cut after $(client_acked) acknowledged writes"
labpair_goes_on
one_runs hostB
