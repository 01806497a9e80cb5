#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian 12's default kernel, 6.1, has no PAGEMAP_SCAN: dirty pages come from soft-dirty bits. First hv alone
# against QEMUs under KVM, byte by byte; then a power cut.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
LAB_KERNEL=6.1
. tests/lib/labpair.sh

probe() { # NAME ARGS...
	local name=$1
	shift
	host_run hostA timeout 300 "$PAIR_B/tools/hv_probe_vm" "$@" >"$PAIR_DIR/probe.log" 2>&1 ||
		fail "hv on $name: $(tail -n 5 "$PAIR_DIR/probe.log")"
	step "hv on $name: $(grep -E 'epochs|first copy' "$PAIR_DIR/probe.log" | xargs)"
}

labpair_up
[[ $(host_run hostA uname -r) = 6.1.* ]] || fail "not a 6.1 kernel"
# Small pages: only then one write is one page, and exactness can be checked.
host_run hostA sh -c 'echo never >/sys/kernel/mm/transparent_hugepage/enabled'
probe "a firmware that writes all the time" -b -n 40 -a 3 qemu-system-x86_64 -M pc -accel kvm -m 256 -nodefaults -display none
host_run hostA sh -c 'echo always >/sys/kernel/mm/transparent_hugepage/enabled'

guest_start hostA vm1
client_start
protect vm1
grep -q "soft-dirty" "$PAIR_DIR/hostA.log" || fail "soft-dirty bits are not what is used"
client_more 300 20
reads_committed vm1 10
client_cut
host_power_cut hostA
step "hostA's power was cut after $(client_acked) acknowledged writes"
labpair_goes_on
one_runs hostB
