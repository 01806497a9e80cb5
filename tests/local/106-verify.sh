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
# verify STATUS [OPTION]...: exits with that status (a pattern); its report is in $PAIR_DIR/report. A session that a busy host has lost,
# or that a flip in the state on its way has ended, comes again.
verify() {
	local want=$1 rc=0 try
	shift
	for try in 1 2 3; do
		rc=0
		await_pair hostA hostB vm1
		tw hostA verify vm1 --rate 2000 --json "$@" >"$PAIR_DIR/report" 2>"$PAIR_DIR/err" || rc=$?
		sed -i "/^twinvm: /d" "$PAIR_DIR/report" # tw has both in one
		grep -q "no backup to be compared with\|protection of the VM ended meanwhile" "$PAIR_DIR/report" || break
		echo "try $try: $(<"$PAIR_DIR/report")"
	done
	# shellcheck disable=SC2053 # a pattern
	[[ $rc = $want ]] || fail "verify $*: exit status $rc: $(<"$PAIR_DIR/err") $(<"$PAIR_DIR/report")"
}
report() { jq -e "$1" "$PAIR_DIR/report" >/dev/null || fail "$2: $(<"$PAIR_DIR/report")"; }

PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1
tw_refuses hostA 1 "no VM 'vm1'" verify vm1
protect vm1
client_start

# ---- nothing differs, whatever the guest does ----
for ((i = 1; i <= clean; i++)); do
	verify 0
	report '.mismatched_pages == 0 and .mismatched_blocks == 0 and .mismatched_parts == 0 and .found == []' "a clean run found something"
	report '.blocks + .busy_blocks == 1024 and .pages > 30000 and .parts > 5 and .last_epoch >= .first_epoch and .first_epoch > 0' "not all was compared"
done
pages=$(jq .pages "$PAIR_DIR/report")
step "$clean comparisons under load: $pages pages, nothing differs: $(jq -c 'del(.found)' "$PAIR_DIR/report")"

# ---- one bit of the standby's memory, one of a replica image ----
# A flip that is not found was overwritten before: by the guest, or by the whole copy after the standby had refused what the
# guest made of that page (its record is a difference, whose result has a hash).
flips_are_found() { # ram|file NAME WHERE
	local found=0 try=0 n sum
	while ((found < rounds)); do
		((++try <= 3 * rounds + 5)) || fail "$found of $try flips of $2 were found: the guest has overwritten all others?"
		read -r n sum < <(flip "$1" "$(flip_in "$1")" "$seed-$1-$try")
		verify 0 --repair
		if jq -e '.found == []' "$PAIR_DIR/report" >/dev/null; then
			[[ $1 != file ]] || jq -e '.busy_blocks == 0' "$PAIR_DIR/report" >/dev/null || continue
			flip still "$1" "$(flip_in "$1")" "$n" "$sum" || continue
			fail "a bit of $2, $n, is flipped and was not found"
		fi
		report "(.found | length) == 1 and .found[0].repaired and .found[0].${3/N/$n}" "$2, $n"
		report ".mismatched_pages + .mismatched_blocks == 1 and .repaired_pages + .repaired_blocks == 1" "$2, $n"
		((++found))
	done
	verify 0
	report '.found == []' "after the repair"
	step "$found bits of $2: each found, named, and sent again ($try tries)"
}
flip_in() { [[ $1 = ram ]] && standby_pid || replica_of hostB; }
flips_are_found ram "the standby's memory" 'page == N'
flips_are_found file "the replica image" 'offset == N * 65536'

# ---- one bit of a device's state ----
# The sink has the state of the last epoch twice, and room for the next one: which is which cannot be seen from outside.
found=0 try=0
while ((found < rounds)); do
	((++try <= 4 * rounds + 8)) || fail "$found of $try flips of the device state were found"
	await_pair hostA hostB vm1
	at=$(flip state "$(procs_of hostB "twinvmd replicate sink" | head -n 1)" "$seed-$try" $((try % 3)) 20000)
	[[ -n $at ]] || continue
	verify 0
	jq -e '.mismatched_parts > 0' "$PAIR_DIR/report" >/dev/null || continue # room for the next one
	report '.mismatched_parts == 1 and .repaired_parts == 1 and .found[0].kind == "state" and (.found[0].section | length) > 0 and .found[0].repaired' "byte $at of the device state"
	section=$(jq -r '.found[0].section' "$PAIR_DIR/report")
	((++found))
done
verify 0
report '.mismatched_parts == 0' "after the device state was mended"
step "$found bits of the device state: each found, named ($section), and mended ($try tries)"

# ---- without --repair: it is found, and the status is 1 ----
for try in 1 2 3 4; do
	read -r page _ < <(flip ram "$(standby_pid)" "$seed-last-$try")
	verify "[01]"
	jq -e '.found == []' "$PAIR_DIR/report" >/dev/null || break
done
report ".mismatched_pages == 1 and .repaired_pages == 0 and .found[0].page == $page" "page $page without a repair"
verify 0 --repair
field_is hostA vm1 "['rehearsals']['verify']['last']['result']" passed || fail "status: $(tw hostA status vm1 --json)"
goes_on "after all comparisons"
vm_traces vm1 >/dev/null || true
step "the result is in status"
