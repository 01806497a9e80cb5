#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Neither host reaches the other, on any network; both still reach the arbiter (a real etcd cluster) and the client.
set -euo pipefail
cd "$(dirname "$0")/../.."
LAB_ARBITER=etcd
. tests/lib/labpair.sh

labpair_working
client_cut
lab_part hostA hostB on
host_link hostA down repl
step "the hosts were parted after $(client_acked) acknowledged writes"
! host_run hostA ping -c 1 -W 2 -q "${HOST_ADDR[hostB]}" >/dev/null || fail "they still reach each other"
client_more 300 20
step "the client's work continues"
one_runs_somewhere
client_more 300 20
one_runs "$RUNNER"
client_ends
