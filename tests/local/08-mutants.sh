#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each rule of failover/mutant.h broken on purpose: the simulation finds every one.
# time limit: 900
# alone: it simulates on every CPU
set -euo pipefail
cd "$(dirname "$0")/../.."
export B=${B:-build}
make --no-print-directory B="$B" mutants | tee "$B/mutants.txt"
tail -n 1 "$B/mutants.txt" | grep -qE '^mutants ([1-9][0-9]*) found \1$'
