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
RANDOM=${SEED:-$$}
echo "SEED=${SEED:-$$}"

fail() {
	echo "FAIL: $*"
	exit 1
}
ask() { # STATE or CHECK
	host_run client timeout 60 bash -c "exec 3<>/dev/tcp/$GUEST_IP/7001 && echo $1 >&3 && read -r x <&3 && echo \"\$x\"" 2>/dev/null
}
writes() { ask STATE | sed -nE 's/.*writes=([0-9]+).*/\1/p'; }
alone() { [[ $(vm_state "$1" vm1) = alone ]]; }
_beyond() {
	local n
	n=$(writes) || true
	((${n:-0} > $1))
}

pair_up
truncate -s 32M "$PAIR_DIR/disk.raw"
GUEST_EXTRA='twinvm.verify=/dev/vda' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
await 60 "the guest to write to its disk" _beyond 0
a=hostA b=hostB total=0
for ((round = 1; round <= ${EPOCH_ROUNDS:-200}; round++)); do
	((round > 1)) || tw "$a" protect vm1 --to "$b" >"$PAIR_DIR/out" || fail "round $round: $(cat "$PAIR_DIR/out")"
	await_state 60 "$a" vm1 protected # from the second round on by itself
	at=$(writes)
	await 30 "the guest to write" _beyond "$at"
	read -r -t "0.$(printf '%03d' $((RANDOM % 600)))" <> <(:) || true
	host_power_cut "$a"
	await 20 "$b to take over" alone "$b"
	said=$(ask CHECK) || fail "round $round: the promoted VM does not answer"
	[[ $said = ok\ * && $said = *' mismatches=0 errors=0 '* ]] || fail "round $round: $said"
	total=$((total + 1))
	((round % 20)) || echo "round $round: $said"
	host_boot "$a"
	daemon_start "$a"
	swap=$a a=$b b=$swap
done
said=$(ask CHECK)
echo "$total power cuts: memory and disk agree ($said)"
