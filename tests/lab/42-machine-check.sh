#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A deferred machine check on the primary, in a page of the VM's memory, is found by the kernel's poll: the kernel takes the page,
# the VM continues on its backup from an epoch before, and does not boot again. That host is red, and cleared. Then the other
# host meets a fatal machine check and panics: the VM continues on the first, its client loses nothing.
# time limit: 1200
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh
FATAL="0 8 0xbf000000000000c0 0x5 0x12345000 0x8c"

event() { tw "$1" events vm1 --json | jq -r "[.[] | select(.kind == \"$2\")] | last | $3"; }
panicked() { grep -aqE 'Machine check|Fatal machine check|Kernel panic' "$HOSTS_DIR/$1.console"; }

labpair_working
id=$(run_id)
[[ -n $id ]] || fail "Redis does not name its life"
host_run hostA sh -c 'echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval'
client_cut
pfn=$(guest_pfn "${GUEST_PID[vm1]}")
# Deferred, poison, address valid: in a bank, without an interrupt.
host_mce hostA "0 9 0x9c00180000000100 0x0 $(printf '0x%x' $((pfn << 12))) 0x8c" >/dev/null
step "page $pfn of the guest's memory has a deferred error, after $(client_acked) acknowledged writes"
await_primary hostB vm1
[[ $(event hostB failover .data.cause) = memory ]] || fail "hostB: $(tw hostB events)"
client_more 300 20
[[ $(run_id) = "$id" ]] || fail "the guest has booted again"
[[ $(tw hostA health --json | jq -r .state) = red ]] || fail "hostA: $(tw hostA health)"
tw hostA health
step "handed over: $(event hostB failover .text)"

tw_must hostA health --clear
await_pair hostB hostA vm1
step "protected the other way round"
client_cut
host_mce hostB "$FATAL" >/dev/null
await 120 "hostB to panic" panicked hostB
step "hostB has panicked of a machine check, after $(client_acked) acknowledged writes"
await_primary hostA vm1
step "it ran after the verdict: $(event hostA failover '.data | "record \(.record_ms) ms, apply \(.apply_ms) ms, load \(.load_ms) ms; silence \(.silence_ms) ms before"')"
labpair_goes_on
guest_runs_on hostA || fail "no VM runs on hostA"
