#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# After a failover nobody gives a command: the VM is protected again by its old host as soon as that host is back, and again after
# the next failover, back and forth. One client works through all of it and loses nothing. ROUNDS power cuts of each host (2).
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
answered() { wc -l <"$PAIR_DIR/record"; }
more_answers() { (($(answered) > $1)); }
goes_on() {
	local n
	n=$(answered)
	await 20 "the VM to answer: $1" more_answers $((n + 3))
}
role() { vm_field "$1" vm1 "['role']"; }
runs_here() { [[ $(role "$1") = primary ]]; }
# cut FROM TO: FROM's power is cut, TO runs the VM; FROM comes back with a fresh daemon and is the backup, unasked
cut() {
	local generation
	generation=$(vm_field "$1" vm1 "['generation']")
	host_power_cut "$1"
	goes_on "on $2"
	await 10 "$2 to know that it runs the VM" runs_here "$2"
	(($(vm_field "$2" vm1 "['generation']") == generation + 1)) || fail "$2: $(tw "$2" status)"
	vm_field "$2" vm1 "['reason']" | grep -q "failed over from $1" || fail "$2 does not say why: $(tw "$2" status)"
	[[ $(vm_state "$2" vm1) = alone ]] || fail "$2 without a backup: $(tw "$2" status)"
	host_boot "$1"
	daemon_start "$1"
	await_state 60 "$2" vm1 protected
	await_state 20 "$1" vm1 protected
	[[ $(role "$1") = backup ]] || fail "$1: $(tw "$1" status)"
	[[ $(vm_field "$2" vm1 "['peer']") = "$1" ]] || fail "$2: $(tw "$2" status)"
	[[ $(vm_field "$1" vm1 "['kept']") = '[]' ]] || fail "$1 keeps something: $(tw "$1" status)"
	goes_on "protected by $1"
}

pair_up
guest_disk "$PAIR_DIR/disk.ext4" 64
GUEST_EXTRA='twinvm.disk=/dev/vda' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
tw hostA protect vm1 --to hostB --mode remus --epoch 40 >/dev/null || fail "protect"
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
await 20 "the client's first answers" test -s "$PAIR_DIR/record"

for ((round = 1; round <= ${ROUNDS:-2}; round++)); do
	cut hostA hostB
	cut hostB hostA
	echo "round $round: $(answered) answers"
done
[[ $(vm_field hostA vm1 "['mode']") = remus ]] || fail "the mode was forgotten: $(tw hostA status --json)"

# ---- the backup's daemon is away when its standby must run: the next one finds the VM, not a leftover ----
kill -9 "${DAEMON_PID[hostB]}"
host_power_cut hostA
goes_on "on hostB without a daemon"
no_sink() { [[ -z $(procs_of hostB "twinvmd replicate sink") ]]; }
await 20 "the replicator that promoted it to end" no_sink
daemon_start hostB
await 10 "the new daemon to know that hostB runs the VM" runs_here hostB
goes_on "on hostB with a new daemon"
host_boot hostA
daemon_start hostA
await_state 60 hostB vm1 protected
host_power_cut hostB
goes_on "on hostA again"
await 10 "hostA to know that it runs the VM" runs_here hostA
host_boot hostB
daemon_start hostB
await_state 60 hostA vm1 protected

kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
cat "$PAIR_DIR/client.json"

# ---- the user's word: not to be protected any more ----
tw hostA unprotect vm1 >/dev/null || fail "unprotect"
gone() { [[ $(vm_state "$1" vm1) = none ]]; }
await 10 "hostB to let the standby go" gone hostB
gone hostA || fail "hostA still knows it: $(tw hostA status)"
guest_answers || fail "the VM does not run on"
