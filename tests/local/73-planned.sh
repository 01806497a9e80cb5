#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Planned switches of roles, there and back, under a client that loses nothing: no QEMU is left on the old host, which is the backup
# by itself a moment later. What cannot be switched is refused and keeps running.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

# switch FROM TO
switch() {
	local generation
	generation=$(vm_field "$1" vm1 "['generation']")
	tw_must "$1" failover vm1
	[[ $PRINTED = "vm1 runs on $2 now" ]] || fail "failover says: $PRINTED"
	goes_on "on $2"
	await_primary "$2" vm1
	(($(vm_field "$2" vm1 "['generation']") == generation + 1)) || fail "$2: $(tw "$2" status)"
	await_pair "$2" "$1" vm1
	[[ $(vm_field "$1" vm1 "['kept']") = '[]' ]] || fail "$1 keeps something: $(tw "$1" status)"
	(($(procs_of "$1" "qemu-system.*vm1" | wc -l) == 1)) || fail "$1 has more than its standby"
	goes_on "protected by $1"
}

for arbiter in none file; do
	if [[ $arbiter = none ]]; then
		pair_up
		guest_start_disk hostA vm1
		protect vm1
		client_start
		tw_refuses hostB 1 "give the command there" failover vm1
	else
		tw_must hostA unprotect vm1
		await_state 20 hostB vm1 none
		protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
	fi
	switch hostA hostB
	switch hostB hostA
	echo "arbiter $arbiter: there and back, $(client_acked) answers"
done

host_power_cut hostB
await_state 20 hostA vm1 alone
tw_refuses hostA 3 "no backup that could take over" failover vm1
goes_on "alone"

client_ends
