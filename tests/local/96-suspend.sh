#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `twinvm suspend` and `resume` at random moments of epochs: none is lost, where a manager that keeps the run state by QEMU's events
# loses some (printed, not asserted). Another monitor's word counts when it is the last. After a power cut the backup has the VM
# suspended, and lets it run when it is resumed there; nothing that was acknowledged is lost. Also of a VM that is not protected,
# and of one that runs alone. SUSPEND_ROUNDS (50; 10 in make test).
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

rounds=${SUSPEND_ROUNDS:-50}
run_state() { # RUNNING: as QEMU says, in the other monitor
	local now
	now=$(python3 tests/tools/qmp.py "$PAIR_DIR/vm1-2.qmp" query-status) || fail "the other monitor: $now"
	[[ $now = *"\"running\": $1"* ]]
}
is_suspended() { # WHAT
	run_state false || fail "it runs: $1"
}
other() { python3 tests/tools/qmp.py "$PAIR_DIR/vm1-2.qmp" "$1" >/dev/null; }

PAIR_ARBITER='file' pair_up
guest_start_disk hostA vm1 -qmp "unix:$PAIR_DIR/vm1-2.qmp,server=on,wait=off"

# ---- not protected ----
tw_must hostA suspend vm1
is_suspended "unprotected"
tw_must hostA suspend vm1 # once more: as it is
is_suspended "unprotected, twice"
[[ $(tw hostA resume vm1 --json | jq -c .) = '{"vm":"vm1","suspended":false}' ]] || fail "resume --json of a VM that is not protected"
run_state true || fail "it does not run after a resume"
tw_refuses hostA 1 "no running QEMU" suspend vm9
step "a VM that is not protected"

# ---- protected: at any moment ----
protect vm1 --mode remus --epoch 25
client_start
await_epochs hostA vm1 5
echo "a manager that goes by QEMU's events: $(python3 tests/tools/manager_suspends.py "$PAIR_DIR/vm1-2.qmp" 30 "$RANDOM")"
goes_on "after the manager's suspends"
tw_refuses hostB 1 "runs on hostA: give the command there" suspend vm1
for ((round = 1; round <= rounds; round++)); do
	moment 60
	tw_must hostA suspend vm1
	is_suspended "round $round"
	((round % 10 != 1)) || {
		let_pass 0.3 # released frames arrive
		n=$(client_acked)
		let_pass 1 # longer than any epoch
		is_suspended "round $round, later"
		no_answer_since "$n" "suspended"
		field_is hostA vm1 "['state']" protected || fail "the session did not wait: $(tw hostA status)"
		field_is hostA vm1 "['suspended']" True || fail "status does not show it: $(tw hostA status vm1 --json)"
		field_is hostA vm1 "['reason']" "*twinvm resume*" || fail "no reason: $(tw hostA status)"
		field_is hostB vm1 "['suspended']" True || fail "the backup does not know: $(tw hostB status vm1 --json)"
	}
	tw_must hostA resume vm1
	run_state true || fail "round $round: it does not run after a resume"
done
goes_on "after $rounds suspends"
await_field "$AWAIT_S" hostA vm1 "['reason']" ""
await_field "$AWAIT_S" hostB vm1 "['suspended']" False
step "$rounds suspends in the middle of epochs, none lost"

# ---- the last word ----
tw_must hostA suspend vm1
tw_refuses hostA 3 "twinvm resume" failover vm1
other cont
await_field "$AWAIT_S" hostA vm1 "['suspended']" False
goes_on "after another monitor's cont"
other stop
await_field "$AWAIT_S" hostA vm1 "['run_state']" paused
field_is hostA vm1 "['suspended']" False || fail "another monitor's stop counts as an operator's: $(tw hostA status vm1 --json)"
tw_must hostA suspend vm1
await_field "$AWAIT_S" hostB vm1 "['suspended']" True
tw_must hostA resume vm1
goes_on "after a resume"
step "the last word counts"

# ---- a power cut ----
tw_must hostA suspend vm1
host_power_cut hostA
await_state 60 hostB vm1 alone
field_is hostB vm1 "['suspended']" True || fail "the promoted VM is not suspended: $(tw hostB status vm1 --json)"
field_is hostB vm1 "['run_state']" paused || fail "the promoted VM runs: $(tw hostB status vm1 --json)"
field_is hostB vm1 "['reason']" "*twinvm resume*" || fail "no reason: $(tw hostB status)"
n=$(client_acked)
let_pass 1
no_answer_since "$n" "suspended on hostB"
daemon_restart hostB
field_is hostB vm1 "['suspended']" True || fail "the next daemon does not know: $(tw hostB status vm1 --json)"
tw_must hostB resume vm1
goes_on "resumed on hostB"
host_back hostA
await_pair hostB hostA vm1
goes_on "protected again"
client_ends
step "suspended after a power cut, and resumed there"
