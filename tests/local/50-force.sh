#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Without an arbiter, for a VM with a disk: a dead primary promotes nothing by itself; a person does (--force), but not while the
# primary answers. A VM whose QEMU is killed goes on on the backup at once; one that is shut down does not. Both times the old
# host is the backup again by itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
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
client_start() {
	rm -f "$PAIR_DIR/record"
	host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
		--record "$PAIR_DIR/record" --pause-us 2000 --prefix "$1"
	client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
	await 20 "the client's first answers" test -s "$PAIR_DIR/record"
}
client_end() {
	kill "$client_pid"
	wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
}
waiting() { [[ $(vm_field hostB vm1 "['core']") = WAITING ]]; }
unknown() { [[ $(vm_state "$1" "$2") = none ]]; }

pair_up
guest_disk "$PAIR_DIR/disk.ext4" 64
GUEST_EXTRA='twinvm.disk=/dev/vda' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/disk.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
tw hostA protect vm1 --to hostB >/dev/null

# ---- QEMU of the primary dies ----
client_start a
kill -9 "${GUEST_PID[vm1]}"
goes_on "on the backup after QEMU was killed"
client_end
[[ $(vm_field hostB vm1 "['role']") = primary ]] || fail "hostB: $(tw hostB status)"
echo "QEMU killed: hostB runs the VM"

# ---- and back again: hostB has it protected by hostA, unasked; a command that asks for it waits for that ----
out=$(tw hostB protect vm1 --to hostA) || [[ $out = *already* ]] || fail "protect that is under way: $out"
await_state 30 hostB vm1 protected
await_state 30 hostA vm1 protected
client_start b
rc=0
out=$(tw hostA failover vm1 --force) || rc=$?
((rc == 3)) || fail "--force while the primary answers: exit status $rc: $out"
grep -q alive <<<"$out" || fail "--force while the primary answers: $out"
host_power_cut hostB
waiting_a() { [[ $(vm_field hostA vm1 "['core']") = WAITING ]]; }
await 20 "the backup to see it" waiting_a
n=$(answered)
[[ $(vm_state hostA vm1) = protected ]] || fail "promoted without a person: $(tw hostA status)"
(($(answered) == n)) || fail "answers from nowhere"
tw hostA failover vm1 --force | grep -q "runs here now" || fail "--force"
goes_on "on hostA by force"
client_end
echo "power cut without an arbiter: a person promoted"

# ---- shut down by its user ----
host_boot hostB
daemon_start hostB
await_state 60 hostA vm1 protected
pid=$(vm_field hostA vm1 "['pid']")
host_run hostA kill -TERM "$pid" # QEMU's way to be told to quit: an orderly shutdown, with its event
await 20 "hostA to forget the VM" unknown hostA vm1
await 20 "hostB to let its standby go" unknown hostB vm1
echo "shut down: no host runs it"
