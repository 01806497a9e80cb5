#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Errors of a core's caches are corrected, again and again: CPU 1 is taken out of service, and comes back when an operator asks
# for it. CPU 0 never is.
set -euo pipefail
cd "$(dirname "$0")/../.."
LAB_CPUS=2 # no VM is started here
. tests/lib/labpair.sh

health() { tw hostA health --json | jq -r "$1"; }
event() { tw hostA events --json | jq -r "[.[] | select(.kind == \"$1\")] | last | $2"; }
online() { host_run hostA cat /sys/devices/system/cpu/online; }

labpair_up
watched() { [[ $(health .watched) = true && $(health .keeper.stops_cpus) = true ]]; }
await 30 "hostA to watch its hardware, and to be able to stop CPUs" watched
[[ $(health .state) = green && $(online) = 0-1 ]] || fail "hostA: CPUs $(online), $(tw hostA health)"
host_run hostA sh -c 'echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval'
counted() { (($(health '.errors.corrected // 0') >= $1)); }
corrected() { # CPU COUNTED-BEFORE
	local n
	for n in 1 2 3; do
		host_mce hostA "$1 8 0x9c00000000000150 0x0 0x12345000 0x8c" >/dev/null
		await 60 "corrected error $n of CPU $1 to be counted" counted $(($2 + n))
	done
}
corrected 1 0
stopped() { [[ $(event part-retired .data.part) = "CPU 1" ]]; }
await 60 "CPU 1 to be out of service" stopped || fail "hostA: $(tw hostA events)"
[[ $(online) = 0 && $(health '.retired.cpus[0].cpus') = 1 ]] || fail "hostA: CPUs $(online), $(tw hostA health)"
step "$(event part-retired .text): $(health .reason)"

tw_must hostA health --undo
back() { [[ $(online) = 0-1 && $(event part-back .data.part) = 1 ]]; }
await 60 "CPU 1 to be in service again" back || fail "hostA: $(tw hostA events)"
step "$(event part-back .text)"

tw_must hostA health --clear
corrected 0 "$(health '.errors.corrected // 0')"
stays() { [[ $(event part-stays .data.part) = "CPU 0" ]]; }
await 60 "CPU 0 to stay" stays || fail "hostA: $(tw hostA events)"
[[ $(online) = 0-1 ]] || fail "hostA: CPUs $(online)"
step "$(event part-stays .text)"
