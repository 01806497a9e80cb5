#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same peer with the id of another host's VM, and with generations that nobody gave it. The VM stays protected, and its own
# host is not fenced.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/hostile.sh

most=9223372036854775807

hostile_up

# ---- what is another host's ----
try "hostA's VM" 'refuse|fenced' vm_id="$VM1_ID" hello await=welcome
still_protected "hostA's VM offered by hostC"
try "hostA's VM, next generation" 'refuse|fenced' vm_id="$VM1_ID" generation=2 hello await=welcome
still_protected "hostA's VM offered by hostC with the next generation"
try "hostA's VM, the highest generation" 'refuse|fenced' vm_id="$VM1_ID" generation=$most hello await=welcome
still_protected "hostA's VM offered by hostC with the highest generation"
tw_must hostA unprotect vm1
await_state 20 hostB vm1 none
try "hostA's VM while it is not protected" 'refuse|fenced' vm_id="$VM1_ID" generation=$most hello await=welcome bye
protect vm1
still_protected "protected again"

hostile_ends 4
