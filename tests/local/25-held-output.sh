#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rule 4: a primary that has lost its replicator or its backup lets nothing out before the arbiter has recorded
# that it runs alone, stops the VM when neither can be reached for long, and goes on when the arbiter is back. And a
# host that was frozen while the backup took over stops its copy.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
answered() { wc -l <"$PAIR_DIR/record"; }
more_answers() { (($(answered) > $1)); }
said() { (($(grep -c "$2" "$PAIR_DIR/$1.log") > $3)); }
times() { grep -c "$2" "$PAIR_DIR/$1.log" || true; }
arbiter_away() { mv "$PAIR_DIR/arbiter" "$PAIR_DIR/away"; }
arbiter_back() { mv "$PAIR_DIR/away" "$PAIR_DIR/arbiter"; }
goes_on() {
	local n
	n=$(answered)
	await 20 "the VM to answer: $1" more_answers $((n + 3))
}

pair_up
guest_start hostA vm1
tw hostA protect vm1 --to hostB >/dev/null
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
await 20 "the client's first answers" test -s "$PAIR_DIR/record"

# ---- the replicator dies, the arbiter is away: the daemon throws frames away ----
arbiter_away
kill -9 "$(procs_of hostA "twinvmd replicate source")"
await 20 "the first try to record" said hostA "thrown away until the arbiter answers" 0
before=$(answered)
await 20 "another try" said hostA "thrown away until the arbiter answers" 1
(($(answered) == before)) || fail "the client was answered without a record: $before, then $(answered)"
arbiter_back
goes_on "after the arbiter came back"
await_state 30 hostA vm1 protected
echo "replicator died: nothing left before the record"

# ---- the backup's power is cut, the arbiter is away: held, then stopped ----
tries=$(times hostA "holding output")
arbiter_away
host_power_cut hostB
await 20 "the loss to be seen" said hostA "holding output" "$tries"
before=$(answered)
await_state 20 hostA vm1 stopped
(($(answered) == before)) || fail "the client was answered without a record: $before, then $(answered)"
arbiter_back
goes_on "after the arbiter came back to a stopped VM"
host_boot hostB
daemon_start hostB
await_state 30 hostA vm1 protected
echo "backup lost: held, stopped, gone on by record"

# ---- the whole primary hangs; the backup takes over; it comes back ----
host_freeze hostA
goes_on "on the backup while the primary hangs"
# Its daemon knows a moment after the VM answers, and looks for a backup at once.
runs_there() { [[ $(vm_state hostB vm1) =~ ^(alone|syncing)$ ]]; }
await 20 "hostB to know that it runs the VM" runs_there || fail "hostB: $(tw hostB status)"
host_thaw hostA
kept() { [[ $(vm_field hostA vm1 "['kept'][0]['pid']") != none ]]; }
await 20 "hostA to stop its copy and keep it" kept
goes_on "after the old primary came back"
echo "hung primary: $(tw hostA status)"
kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
cat "$PAIR_DIR/client.json"
