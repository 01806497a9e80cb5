#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A third host with a valid certificate offers hostA's VM, with the highest generation there is, to hostD, which never had that
# VM. With an arbiter hostD refuses, and becomes the VM's backup later as if nothing had been. Without one it cannot know better;
# but hostA does not stop its VM for that, and the sentence that it gets has the remedy.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_HOSTS='hostA hostB hostD'
PAIR_ARBITER='file'
. tests/lib/hostile.sh

most=9223372036854775807

hostile_up
echo "peer.hostC = -" >>"$PAIR_DIR/hostD.conf"
daemon_restart hostD
HELLO[4]=${HOST_REPL_ADDR[hostD]}

# ---- with an arbiter ----
for generation in 1 2 $most; do
	try "hostA's VM to hostD, generation $generation" "refuse.*by the arbiter's record it is hostA's, generation 1" \
		vm_id="$VM1_ID" generation=$generation hello await=welcome bye
	still_protected "hostA's VM offered to hostD with generation $generation"
done
echo "offered to hostD: refused, $VM1_ID is hostA's"

# ---- protected by hostD, under the same id ----
kill_side hostB
await_state 20 hostA vm1 alone
tw hostA protect vm1 --to hostD >/dev/null || true # it may have found hostD by itself
await_pair hostA hostD vm1
[[ $(vm_field hostA vm1 "['id']") = "$VM1_ID" ]] || fail "another id: $(tw hostA status --json)"
echo "protected by hostD"
tw_must hostA unprotect vm1
daemon_start hostB

# ---- without one ----
arbiter_allow none
for host in $PAIR_HOSTS; do daemon_restart "$host"; done
protect vm1 --arbiter none
VM1_ID=$(vm_field hostA vm1 "['id']")
try "hostA's VM without an arbiter" 'welcome' vm_id="$VM1_ID" generation=$most arbiter=none hello await=welcome bye
await_pair hostA hostB vm1
kill_side hostB
await_state 20 hostA vm1 alone
note=/var/lib/twinvm/generations/$VM1_ID
tw_refuses hostA 3 "hostD: hostD knows this VM as hostC's, generation $most.*no arbiter to ask.*remove $note on hostD" protect vm1 --to hostD
guest_lives vm1 "hostD knows a higher generation"
[[ $(vm_field hostA vm1 "['role']") = primary ]] || fail "hostA stopped its VM for a lie: $(tw hostA status)"
host_run hostD rm "$note"
tw hostA protect vm1 --to hostD >/dev/null || true # it may have found hostD by itself
await_pair hostA hostD vm1
echo "without an arbiter: refused with the remedy, then protected by hostD"
