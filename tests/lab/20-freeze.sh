#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The primary's host stands still for 5 s, longer than the backup's patience, and comes back to find that its VM
# runs elsewhere: it must not say a word in its name.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

labpair_working
client_cut
host_freeze hostA
frozen=${EPOCHREALTIME/./}
step "hostA stands still after $(client_acked) acknowledged writes"
await_state 60 hostB vm1 alone
step "hostB took over"
five_s() { ((${EPOCHREALTIME/./} - frozen >= 5000000)); }
await 10 "5 s to be over" five_s
host_thaw hostA
step "hostA is back"
await 20 "hostA to take commands again" host_run hostA true
client_more 300 20
step "the client's work continues"
one_runs_somewhere
[[ $RUNNER = hostB ]] || fail "hostB promoted and hostA runs the VM"
client_more 300 20
client_ends
