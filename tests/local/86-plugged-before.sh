#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM into which a device of each kind was plugged while it ran is protected with them: after a power cut the guest uses each of them
# on the other host, is protected back with them, and switched back.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/plug.sh

PAIR_ARBITER='file' pair_up
plug_prepare hostA
plug_start hostA
plug_all hostA
use_all
protect vm1
client_start
used_all "protected"

await_epochs hostA vm1 3
host_power_cut hostA
client_cut
await_primary hostB vm1
goes_on "failed over"
used_all "after the power cut"

host_back hostA
await_pair hostB hostA vm1
used_all "protected back"
tw_must hostB failover vm1
await_primary hostA vm1
goes_on "switched back"
used_all "after the planned switch"
client_ends
