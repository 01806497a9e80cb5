#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three hosts. A VM's backup dies and stays dead: after a few tries another host, which only the arbiter knows of, is its backup,
# unasked. Its own host dies, too: the
# third host runs it, and has it protected by the first one that comes back, which was never its backup before. `reprotect = no`
# leaves a VM that failed over alone until an operator chooses its backup.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_HOSTS='hostA hostB hostC'
. tests/lib/pair.sh

protected_by() { [[ $(vm_state "$1" vm1) = protected && $(vm_field "$1" vm1 "['peer']") = "$2" ]]; }
tries() { times_logged "$1" "looking for a backup"; }

pair_up
guest_start hostA vm1
# hostA has no address for its peer hostC: the arbiter knows it
sed -i 's/^peer.hostC.*/peer.hostC = -/' "$PAIR_DIR/hostA.conf"
daemon_restart hostA
protect vm1
client_start

host_power_cut hostB
goes_on "alone"
await 120 "another host to be its backup" protected_by hostA hostC
grep "looking for a backup" "$PAIR_DIR/hostA.log" | head -n 4 | grep -qv hostB && fail "hostB was not tried first: $(grep looking "$PAIR_DIR/hostA.log")"
echo "hostB stays dead: hostC protects it after $(tries hostA) tries"

host_power_cut hostA
goes_on "on hostC"
await_primary hostC vm1
host_back hostB
await 120 "hostB, which is back, to be its backup" protected_by hostC hostB
goes_on "protected by hostB"
echo "hostA stays dead: hostB protects it after $(tries hostC) tries"

# ---- not without being asked, where that is wanted ----
echo 'reprotect = no' >>"$PAIR_DIR/hostB.conf"
daemon_restart hostB
await_state 20 hostB vm1 protected
host_back hostA
host_power_cut hostC
goes_on "on hostB"
await_primary hostB vm1
before=$(tries hostB)
tw hostB status vm1 | grep -q "reprotect = no" || fail "hostB does not say why: $(tw hostB status)"
tw_must hostB protect vm1 --to hostA
protected_by hostB hostA || fail "hostB: $(tw hostB status)"
(($(tries hostB) == before)) || fail "a backup was looked for by itself"
# an operator's choice is waited for, nobody else is taken
procs_of hostA "twinvmd replicate sink" | xargs kill -9 # one may be about to end
goes_on "after its backup's replicator died"
await 60 "hostA again" protected_by hostB hostA

client_ends
