#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# SIGKILL of either daemon or replicator at random moments, and of all of the backup's side: the VM runs
# on each time, a client loses nothing and keeps its connection, and the VM is protected again by itself.
# KILL_ROUNDS rounds of each kind (5); SEED picks the moments.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh
RANDOM=${SEED:-$$}
echo "SEED=${SEED:-$$}"

fail() {
	echo "FAIL: $*"
	exit 1
}
moment() { # a random moment within half a second; what follows must hold at every one
	read -r -t "0.$(printf '%03d' $((RANDOM % 500)))" <> <(:) || true
}
answered() { grep -c . "$PAIR_DIR/record" 2>/dev/null || echo 0; }
more_answers() { (($(answered) > $1)); }
# The VM answers the client's requests that are sent from now on.
goes_on() {
	local n
	n=$(answered)
	await 20 "the VM to go on after $1" more_answers $((n + 3))
}
has_source() { [[ -n $(procs_of hostA "twinvmd replicate source") ]]; }
one() { procs_of "$1" "$2" | head -n 1; }

pair_up
guest_start hostA vm1
tw hostA protect vm1 --to hostB >/dev/null
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 30000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB

for ((round = 1; round <= ${KILL_ROUNDS:-5}; round++)); do
	moment
	pid=$(one hostA "twinvmd replicate source")
	kill -9 "$pid"
	goes_on "the death of the replicator on the primary"
	await 30 "a new replicator" has_source
	await_state 30 hostA vm1 protected

	moment
	kill -9 "$(one hostB "twinvmd replicate sink")"
	goes_on "the death of the replicator on the backup"
	await_state 30 hostA vm1 protected

	moment
	kill -9 "${DAEMON_PID[hostA]}"
	goes_on "the death of the primary's daemon"
	daemon_start hostA
	await_state 30 hostA vm1 protected

	moment
	kill -9 "${DAEMON_PID[hostB]}"
	goes_on "the death of the backup's daemon"
	daemon_start hostB
	await_state 30 hostA vm1 protected
	await_state 30 hostB vm1 protected

	moment # all of the backup's side at once: daemon, replicator, standby
	# shellcheck disable=SC2046 # pids are words
	kill -9 "${DAEMON_PID[hostB]}" $(procs_of hostB "twinvmd replicate sink") $(procs_of hostB qemu-system)
	goes_on "the death of the backup's side"
	daemon_start hostB
	await_state 30 hostA vm1 protected
	echo "round $round: $(answered) answers"
done

kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
cat "$PAIR_DIR/client.json"
tw hostA unprotect vm1 >/dev/null

# ---- while it attaches and copies: the VM must be as it was ----
before=$("$PAIR_B/tools/vm_traces" "${GUEST_QMP[vm1]}") || fail "left in the VM: $before"
settled() { [[ $(vm_state hostA vm1) = @(none|protected) ]]; }
for ((round = 1; round <= 4 * ${KILL_ROUNDS:-5}; round++)); do
	tw hostA protect vm1 --to hostB >"$PAIR_DIR/out" 2>&1 &
	job=$!
	read -r -t "0.$(printf '%03d' $((RANDOM % 400)))" <> <(:) || true
	# shellcheck disable=SC2046 # pids are words
	case $((round % 3)) in
	0) kill -9 "${DAEMON_PID[hostA]}" ;;
	1) kill -9 $(procs_of hostB "twinvmd replicate sink") 2>/dev/null || true ;;
	2) kill -9 $(procs_of hostA "twinvmd replicate source") 2>/dev/null || true ;;
	esac
	wait "$job" || true
	((round % 3)) || daemon_start hostA
	await 30 "what was begun to settle" settled
	guest_answers || fail "the guest does not answer after round $round of kills while attaching"
	[[ $(vm_state hostA vm1) = none ]] || tw hostA unprotect vm1 >/dev/null || fail "unprotect"
	after=$("$PAIR_B/tools/vm_traces" "${GUEST_QMP[vm1]}") || fail "round $round: left in the VM: $after"
	[[ $after = "$before" ]] || fail "round $round: the VM had '$before' and has '$after'"
done
echo "$((round - 1)) kills while attaching: nothing left"
traces=$("$PAIR_B/tools/vm_traces" "${GUEST_QMP[vm1]}") || fail "left in the VM: $traces"
[[ -z $(procs_of hostA "twinvmd replicate") ]] || fail "a replicator is left on hostA"
