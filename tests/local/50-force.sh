#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Without an arbiter, for a VM with a disk: a dead primary promotes nothing by itself; an operator does (--force), but not while the
# primary answers. A VM whose QEMU is killed continues on the backup at once; one that is shut down does not. Both times the old
# host is the backup again by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

pair_up
GUEST_EXTRA=twinvm.shell=1 guest_start_disk hostA vm1
protect vm1

# ---- QEMU of the primary dies ----
client_start --prefix a
kill -9 "${GUEST_PID[vm1]}"
goes_on "on the backup after QEMU was killed"
client_ends
field_is hostB vm1 "['role']" primary || fail "hostB: $(tw hostB status)"
echo "QEMU killed: hostB runs the VM"

# ---- and back again: hostB has it protected by hostA, unasked; a command that asks for it waits for that ----
out=$(tw hostB protect vm1 --to hostA) || [[ $out = *already* ]] || fail "protect that is under way: $out"
await_pair hostB hostA vm1
client_start --prefix b
rc=0 # not tw_refuses: a line that warns comes before the one that refuses
out=$(tw hostA failover vm1 --force) || rc=$?
((rc == 3)) && grep -q alive <<<"$out" || fail "--force while the primary answers: exit status $rc: $out"
host_power_cut hostB
await_field 20 hostA vm1 "['core']" WAITING
n=$(client_acked)
[[ $(vm_state hostA vm1) = protected ]] || fail "promoted without an operator: $(tw hostA status)"
no_answer_since "$n" "without an operator"
tw hostA failover vm1 --force | grep -q "runs here now" || fail "--force"
goes_on "on hostA by force"
client_ends
echo "power cut without an arbiter: an operator promoted"

# ---- shut down by its user ----
host_back hostB
await_state 60 hostA vm1 protected
host_run client bash -c "echo 'poweroff -f' >/dev/tcp/$GUEST_IP/7002"
await_state 20 hostA vm1 none
await_state 20 hostB vm1 none
echo "shut down: no host runs it"
