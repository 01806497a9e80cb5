#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host in maintenance gives its VMs away under a client's load, by priority, with nothing lost, and takes none, whoever asks and
# after a restart of its daemon; when that is over, they are protected by it again by themselves. Two hosts in maintenance keep
# theirs, and say why, until one of them takes VMs again.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
PAIR_CONF="priority.vm2 = 90"
. tests/lib/pair.sh

# events HOST KIND [FILTER]
events() { tw "$1" events --json | jq -rc ".[] | select(.kind == \"$2\")${3:+ | $3}"; }
state_of() { tw "$1" maintenance status --json | jq -rc "$2"; }
is_so() { [[ $(state_of "$1" "$2") = "$3" ]]; }
reason_is() { [[ $(vm_field "$1" "$2" "['reason']") = *"$3"* ]]; }

pair_up
guest_start_disk hostA vm1
qemu_start hostA vm2 -m 32
protect vm1
protect vm2
client_start

# ---- wrong usage ----
for words in "" "maybe" "on off" "status --timeout 3" "on --timeout x"; do
	rc=0
	# shellcheck disable=SC2086 # words
	PRINTED=$(tw hostA maintenance $words) || rc=$?
	((rc == 2)) || fail "'maintenance $words': exit status $rc: $PRINTED"
done
is_so hostA .on false || fail "$(tw hostA maintenance status)"

# ---- given away ----
tw_must hostA maintenance on --timeout "$AWAIT_S" --json
[[ $(jq -c '[.on, .moved, (.vms | length), .until_boot]' <<<"$PRINTED") = '[true,2,0,false]' ]] || fail "$PRINTED"
[[ $(events hostA switched .vm | xargs) = "vm2 vm1" ]] || fail "order: $(tw hostA events)"
for vm in vm1 vm2; do
	await_primary hostB "$vm"
done
goes_on "on hostB"
[[ -z $(events hostB failover 'select(.data.cause != "planned")') ]] || fail "$(tw hostB events)"

# ---- takes none ----
for vm in vm1 vm2; do
	await "$AWAIT_S" "hostB to know why $vm has no backup" reason_is hostB "$vm" "hostA is in maintenance"
done
tw_refuses hostB 3 "hostA is in maintenance" protect vm1 --to hostA
daemon_restart hostA
is_so hostA .on true || fail "a restart has ended the maintenance: $(tw hostA maintenance status)"
tw_must hostA status
[[ $PRINTED = *"is in maintenance"* ]] || fail "$PRINTED"
[[ $(vm_state hostB vm1) = alone ]] || fail "$(tw hostB status)"

# ---- over ----
tw_must hostA maintenance off
for vm in vm1 vm2; do
	await_pair hostB hostA "$vm"
done
goes_on "protected by hostA"

# ---- both ----
tw_must hostA maintenance on --json # it runs nothing, and its standbys stay
[[ $(jq -c '[.standbys[] | .primary] | unique' <<<"$PRINTED") = '["hostB"]' ]] || fail "$PRINTED"
await "$AWAIT_S" "hostB to know of it" is_so hostB .others '["hostA"]'
tw_refuses hostB 3 "hostA is in maintenance" failover vm1
rc=0
PRINTED=$(tw hostB maintenance on --timeout 1) || rc=$?
((rc == 1)) && [[ $PRINTED = *"2 of the VMs on hostB could not be moved yet"*"in maintenance as well"* ]] || fail "exit status $rc: $PRINTED"
is_so hostB '[.vms[].why] | unique' '["its backup'"'"'s host is in maintenance as well"]' || fail "$(tw hostB maintenance status)"
[[ $(vm_state hostB vm1) = protected ]] || fail "$(tw hostB status)"
tw_must hostA maintenance off
for vm in vm2 vm1; do
	await_primary hostA "$vm"
done
goes_on "on hostA"
[[ $(events hostA failover .vm | xargs) = "vm2 vm1" ]] || fail "order: $(tw hostA events)"
tw_must hostB maintenance off
for vm in vm1 vm2; do
	await_pair hostA hostB "$vm"
done
client_ends
