#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host's disk that is slow to flush (tests/preload/slowflush.c): QEMU flushes in each pause. In each mode the pauses are spaced by it,
# so that the VM runs half of the time at least; status names the disk's flush; and after one flush of seconds the VM answers as
# often as before. A VM whose disk is slow fails over as any other.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/pair.sh
. tests/lib/verify.sh

slow() { echo "$1" >"$PAIR_DIR/slow"; }
# Half of the time, by the mean of the last pauses; seen by the medians of pauses and of the times from one to the next, which differ a
# little from means. Without spacing the second is the first and a millisecond.
runs_half() {
	tw hostA status vm1 --json | jq -e '.pause_ms.p50 > 40 and .epoch_ms.p50 >= 1.7 * .pause_ms.p50' >/dev/null
}
names_it() { [[ $(vm_field hostA vm1 "['warning']") = *"disks take "*" ms to flush"* ]]; }
names_nothing() { [[ $(vm_field hostA vm1 "['warning']") != *flush* ]]; }
us() { echo "${EPOCHREALTIME/./}"; }

pair_up
slow 0
GUEST_ENV="LD_PRELOAD=$PAIR_B/tools/slowflush.so SLOWFLUSH=$PAIR_DIR/slow" verify_start hostA vm1
protect vm1
client_start
await_epochs hostA vm1 64
names_nothing || fail "a fast disk is named: $(tw hostA status)"

took_it() { [[ ! -e $PAIR_DIR/slow ]]; }
slow '4000 once'
await "$AWAIT_S" "a flush" took_it
begin=$(us)
goes_on "when a flush took seconds"
took=$(($(us) - begin))
begin=$(us)
client_more "$AWAIT_S" 20
after=$(($(us) - begin))
((after < took)) || fail "20 answers took $after us after a flush in which 6 took $took us"
echo "one flush of seconds: $took us, 20 answers after it $after us"

slow 60
for mode in adaptive remus kemari; do
	tw_must hostA unprotect vm1
	protect vm1 --mode "$mode"
	await "$AWAIT_S" "pauses of a slow disk, spaced, in mode $mode" runs_half
	await "$AWAIT_S" "status to name the disk's flush" names_it
	goes_on "in mode $mode"
done
slow 30
host_power_cut hostA
goes_on "on hostB"
verify_check "after a power cut with a slow disk"
planned_back hostA hostB vm1
goes_on "on hostA"
verify_check "after a planned switch from a slow disk"
client_ends
