#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts at random moments while the guest writes at random places of a disk and keeps in memory what every block
# holds (tests/guest/verify.c): memory and disk of the promoted VM belong to the same epoch each time. The roles swap
# every round: the VM that was promoted is protected to the host that died. EPOCH_ROUNDS (200; 4 in make test).
# time limit: 5400
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
. tests/lib/verify.sh

pair_up
verify_start hostA vm1
a=hostA b=hostB total=0
for ((round = 1; round <= ${EPOCH_ROUNDS:-200}; round++)); do
	((round > 1)) || protect vm1
	await_state 60 "$a" vm1 protected # from the second round on by itself
	at=$(verify_writes)
	await "$AWAIT_S" "the guest to write" verify_past "$at"
	moment 600
	host_power_cut "$a"
	await_state 20 "$b" vm1 alone
	verify_check "round $round, promoted on $b"
	total=$((total + 1))
	((round % 20)) || echo "round $round: $PRINTED"
	host_back "$a"
	swap=$a a=$b b=$swap
done
verify_check "at the end"
echo "$total power cuts: memory and disk agree ($PRINTED)"
