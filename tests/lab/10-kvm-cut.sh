#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The main promise with real KVM: a Redis guest is protected, its host's power is cut in the middle of a
# client's work, and the client loses nothing, on the same connection.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

labpair_working
client_cut
host_power_cut hostA
step "hostA's power was cut after $(client_acked) acknowledged writes"
labpair_goes_on
one_runs hostB
