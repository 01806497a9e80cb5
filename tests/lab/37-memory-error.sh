#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A corrected machine check on the primary is counted, and nothing else happens. The kernel takes a page of some
# process away: that is an event, and no more. Then it takes a page of the VM's memory, as it does when that has lost data:
# the VM continues on its backup from an epoch before, its guest does not boot again, its client loses nothing, and
# what the trace reports of the page is an event before the switch.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

health() { tw "$1" health --json | jq -r "$2"; }
event() { tw "$1" events --json | jq -r "[.[] | select(.kind == \"$2\")] | last | $3"; }
number_of() { tw "$1" events --json | jq "[.[] | select(.kind == \"$2\")] | length"; }
corrupt() { host_run hostA sh -c "echo $1 >/sys/kernel/debug/hwpoison/corrupt-pfn"; }
judged() { [[ $(event hostA hardware-fault .data.page) = "$pfn" ]]; }

labpair_working
watched() { [[ $(health "$1" .watched) = true ]]; }
await 30 "hostA to watch its hardware" watched hostA
[[ $(health hostA .state) = green ]] || fail "hostA: $(tw hostA health)"
for source in mce_record memory_failure_event aer_event non_standard_event; do
	[[ $(health hostA ".sources[] | select(.name == \"$source\") | .there") = true ]] ||
		fail "hostA does not read $source: $(tw hostA health)"
done
step "hostA watches its hardware: $(tw hostA health | head -n 1)"

host_run hostA sh -c 'echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval'
host_mce hostA "0 8 0x9c00000000000150 0x0 0x12345000 0x8c" >/dev/null
one_corrected() { [[ $(health hostA '.errors.corrected // 0') = 1 ]]; }
await 60 "the corrected error to be counted" one_corrected
[[ $(health hostA .state) = green ]] || fail "hostA: $(tw hostA health)"
[[ $(number_of hostA hardware-fault) = 0 && $(number_of hostA hardware-state) = 0 ]] || fail "$(tw hostA events)"
reads_committed vm1 3
field_is hostA vm1 "['state']" protected || fail "$(tw hostA status)"
step "a corrected error is counted: $(health hostA '.faults[0].text')"

host_spawn hostA "$PAIR_DIR/idler.log" "$LAB_BUSYBOX" sh -c 'mkfifo /run/idle; read -r x </run/idle'
idler=$SPAWNED_PID
await 60 "the idler to wait" host_run hostA test -p /run/idle
pages=$(first_page "$idler" 'stack')
pfn=$(present_pfn "$idler" "$pages" 64)
corrupt "$pfn"
await 60 "the idler's page to be an event" judged
# twinvmd has the rights of its unit here: its keeper sees whose it was, if it finds it in time.
[[ $(health hostA .owners) = true ]] || fail "hostA: $(tw hostA health)"
[[ $(event hostA hardware-fault .data.rule) = 17 || $(event hostA hardware-fault .data.rule) = 32 ]] || fail "hostA: $(tw hostA events)"
echo "of: $(event hostA hardware-fault .data.of)"
[[ $(health hostA .state) = yellow ]] || fail "hostA: $(tw hostA health)"
tw_must hostA health --clear
[[ $(health hostA .state) = green ]] || fail "hostA: $(tw hostA health)"
field_is hostA vm1 "['state']" protected || fail "$(tw hostA status)"
step "a page of another process is gone: $(event hostA hardware-fault .text)"

id=$(run_id)
[[ -n $id ]] || fail "Redis does not name its life"
client_cut
pid=${GUEST_PID[vm1]}
pfn=$(present_pfn "$pid" $(($(first_page "$pid" .) + 8192)) 2048) # the largest mapping is the guest's memory
corrupt "$pfn"
step "page $pfn of the guest's memory is gone, after $(client_acked) acknowledged writes"
await_primary hostB vm1
labpair_goes_on
[[ $(run_id) = "$id" ]] || fail "the guest has booted again"
[[ $(event hostB failover .data.cause) = memory ]] || fail "hostB: $(tw hostB events)"
# The guest's kernel does not know machine checks: QEMU may have ended for it before the switch was over.
left=$(tw hostA events --json | jq '[.[] | select(.kind == "switched" or .kind == "vm-ended")] | last')
[[ $(jq -r .data.cause <<<"$left") = memory || $(jq -r .text <<<"$left") = *memory\ @(error|failure)* ]] || fail "hostA: $left"
await 60 "the page to be an event" judged
(($(event hostA hardware-fault '.data.first * 1000 | floor') <= $(jq .unix_ms <<<"$left"))) || fail "order: $(tw hostA events)"
[[ $(health hostA .state) != green ]] || fail "hostA: $(tw hostA health)"
[[ $(health hostB .state) = green ]] || fail "hostB: $(tw hostB health)"
tw hostA events | grep -E ' (hardware-|switched|warning)'
tw hostB events | grep -E ' failover '
tw hostA health
one_runs_somewhere
[[ $RUNNER = hostB ]] || fail "the VM runs on $RUNNER"
