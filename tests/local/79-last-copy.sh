#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A promotion that goes wrong does not cost the VM: a QEMU that dies while it loads is replaced by a fresh one; what cannot be started
# is kept, and runs after `failover --retry`; a planned switch to a backup that cannot start the VM leaves it where it was; a bridge
# that is missing is only a warning.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

# A QEMU of hostB's own, which can be taken away.
own_qemu() {
	mkdir -p "$PAIR_DIR/bin"
	ln -sf "$(command -v qemu-system-x86_64)" "$PAIR_DIR/bin/qemu-system-x86_64"
}
# hostB's daemon with a fault armed in what it starts
armed() { daemon_restart hostB "TWINVM_FAULT=$1"; }
copy_again() { # hostA protects it anew, by a sink of hostB's new daemon
	tw_must hostA unprotect vm1
	await_state 20 hostB vm1 none
	armed "$1"
	protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
	await_pair hostA hostB vm1
}

pair_up
own_qemu
echo "qemu_path = $PAIR_DIR/bin" >>"$PAIR_DIR/hostB.conf"
guest_start_disk hostA vm1
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
client_start

# ---- planned, and the backup's QEMU dies while it loads ----
copy_again standby_load
tw_refuses hostA 1 "hostB could not start the VM" failover vm1
goes_on "on hostA after a switch that failed"
field_is hostA vm1 "['role']" primary || fail "hostA: $(tw hostA status)"
(($(vm_field hostA vm1 "['generation']") == 3)) || fail "hostA: $(tw hostA status --json)"
await_pair hostA hostB vm1
echo "planned: the VM was taken back"

# ---- power cut, and the first load fails ----
copy_again standby_load
host_power_cut hostA
goes_on "on hostB with a fresh QEMU"
await_primary hostB vm1
logged hostB "it is tried again" || fail "the load did not fail"
host_back hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_pair hostA hostB vm1
goes_on "back on hostA"
echo "power cut: started by a second try"

# ---- power cut, no try succeeds: kept, and a retry ----
copy_again standby_load
rm "$PAIR_DIR/bin/qemu-system-x86_64"
host_power_cut hostA
await_field 60 hostB vm1 "['core']" KEPT
[[ $(vm_state hostB vm1) = stopped ]] || fail "kept: $(tw hostB status)"
tw hostB status | grep -q "could not be started" || fail "status does not say why: $(tw hostB status)"
n=$(client_acked)
tw_refuses hostB 1 "could not be started" failover vm1 --retry
own_qemu
tw hostB failover vm1 --retry | grep -q "runs here now" || fail "--retry: $(tw hostB status)"
goes_on "on hostB by a retry"
await_primary hostB vm1
host_back hostA
await_pair hostB hostA vm1
echo "kept: started by --retry"

# ---- the bridge is gone ----
host_run hostA ip link set br0 down name gone0
await_field 20 hostA vm1 "['reason']" "*br0 is missing on hostA*"
await_field 20 hostB vm1 "['reason']" "*br0 is missing on hostA*" # where the VM runs, too
host_power_cut hostB
await_primary hostA vm1
tw hostA status | grep -q "no network" || fail "status does not say that the network is missing: $(tw hostA status)"
host_run hostA ip link set gone0 name br0 up
goes_on "on hostA when its bridge is back"
client_ends
echo "no bridge: a warning"

# ---- a device that the standby would not have ----
host_back hostB
await_pair hostA hostB vm1
