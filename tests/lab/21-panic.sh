#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The primary's kernel panics, and hangs.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

labpair_working
client_cut
host_panic hostA
step "hostA's kernel panicked after $(client_acked) acknowledged writes"
labpair_goes_on
guest_runs_on hostB || fail "no VM runs on hostB"
