#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A device of each kind is plugged into a VM while it is protected, one behind the other and all before the first is noticed: protected
# again with all of them, the VM is switched to the other host, and survives a power cut there; the guest uses each of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/plug.sh

PAIR_ARBITER='file' pair_up
plug_prepare hostA
plug_start hostA
protect vm1
client_start
plug_all hostA
noticed() { logged hostA "session ends: alone: .*was plugged in"; }
await "$AWAIT_S" "a plugged device to be noticed" noticed
await_pair hostA hostB vm1
goes_on "protected again"
use_all

tw_must hostA failover vm1
await_primary hostB vm1
goes_on "switched"
used_all "after the planned switch"
await_pair hostB hostA vm1
await_epochs hostB vm1 3
host_power_cut hostB
client_cut
await_primary hostA vm1
goes_on "failed over"
used_all "after the power cut"
client_ends
