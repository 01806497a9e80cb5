#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The replication link is cut for a second, six times, while both hosts are well: the VM stays where it is, its
# client notices a pause at most, no copy of it is left behind, and it is protected again after each cut.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

stays() {
	[[ $(vm_field hostA vm1 "['role']") = primary ]] || fail "$1: the VM left hostA: $(tw hostA status)"
	logged hostB 'ASKING -> PROMOTING' && fail "$1: the backup took over"
	return 0
}
standbys() { procs_of hostB qemu-system | wc -l; }
one_standby() { (($(standbys) == 1)); }

pair_up
guest_start hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start
for cut in 1 2 3 4 5 6; do
	host_cut_off hostA hostB
	let_pass 1
	goes_on "while the link is cut ($cut)"
	stays "cut $cut"
	host_join hostA hostB
	await_pair hostA hostB vm1
	goes_on "protected again ($cut)"
	stays "after cut $cut"
	await "$AWAIT_S" "only one standby to be left" one_standby
done
logged hostA "the link to hostB was lost [0-9]* times" || fail "status does not say that the link is loose"
client_ends
tw_must hostA unprotect vm1
vm_traces vm1 || fail "something is left in the VM"
echo "six cuts: the VM stayed on hostA"
