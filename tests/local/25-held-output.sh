#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rule 4: a primary that has lost its replicator or its backup lets nothing out before the arbiter has recorded
# that it runs alone, stops the VM when neither can be reached for long, and resumes it when the arbiter is back. And a
# host that was frozen while the backup took over stops its copy.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh

arbiter_away() { mv "$PAIR_DIR/arbiter" "$PAIR_DIR/away"; }
arbiter_back() { mv "$PAIR_DIR/away" "$PAIR_DIR/arbiter"; }

pair_up
guest_start hostA vm1
protect vm1
client_start

# ---- the replicator dies, the arbiter is away: the daemon throws frames away ----
arbiter_away
kill -9 "$(procs_of hostA "twinvmd replicate source")"
await 20 "the first try to record" logged hostA "dropped until the arbiter answers"
before=$(client_acked)
await 20 "another try" logged hostA "dropped until the arbiter answers" 2
no_answer_since "$before" "without a record"
arbiter_back
goes_on "after the arbiter came back"
await_state 30 hostA vm1 protected
echo "replicator died: nothing left before the record"

# ---- the backup's power is cut, the arbiter is away: held, then stopped ----
tries=$(times_logged hostA "holding output")
arbiter_away
host_power_cut hostB
await 20 "the loss to be seen" logged hostA "holding output" $((tries + 1))
before=$(client_acked)
await_state 20 hostA vm1 stopped
no_answer_since "$before" "without a record"
arbiter_back
goes_on "after the arbiter came back to a stopped VM"
host_back hostB
await_state 30 hostA vm1 protected
echo "backup lost: held, stopped, gone on by record"

# ---- the whole primary hangs; the backup takes over; it comes back ----
host_freeze hostA
goes_on "on the backup while the primary hangs"
# Its daemon knows a moment after the VM answers, and looks for a backup at once.
await_state "$AWAIT_S" hostB vm1 '@(alone|syncing)' || fail "hostB: $(tw hostB status)"
host_thaw hostA
await_field 20 hostA vm1 "['kept'][0]['pid']" '[0-9]*' # it has stopped its copy and keeps it
goes_on "after the old primary came back"
echo "hung primary: $(tw hostA status)"
client_ends
