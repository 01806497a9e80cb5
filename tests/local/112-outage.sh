#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nothing slow is between the VM's start on the backup and what brings its connections on: a process that never gets to the end of
# unmapping the VM's memory has replayed the frames and reported its promotion.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh

sink_of() { procs_of hostB "twinvmd replicate sink" | head -n 1; }

pair_up
daemon_restart hostB TWINVM_FAULT=standby_unmap
guest_start hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start
sink=$(sink_of)
host_power_cut hostA
client_cut
goes_on "on hostB, whose sink hangs before it unmaps the memory"
await "$AWAIT_S" "frames to be replayed" logged hostB "replayed .* recent frames"
await "$AWAIT_S" "the end of the session to be reported" logged hostB "session ends: promoted"
[[ $(sink_of) = "$sink" ]] || fail "the sink has ended: it did not come to the fault"
grep twinvm-ram "/proc/$sink/maps" >"$PAIR_DIR/maps" || fail "the memory is not mapped any more"
kill -9 "$sink"
await_primary hostB vm1
client_ends
grep -o "replayed .*" "$PAIR_DIR/hostB.log"
