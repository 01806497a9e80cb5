#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A replicator that dies or hangs while its VM stands still for an epoch. SIGKILL at any moment: QEMU resumes the VM by itself,
# somebody who asks all the time never finds it paused. SIGSTOP inside a pause: the daemon ends it, the VM runs again, and is protected
# again. The same when the daemon has died, and never saw it hang: the next one ends it. PAUSE_KILLS (500; 4 in make test), PAUSE_HANGS (20; 2 in make test).
# time limit: 7200
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=none # with an arbiter the VM is stopped after such a death until the record allows it to run
. tests/lib/pair.sh

source_of() { procs_of hostA "twinvmd replicate source" | head -n 1; }
new_source() { [[ -n $(source_of) && $(source_of) != "$1" ]]; }
answers() { grep -q running "$PAIR_DIR/watched"; }

pair_up
guest_start hostA vm1 -qmp "unix:$PAIR_DIR/second.qmp,server=on,wait=off" -qmp "unix:$PAIR_DIR/third.qmp,server=on,wait=off"
protect vm1
await_state "$AWAIT_S" hostA vm1 protected
: >"$PAIR_DIR/watched"
host_spawn hostA "$PAIR_DIR/watch.log" python3 tests/tools/watch_running.py "$PAIR_DIR/second.qmp" "$PAIR_DIR/watched"
watcher=$SPAWNED_PID
await "$AWAIT_S" "the watcher to ask" answers

for ((i = 1; i <= ${PAUSE_KILLS:-500}; i++)); do
	moment 300
	pid=$(source_of)
	kill -9 "$pid"
	await "$AWAIT_S" "a new replicator after kill $i" new_source "$pid"
	tw hostA protect vm1 --to hostB >/dev/null || true # now, and not after the wait for a bad link
	await_state "$AWAIT_S" hostA vm1 protected
done
kill "$watcher"
read -r asked stood status <"$PAIR_DIR/watched"
((asked > 100)) || fail "only asked $asked times"
((stood == 0)) || fail "found $status $stood times of $asked"
step "$((i - 1)) kills: asked $asked times, never found paused"

longest=0
page=$(host_path hostA /run/twinvm)
page=$(echo "$page"/*.page)
for ((i = 1; i <= ${PAUSE_HANGS:-20}; i++)); do
	await_epochs hostA vm1 2
	pid=$(source_of)
	ms=$(python3 tests/tools/stop_in_pause.py "$pid" "$page" "$PAIR_DIR/third.qmp") ||
		fail "hang $i: no pause was met, or the VM does not run after it: $ms"
	longest=$((ms > longest ? ms : longest))
	await "$AWAIT_S" "a new replicator after hang $i" new_source "$pid"
	tw hostA protect vm1 --to hostB >/dev/null || true
	logged hostA "its replicator hangs" "$i" || fail "hang $i: the daemon has not seen it"
	await_state "$AWAIT_S" hostA vm1 protected
done
guest_answers || fail "the guest does not answer"
echo "$((i - 1)) hangs in a pause: the longest took $longest ms until the VM ran again"

# The daemon is killed before it can see that its replicator hangs (it is frozen first); nobody else ends it.
await_epochs hostA vm1 2
pid=$(source_of)
kill -STOP "${DAEMON_PID[hostA]}"
python3 tests/tools/stop_in_pause.py "$pid" "$page" "$PAIR_DIR/third.qmp" >"$PAIR_DIR/hang.ms" &
hang=$!
stopped() { [[ $(awk '/^State/ { print $2 }' "/proc/$pid/status") = T ]] && held; }
held() { (($(od -An -tu4 -j24 -N4 "$page") % 2)); }
await "$AWAIT_S" "the replicator to hang in a pause" stopped
kill -9 "${DAEMON_PID[hostA]}"
wait "${DAEMON_JOB[hostA]}" 2>/dev/null || true
daemon_start hostA
wait "$hang" || fail "no pause was met, or the VM does not run after it: $(cat "$PAIR_DIR/hang.ms")"
await "$AWAIT_S" "the new daemon to see it" logged hostA "its replicator (pid .*) hangs, it does not register"
await "$AWAIT_S" "a new replicator after that" new_source "$pid"
tw hostA protect vm1 --to hostB >/dev/null || true
await_state "$AWAIT_S" hostA vm1 protected
guest_answers || fail "the guest does not answer"
echo "the daemon killed while its replicator hangs: $(cat "$PAIR_DIR/hang.ms") ms until the VM ran again"
