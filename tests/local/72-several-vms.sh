#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three VMs, two protected by hostB and one the other way round. hostA's power is cut: its two come up on hostB, the third one goes on
# alone there. When hostA is back, it protects all three, unasked; then hostB's power is cut, and all three run on hostA. Each has a
# client that works through all of it and loses nothing; one VM's end is none of the others' business.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
declare -A client_pid=() client_job=()
answered() { wc -l <"$PAIR_DIR/$1.record"; }
more_answers() { (($(answered "$1") > $2)); }
goes_on() {
	local n
	n=$(answered "$1")
	await 30 "$1 to answer: $2" more_answers "$1" $((n + 3))
}
all_go_on() {
	local vm
	for vm in vm1 vm2 vm3; do
		goes_on "$vm" "$1"
	done
}
is() { [[ $(vm_field "$1" "$2" "['role']") = "$3" ]]; }
client_start() { # VM ADDRESS
	host_spawn client "$PAIR_DIR/$1.json" "$PAIR_B/tools/redis_client" --host "$2" --timeout-ms 60000 \
		--record "$PAIR_DIR/$1.record" --pause-us 5000
	client_pid[$1]=$SPAWNED_PID client_job[$1]=$SPAWNED_JOB
	await 20 "the first answers of $1" test -s "$PAIR_DIR/$1.record"
}

pair_up
for vm in 1 2 3; do
	guest_disk "$PAIR_DIR/disk$vm.ext4" 64
	host=hostA
	((vm < 3)) || host=hostB
	GUEST_NO=$((vm + 1)) GUEST_EXTRA='twinvm.disk=/dev/vda' guest_start "$host" "vm$vm" \
		-drive "file=$PAIR_DIR/disk$vm.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
done
tw hostA protect vm1 --to hostB --epoch 50 >/dev/null || fail "protect vm1"
tw hostA protect vm2 --to hostB --epoch 50 >/dev/null || fail "protect vm2"
tw hostB protect vm3 --to hostA --epoch 50 >/dev/null || fail "protect vm3"
for vm in 1 2 3; do
	client_start "vm$vm" "10.77.0.$((vm + 1))"
done
all_go_on "protected"

host_power_cut hostA
all_go_on "after hostA's power cut"
for vm in vm1 vm2; do
	await 10 "hostB to run $vm" is hostB "$vm" primary
done
[[ $(vm_state hostB vm3) = alone ]] || fail "vm3 lost its backup: $(tw hostB status)"
echo "hostA is off: $(tw hostB status | cut -c 1-40 | tr -s ' \n' ' ')"

host_boot hostA
daemon_start hostA
for vm in vm1 vm2 vm3; do
	await_state 90 hostB "$vm" protected
	await_state 20 hostA "$vm" protected
	is hostA "$vm" backup || fail "hostA: $(tw hostA status)"
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
	await 10 "hostA to run $vm" is hostA "$vm" primary
	kill "${client_pid[$vm]}"
	wait "${client_job[$vm]}" || fail "the client of $vm: $(cat "$PAIR_DIR/$vm.json")"
	echo "$vm: $(answered "$vm") answers, nothing lost"
done
