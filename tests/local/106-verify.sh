#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `twinvm verify`: under a client's load nothing differs. One bit flipped in the standby's memory, one in a replica image, each at a random
# place, is found, named, and sent again; afterwards nothing differs. VERIFY_ROUNDS (50; 3 in make test), VERIFY_CLEAN (100; 2).
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

rounds=${VERIFY_ROUNDS:-3} clean=${VERIFY_CLEAN:-2}
seed=${SEED:-$$}
echo "SEED=$seed"

flip() { python3 tests/tools/flip.py "$@"; }
standby_pid() { procs_of hostB "qemu-system.*-name vm1" | head -n 1; }
# verify STATUS [OPTION]...: exits with that status; its report is in $PAIR_DIR/report
verify() {
	local want=$1 rc=0
	shift
	tw hostA verify vm1 --rate 2000 --json "$@" >"$PAIR_DIR/report" 2>"$PAIR_DIR/err" || rc=$?
	sed -i "/^twinvm: /d" "$PAIR_DIR/report" # tw has both in one
	((rc == want)) || fail "verify $*: exit status $rc: $(<"$PAIR_DIR/err") $(<"$PAIR_DIR/report")"
}
report() { jq -e "$1" "$PAIR_DIR/report" >/dev/null || fail "$2: $(<"$PAIR_DIR/report")"; }

PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1
tw_refuses hostA 1 "no VM 'vm1'" verify vm1
protect vm1
tw_refuses hostB 1 "runs on hostA: give the command there" verify vm1
client_start

# ---- nothing differs, whatever the guest does ----
for ((i = 1; i <= clean; i++)); do
	verify 0
	report '.mismatched_pages == 0 and .mismatched_blocks == 0 and .mismatched_parts == 0 and .found == []' "a clean run found something"
	report '.blocks + .busy_blocks == 1024 and .pages > 30000 and .parts > 5 and .last_epoch >= .first_epoch and .first_epoch > 0' "not all was compared"
done
pages=$(jq .pages "$PAIR_DIR/report")
step "$clean comparisons under load: $pages pages, nothing differs: $(jq -c 'del(.found)' "$PAIR_DIR/report")"

# ---- one bit of the standby's memory ----
found=0 try=0
while ((found < rounds)); do
	((++try <= 3 * rounds + 5)) || fail "$found of $try flips were found: the guest has overwritten all others?"
	read -r page at bit old < <(flip ram "$(standby_pid)" "$seed-$try")
	verify 0 --repair
	if jq -e '.mismatched_pages == 0' "$PAIR_DIR/report" >/dev/null; then
		flip is "$(standby_pid)" "$at" "$bit" "$old" || continue # the guest has written there: no difference any more
		fail "bit $bit of byte $at is flipped and was not found"
	fi
	report ".mismatched_pages == 1 and .repaired_pages == 1 and .found[0].page == $page and .found[0].repaired" "page $page"
	((++found))
done
verify 0
report '.mismatched_pages == 0' "after the repair"
step "$found bits of the standby's memory: each found, named, and sent again ($try tries)"

# ---- one bit of a replica image ----
found=0 try=0
while ((found < rounds)); do
	((++try <= 3 * rounds + 5)) || fail "$found of $try flips of the image were found"
	read -r block at bit old < <(flip file "$(replica_of hostB)" "$seed-$try")
	verify 0 --repair
	jq -e '.mismatched_blocks == 0' "$PAIR_DIR/report" >/dev/null && continue # the guest has written there
	report ".mismatched_blocks == 1 and .repaired_blocks == 1 and .found[0].kind == \"disk\" and .found[0].offset == $((block * 65536)) and .found[0].repaired" "block $block"
	((++found))
done
verify 0
report '.mismatched_blocks == 0' "after the repair"
step "$found bits of the replica image: each found, named, and sent again ($try tries)"

# ---- one bit of a device's state ----
# The sink has the state of the last epoch twice, and room for the next one: which is which cannot be seen from outside.
sink=$(procs_of hostB "twinvmd replicate sink" | head -n 1)
found=0 try=0
while ((found < rounds)); do
	((++try <= 4 * rounds + 8)) || fail "$found of $try flips of the device state were found"
	at=$(flip state "$sink" "$seed-$try" $((try % 3)) 20000)
	[[ -n $at ]] || continue
	verify 0
	jq -e '.mismatched_parts > 0' "$PAIR_DIR/report" >/dev/null || continue # room for the next one
	report '.mismatched_parts == 1 and .repaired_parts == 1 and .found[0].kind == "state" and (.found[0].section | length) > 0 and .found[0].repaired' "byte $at of the device state"
	echo "byte $at"; 	section=$(jq -r '.found[0].section' "$PAIR_DIR/report")
	((++found))
done
verify 0
report '.mismatched_parts == 0' "after the device state was mended"
step "$found bits of the device state: each found, named ($section), and mended ($try tries)"

# ---- without --repair: it is found, and the status is 1 ----
read -r page at bit old < <(flip ram "$(standby_pid)" "$seed-last")
verify 1
report ".mismatched_pages == 1 and .repaired_pages == 0 and .found[0].page == $page" "page $page without a repair"
verify 0 --repair
field_is hostA vm1 "['rehearsals']['verify']['last']['result']" passed || fail "status: $(tw hostA status vm1 --json)"
goes_on "after all comparisons"
vm_traces vm1 >/dev/null || true
step "the result is in status"
