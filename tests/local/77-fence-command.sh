#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The user's program that switches a host off. Without an arbiter its success, and nothing less, promotes a backup by itself; with one
# it is run and not waited for. A planned switch and a QEMU that died alone are no reason to switch a host off.
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
runs_here() { [[ $(vm_field "$1" vm1 "['role']") = primary ]]; }
waiting() { [[ $(vm_field "$1" vm1 "['core']") = WAITING ]]; }
calls() { cat "$PAIR_DIR/fenced" 2>/dev/null | wc -l; }
called() { (($(calls) == $1)); }
said() { grep -q "$2" "$PAIR_DIR/$1.log"; }
back() { # HOST, backup of OTHER again
	host_boot "$1"
	daemon_start "$1"
	await_state 60 "$2" vm1 protected
}

pair_up
mkfifo "$PAIR_DIR/answer"
cat >"$PAIR_DIR/fence" <<-END
	#!/bin/bash
	echo "\$1 \$TWINVM_VM \$TWINVM_VM_ID \$TWINVM_HOST \$TWINVM_ADDRESS \$TWINVM_GENERATION" >>$PAIR_DIR/fenced
	read -r status <$PAIR_DIR/answer
	exit "\$status"
END
chmod +x "$PAIR_DIR/fence"
for host in hostA hostB; do
	printf 'fence_command = %s\nfence_required = yes\n' "$PAIR_DIR/fence" >>"$PAIR_DIR/$host.conf"
	kill -TERM "${DAEMON_PID[$host]}"
	wait "${DAEMON_JOB[$host]}" || true
	daemon_start "$host"
done
guest_start hostA vm1
out=$(tw hostA protect vm1 --to hostB) || fail "protect: $out"
id=$(vm_field hostA vm1 "['id']")
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
await 20 "the client's first answers" test -s "$PAIR_DIR/record"

# ---- no arbiter: it fails, nothing is promoted; it succeeds ----
host_power_cut hostA
await 20 "the backup to see it" waiting hostB
await 20 "the command" called 1
[[ $(<"$PAIR_DIR/fenced") = "hostA vm1 $id hostA 10.78.0.11 1" ]] || fail "called with: $(cat "$PAIR_DIR/fenced")"
n=$(answered)
echo 1 >"$PAIR_DIR/answer"
await 20 "the failure to be told" said hostB "fence_command against hostA failed (exit status 1)"
await 30 "another try" called 2
waiting hostB || fail "promoted although the host may run: $(tw hostB status)"
(($(answered) == n)) || fail "answers from nowhere"
echo 0 >"$PAIR_DIR/answer"
goes_on "after the host was switched off"
await 10 "hostB to know that it runs the VM" runs_here hostB
echo "no arbiter: promoted by the command's success"

# ---- the host is well: nothing to switch off ----
back hostA hostB
out=$(tw hostB failover vm1) || fail "planned: $out"
goes_on "switched by plan"
await_state 60 hostA vm1 protected
kill -9 "$(procs_of hostA "qemu-system.*vm1")"
goes_on "after QEMU was killed"
await 10 "hostB to know that it runs the VM" runs_here hostB
await_state 60 hostB vm1 protected
called 2 || fail "a host that is well was to be switched off: $(cat "$PAIR_DIR/fenced")"

# ---- with an arbiter: not waited for ----
tw hostB unprotect vm1 >/dev/null || fail "unprotect"
unknown() { [[ $(vm_state hostA vm1) = none ]]; }
await 20 "hostA to let the standby go" unknown
out=$(tw hostB protect vm1 --to hostA --arbiter "file://$PAIR_DIR/arbiter") || fail "protect with an arbiter: $out"
host_power_cut hostB
goes_on "without waiting for the command"
await 10 "the command" called 3
echo 0 >"$PAIR_DIR/answer"
await 10 "its end" said hostA "fence_command says that hostB is off"

kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"

# ---- what cannot be run is said at once ----
rc=0
printf 'fence_command = %s\n' "$PAIR_DIR/nothing" >>"$PAIR_DIR/hostB.conf"
out=$("$PAIR_B/twinvmd" --config "$PAIR_DIR/hostB.conf" 2>&1) || rc=$?
((rc == 1)) && grep -q "fence_command .* is no program" <<<"$out" || fail "a command that is not there: $rc: $out"
