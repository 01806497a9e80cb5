#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel of the primary reports that a page of its own has failed: that host may die at any moment. It is red, and
# gives its three VMs away by planned switches, the most important first; the client of one of them loses nothing. The
# host takes no VM then.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CONF="priority.vm2 = 90
priority.vm3 = 10"
. tests/lib/labpair.sh

health() { tw "$1" health --json | jq -r "$2"; }
# events HOST KIND FILTER
events() { tw "$1" events --json | jq -r ".[] | select(.kind == \"$2\") | $3"; }
watched() { [[ $(health "$1" .watched) = true ]]; }
state_is() { [[ $(health "$1" .state) = "$2" ]]; }
# A VM without a guest.
small_vm() {
	GUEST_QMP[$1]=/run/$1.qmp
	host_spawn hostA "$PAIR_DIR/$1-qemu.log" qemu-system-x86_64 -name "$1" -accel kvm -m 32 -nodefaults -display none \
		-qmp "unix:${GUEST_QMP[$1]},server=on,wait=off"
	GUEST_PID[$1]=$SPAWNED_PID
	await 120 "QMP of $1" host_run hostA test -S "${GUEST_QMP[$1]}"
}

labpair_up
guest_start hostA vm1
small_vm vm2
small_vm vm3
client_start
for vm in vm1 vm2 vm3; do
	protect "$vm"
done
client_more 300 20
await 60 "hostA to watch its hardware" watched hostA
state_is hostA green || fail "hostA: $(tw hostA health)"

code=$(host_run hostA cat /proc/iomem | sed -n 's/^ *\([0-9a-f]*\)-.* : Kernel code$/\1/p')
[[ -n $code ]] || fail "hostA does not show where its kernel is"
host_run hostA sh -c "echo $(printf '0x%x' $((0x$code >> 12))) >/sys/kernel/debug/hwpoison/corrupt-pfn" || true
await 60 "hostA to be red" state_is hostA red
[[ $(events hostA hardware-fault .data.rule) = 18 ]] || fail "$(tw hostA events)"
step "hostA is red: $(events hostA hardware-fault .text)"

for vm in vm2 vm1 vm3; do
	await_primary hostB "$vm"
done
[[ $(events hostA switched .vm | xargs) = "vm2 vm1 vm3" ]] || fail "order: $(tw hostA events)"
[[ -z $(events hostB failover 'select(.data.cause != "planned") | .text') ]] || fail "$(tw hostB events)"
step "hostA gave all away: $(events hostA switched .vm | xargs)"
labpair_goes_on
tw_refuses hostB 3 "hardware of hostA is red" protect vm1 --to hostA
