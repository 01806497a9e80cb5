#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A drill outlives the daemons: the one that began it is killed while the VM is away, the other one while the VM is wanted back.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1 PAIR_ARBITER=file
. tests/lib/pair.sh
killed() { # HOST
	kill -9 "${DAEMON_PID[$1]}"
	wait "${DAEMON_JOB[$1]}" 2>/dev/null || true
}
last() { vm_field hostA vm1 "['rehearsals']['drill']['last']['$1']"; }
ended() { [[ $(last result) != none ]]; }

pair_up
guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start
await_field "$AWAIT_S" hostA vm1 "['ready']['ready']" True
generation=$(vm_field hostA vm1 "['generation']")
host_spawn hostA "$PAIR_DIR/drill.log" "$PAIR_B/twinvm" drill vm1
await_primary hostB vm1
killed hostA
step "hostA's twinvmd is killed while hostB runs the VM"
killed hostB
daemon_start hostB
step "hostB's knows by its events that the VM came by plan"
daemon_start hostA
[[ $(times_logged hostA "begun by an earlier twinvmd, continues") = 1 ]] || fail "hostA does not continue it: $(last result) $(last reason)"
await 180 "the drill to end" ended
[[ $(last result) = passed ]] || fail "the drill: $(last result): $(last reason)"
await_pair hostA hostB vm1
(($(vm_field hostA vm1 "['generation']") == generation + 2)) || fail "it was not there: $(tw hostA status)"
goes_on "after a drill over two daemons' ends"
client_ends
echo "passed: $(last reason)"
