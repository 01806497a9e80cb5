#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# After a failover nobody gives a command: the VM is protected again by its old host as soon as that host is back, and again after
# the next failover, back and forth. One client works through all of it and loses nothing. ROUNDS power cuts of each host (2).
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

# cut FROM TO: FROM's power is cut, TO runs the VM; FROM comes back with a fresh daemon and is the backup, unasked
cut() {
	local generation
	generation=$(vm_field "$1" vm1 "['generation']")
	host_power_cut "$1"
	goes_on "on $2"
	await_primary "$2" vm1
	(($(vm_field "$2" vm1 "['generation']") == generation + 1)) || fail "$2: $(tw "$2" status)"
	await_field "$AWAIT_S" "$2" vm1 "['reason']" "*failed over from $1*"
	[[ $(vm_state "$2" vm1) = alone ]] || fail "$2 without a backup: $(tw "$2" status)"
	host_back "$1"
	await_pair "$2" "$1" vm1
	[[ $(vm_field "$1" vm1 "['kept']") = '[]' ]] || fail "$1 keeps something: $(tw "$1" status)"
	goes_on "protected by $1"
}

pair_up
guest_start_disk hostA vm1
protect vm1 --mode remus --epoch 40
client_start

for ((round = 1; round <= ${ROUNDS:-2}; round++)); do
	cut hostA hostB
	cut hostB hostA
	echo "round $round: $(client_acked) answers"
done
[[ $(vm_field hostA vm1 "['mode']") = remus ]] || fail "the mode was forgotten: $(tw hostA status --json)"

# ---- the backup's daemon is away when its standby must run: the next one finds the VM, not a leftover ----
kill -9 "${DAEMON_PID[hostB]}"
host_power_cut hostA
goes_on "on hostB without a daemon"
await 20 "the replicator that promoted it to end" no_procs hostB "twinvmd replicate sink"
daemon_start hostB
await_primary hostB vm1
goes_on "on hostB with a new daemon"
host_back hostA
await_state 60 hostB vm1 protected
host_power_cut hostB
goes_on "on hostA again"
await_primary hostA vm1
host_back hostB
await_state 60 hostA vm1 protected

client_ends

# ---- the user's word: not to be protected any more ----
tw_must hostA unprotect vm1
await_state 10 hostB vm1 none
[[ $(vm_state hostA vm1) = none ]] || fail "hostA still knows it: $(tw hostA status)"
guest_answers || fail "the VM does not run on"
