#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Planned switches of roles, there and back, under a client that loses nothing: no QEMU is left on the old host, which is the backup
# by itself a moment later. What cannot be switched is refused and goes on.
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
is_primary() { [[ $(vm_field "$1" vm1 "['role']") = primary ]]; }
# refused STATUS WORDS HOST: twinvm failover there says no
refused() {
	local rc=0 out
	out=$(tw "$3" failover vm1) || rc=$?
	((rc == $1)) || fail "failover on $3: exit status $rc: $out"
	grep -q "$2" <<<"$out" || fail "failover on $3: $out"
}
# switch FROM TO
switch() {
	local generation out
	generation=$(vm_field "$1" vm1 "['generation']")
	out=$(tw "$1" failover vm1) || fail "failover: $out"
	[[ $out = "vm1 runs on $2 now" ]] || fail "failover says: $out"
	goes_on "on $2"
	await 10 "$2 to know that it runs the VM" is_primary "$2"
	(($(vm_field "$2" vm1 "['generation']") == generation + 1)) || fail "$2: $(tw "$2" status)"
	await_state 60 "$2" vm1 protected
	await_state 20 "$1" vm1 protected
	[[ $(vm_field "$1" vm1 "['role']") = backup ]] || fail "$1: $(tw "$1" status)"
	[[ $(vm_field "$1" vm1 "['kept']") = '[]' ]] || fail "$1 keeps something: $(tw "$1" status)"
	(($(procs_of "$1" "qemu-system.*vm1" | wc -l) == 1)) || fail "$1 has more than its standby"
	goes_on "protected by $1"
}

for arbiter in none file; do
	if [[ $arbiter = none ]]; then
		pair_up
		guest_disk "$PAIR_DIR/disk.ext4" 64
		GUEST_EXTRA='twinvm.disk=/dev/vda' guest_start hostA vm1 \
			-drive "file=$PAIR_DIR/disk.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
		tw hostA protect vm1 --to hostB >/dev/null || fail "protect"
		host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
			--record "$PAIR_DIR/record" --pause-us 2000
		client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
		await 20 "the client's first answers" test -s "$PAIR_DIR/record"
		refused 1 "give the command there" hostB
	else
		tw hostA unprotect vm1 >/dev/null || fail "unprotect"
		gone() { [[ $(vm_state hostB vm1) = none ]]; }
		await 20 "hostB to let the standby go" gone
		tw hostA protect vm1 --to hostB --arbiter "file://$PAIR_DIR/arbiter" >/dev/null || fail "protect with an arbiter"
	fi
	switch hostA hostB
	switch hostB hostA
	echo "arbiter $arbiter: there and back, $(answered) answers"
done

host_power_cut hostB
not_protected() { [[ $(vm_state hostA vm1) = alone ]]; }
await 20 "hostA to be alone" not_protected
refused 3 "no backup that could take over" hostA
goes_on "alone"

kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
cat "$PAIR_DIR/client.json"
