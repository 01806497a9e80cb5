#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three VMs, two protected by hostB and one the other way round. hostA's power is cut: its two come up on hostB, the third one keeps running
# alone there. When hostA is back, it protects all three, unasked; then hostB's power is cut, and all three run on hostA. Each has a
# client that works through all of it and loses nothing; one VM's end is none of the others' business.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CALM=1
. tests/lib/pair.sh

all_go_on() {
	local vm
	for vm in vm1 vm2 vm3; do
		CLIENT=$vm goes_on "$vm, $1"
	done
}

pair_up
for vm in 1 2 3; do
	host=hostA
	((vm < 3)) || host=hostB
	GUEST_NO=$((vm + 1)) guest_start_disk "$host" "vm$vm"
done
protect vm1 --epoch 50
protect vm2 --epoch 50
tw_must hostB protect vm3 --to hostA --epoch 50
for vm in 1 2 3; do
	CLIENT=vm$vm client_start --host "10.77.0.$((vm + 1))" --pause-us 5000
done
all_go_on "protected"

host_power_cut hostA
all_go_on "after hostA's power cut"
for vm in vm1 vm2; do
	await_primary hostB "$vm"
done
[[ $(vm_state hostB vm3) = alone ]] || fail "vm3 lost its backup: $(tw hostB status)"
echo "hostA is off: $(tw hostB status | cut -c 1-40 | tr -s ' \n' ' ')"

host_back hostA
for vm in vm1 vm2 vm3; do
	await_pair hostB hostA "$vm"
done
all_go_on "protected by hostA"
[[ $(procs_of hostB "twinvmd replicate source" | wc -l) = 3 ]] || fail "not one replicator a VM on hostB"

# ---- one of three ends: the others do not notice ----
kill -9 "$(procs_of hostB "twinvmd replicate source" | head -n 1)"
all_go_on "after a replicator of one died"
for vm in vm1 vm2 vm3; do
	await_state 60 hostB "$vm" protected
done

host_power_cut hostB
all_go_on "after hostB's power cut"
for vm in vm1 vm2 vm3; do
	await_primary hostA "$vm"
	CLIENT=$vm client_ends
done
