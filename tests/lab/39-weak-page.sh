#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Errors of one page of the VM's memory are corrected, again and again: the host is yellow, the VM is moved to its backup with
# nothing lost, and only then the page is taken out of service. A fatal machine check of that host later harms nobody.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

health() { tw "$1" health --json | jq -r "$2"; }
event() { tw "$1" events --json | jq -r "[.[] | select(.kind == \"$2\")] | first | $3"; }
corrupted() { host_run hostA grep HardwareCorrupted /proc/meminfo | awk '{ print $2 }'; }

labpair_working
watched() { [[ $(health hostA .watched) = true && $(health hostA .owners) = true && $(health hostA .keeper.takes_pages) = true ]]; }
await 30 "hostA to watch its hardware, and to be able to take pages" watched
[[ $(health hostA .state) = green && $(corrupted) = 0 ]] || fail "hostA: $(tw hostA health)"

host_run hostA sh -c 'echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval'
pfn=$(guest_pfn "${GUEST_PID[vm1]}")
step "page $pfn of the guest's memory begins to fail"
client_cut
# The driver of a memory controller of that kind names the page; each record is read before the next one is made.
counted() { (($(health hostA '.errors.corrected // 0') >= $1)) || [[ $(health hostA .state) != green ]]; }
for n in {1..12}; do
	[[ $(health hostA .state) = green ]] || break
	host_mce hostA "0 4 0x9c00400000080813 0x0 $(printf '0x%x' $((pfn << 12))) 0x8c" >/dev/null
	await 60 "corrected error $n to be counted" counted "$n"
done
[[ $(health hostA .state) = yellow ]] || fail "hostA: $(tw hostA health)"
step "after $n corrected errors hostA is yellow: $(health hostA .reason)"
await_primary hostB vm1
step "the VM has been moved to hostB"
taken() { [[ $(event hostA part-retired .data.part) = "page $pfn" ]]; }
await 120 "page $pfn to be out of service" taken || fail "hostA: $(tw hostA events)"
[[ $(corrupted) = 4 ]] || fail "hostA has taken $(corrupted) KiB"
[[ $(health hostA '.retired.pages[0].page') = "$pfn" ]] || fail "hostA: $(tw hostA health)"
tw hostA events | grep -E ' (hardware-|health-|part-|switched)'
yellow=$(event hostA hardware-state .unix_ms) moved=$(event hostA health-move .unix_ms)
switched=$(event hostA switched .unix_ms) retired=$(event hostA part-retired .unix_ms)
((yellow <= moved && moved <= switched && switched <= retired)) || fail "order: $yellow $moved $switched $retired"
step "yellow, moved $((moved - yellow)) ms later, switched $((switched - yellow)) ms, page out of service $((retired - yellow)) ms"

host_mce hostA "0 8 0xbf000000000000c0 0x5 0x12345000 0x8c" >/dev/null
await 60 "the kernel of hostA to panic" _lab_panicked hostA
step "a fatal machine check has ended hostA"
labpair_goes_on
guest_runs_on hostB || fail "no VM runs on hostB"
