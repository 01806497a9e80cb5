#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a host's hardware leads to. A folder stands in for the kernel's trace: records in it are those of a kernel, all that reads
# them is what a host runs. With health_action = warn a weak DIMM is an event for the VMs that would be moved. When the DIMM fails
# the host is red and gives its three VMs away by priority; nothing is lost. It is no backup then, whoever asks, also after a
# restart of its daemon, until an operator has looked: then it is one again by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
PAIR_CONF="priority.vm2 = 90
priority.vm3 = 10"
. tests/lib/pair.sh

daemon_with_trace() {
	"$PAIR_B/tools/ras_trace" "$PAIR_DIR/trace-$1" make
	daemon_restart "$1" "TWINVM_TEST_TRACING=$PAIR_DIR/trace-$1"
	await "$AWAIT_S" "$1 to watch its hardware" state_is "$1" green
}
state_is() { [[ $(tw "$1" health --json | jq -r .state) = "$2" ]]; }
errors_of() { "$PAIR_B/tools/ras_trace" "$PAIR_DIR/trace-$1" mc "$2" "$3"; }
# events HOST KIND [FILTER]
events() { tw "$1" events --json | jq -c ".[] | select(.kind == \"$2\")${3:+ | $3}"; }
moved() { [[ $(events hostA health-move | wc -l) = "$1" ]]; }
action() {
	echo "health_action = $1" >>"$PAIR_DIR/hostA.conf"
	kill -HUP "${DAEMON_PID[hostA]}"
	await "$AWAIT_S" "health_action = $1" action_is "$1"
}
action_is() { [[ $(tw hostA health --json | jq -r .moves.acts) = "$([[ $1 = act ]] && echo true || echo false)" ]]; }
watched_again() { [[ $(tw hostA health --json | jq -r .watched) = true ]]; }
known_red() { [[ $(tw hostB health hostA --json | jq -r .state) = red ]]; }
reason_is() { [[ $(vm_field hostB "$1" "['reason']") = *"hardware of hostA is red"* ]]; }

pair_up
daemon_with_trace hostA
daemon_with_trace hostB
guest_start_disk hostA vm1
qemu_start hostA vm2 -m 32
qemu_start hostA vm3 -m 32
for vm in vm1 vm2 vm3; do
	protect "$vm"
done
client_start

# ---- yellow, dry ----
action warn
errors_of hostA DIMM_A1 12
await "$AWAIT_S" "hostA to be yellow" state_is hostA yellow
await "$AWAIT_S" "what would be moved" moved 2
[[ $(events hostA health-move '[.vm, .data.would, .data.priority]' | xargs) = '[vm2,true,90] [vm1,true,50]' ]] ||
	fail "$(tw hostA events)"
for vm in vm1 vm2 vm3; do
	[[ $(vm_state hostA "$vm") = protected && $(vm_field hostA "$vm" "['role']") = primary ]] || fail "$(tw hostA status)"
done
goes_on "yellow"
step "hostA is yellow: $(tw hostA events | grep -c 'would be moved') VMs would be moved"

# ---- red ----
errors_of hostA DIMM_A1 50
await "$AWAIT_S" "hostA to be red" state_is hostA red
action act
for vm in vm2 vm1 vm3; do
	await_primary hostB "$vm"
done
goes_on "on hostB"
[[ $(events hostA switched .vm | xargs) = "vm2 vm1 vm3" ]] || fail "order: $(tw hostA events)"
[[ -z $(events hostB failover 'select(.data.cause != "planned")') ]] || fail "$(tw hostB events)"
step "hostA is red and gave all away: $(events hostA switched .vm | xargs)"

# ---- it is no backup ----
for vm in vm1 vm2 vm3; do
	await "$AWAIT_S" "hostB to have no backup for $vm" reason_is "$vm"
done
tw_refuses hostB 3 "hardware of hostA is red" protect vm1 --to hostA
daemon_restart hostA "TWINVM_TEST_TRACING=$PAIR_DIR/trace-hostA"
await "$AWAIT_S" "hostA to watch its hardware again" watched_again
state_is hostA red || fail "a restart has mended hostA: $(tw hostA health)"
[[ -z $(events hostA health-unread) ]] || fail "$(tw hostA events)"
await "$AWAIT_S" "hostB to know hostA's state" known_red
[[ $(vm_state hostB vm1) = alone ]] || fail "$(tw hostB status)"

# ---- until an operator has looked ----
tw_must hostA health --clear
for vm in vm1 vm2 vm3; do
	await_pair hostB hostA "$vm"
done
goes_on "protected by hostA"
state_is hostA green || fail "$(tw hostA health)"
client_ends
