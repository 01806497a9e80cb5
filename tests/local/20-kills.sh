#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL of either daemon or replicator at random moments, and of all of the backup's side: the VM runs
# on each time, a client loses nothing and keeps its connection, and the VM is protected again by itself.
# KILL_ROUNDS rounds of each kind (5); SEED picks the moments.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

one() { procs_of "$1" "$2" | head -n 1; }

pair_up
guest_start hostA vm1
protect vm1
client_start --timeout-ms 30000

for ((round = 1; round <= ${KILL_ROUNDS:-5}; round++)); do
	moment 500
	pid=$(one hostA "twinvmd replicate source")
	kill -9 "$pid"
	goes_on "after the death of the replicator on the primary"
	await 30 "a new replicator" has_procs hostA "twinvmd replicate source"
	await_state 30 hostA vm1 protected

	moment 500
	kill -9 "$(one hostB "twinvmd replicate sink")"
	goes_on "after the death of the replicator on the backup"
	await_state 30 hostA vm1 protected

	moment 500
	kill -9 "${DAEMON_PID[hostA]}"
	goes_on "after the death of the primary's daemon"
	daemon_start hostA
	await_state 30 hostA vm1 protected

	moment 500
	kill -9 "${DAEMON_PID[hostB]}"
	goes_on "after the death of the backup's daemon"
	daemon_start hostB
	await_pair hostA hostB vm1

	moment 500 # all of the backup's side at once: daemon, replicator, standby
	kill_side hostB
	goes_on "after the death of the backup's side"
	daemon_start hostB
	await_state 30 hostA vm1 protected
	echo "round $round: $(client_acked) answers"
done

# ---- daemon and replicator at the same moment, while the VM is being unprotected ----
pid=$(one hostA "twinvmd replicate source")
kill -STOP "$pid"
tw hostA unprotect vm1 >"$PAIR_DIR/out" 2>&1 &
job=$!
await "$AWAIT_S" "the order on hostA's disk" host_run hostA grep -rq '"leaving": true' /var/lib/twinvm/vms
kill -9 "${DAEMON_PID[hostA]}" "$pid"
wait "$job" || true
daemon_start hostA
await_state "$AWAIT_S" hostA vm1 none
vm_traces vm1 >"$PAIR_DIR/traces" || fail "left by an unprotect that was interrupted: $(<"$PAIR_DIR/traces")"
goes_on "after an unprotect that was interrupted"
await_state "$AWAIT_S" hostB vm1 none

client_ends

# ---- while it attaches and copies: the VM must be as it was ----
before=$(vm_traces vm1) || fail "left in the VM: $before"
for ((round = 1; round <= 4 * ${KILL_ROUNDS:-5}; round++)); do
	tw hostA protect vm1 --to hostB >"$PAIR_DIR/out" 2>&1 &
	job=$!
	moment 400
	# shellcheck disable=SC2046 # pids are words
	case $((round % 3)) in
	0) kill -9 "${DAEMON_PID[hostA]}" ;;
	1) kill -9 $(procs_of hostB "twinvmd replicate sink") 2>/dev/null || true ;;
	2) kill -9 $(procs_of hostA "twinvmd replicate source") 2>/dev/null || true ;;
	esac
	wait "$job" || true
	((round % 3)) || daemon_start hostA
	await_state 30 hostA vm1 '@(none|protected)'
	guest_answers || fail "the guest does not answer after round $round of kills while attaching"
	[[ $(vm_state hostA vm1) = none ]] || tw_must hostA unprotect vm1
	unchanged vm1 "$before" "round $round"
done
echo "$((round - 1)) kills while attaching: nothing left"
no_procs hostA "twinvmd replicate" || fail "a replicator is left on hostA"
