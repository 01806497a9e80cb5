#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The kernel's plug queue keeps the output rule: nothing early, nothing lost, nothing left behind, whatever is
# sent, killed or taken away; a thousand epochs of two NICs, one of them with two queues.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/lab.sh

lab_up hostA
host_run hostA "$LAB_B/tools/nb_plug_probe"
host_run hostA "$LAB_B/tools/nb_plug_load" 1000
