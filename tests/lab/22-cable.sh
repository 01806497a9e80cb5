#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The replication cable is pulled: both hosts live, reach the arbiter and the client, and exactly one of them
# may run the VM. Then the cable is put back, and the VM is protected again.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

labpair_working
client_cut
host_link hostA down repl
step "the cable was pulled after $(client_acked) acknowledged writes"
client_more 300 20
step "the client's work continues"
one_runs_somewhere
host_link hostA up repl
step "the cable is back"
await_state 300 "$RUNNER" vm1 protected
step "the VM is protected again"
client_more 300 20
one_runs_somewhere
client_ends
