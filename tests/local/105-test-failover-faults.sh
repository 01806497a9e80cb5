#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can go wrong while a test failover runs: probes that hang, images that are full, the end of the command, of the clone, of the
# daemon, its time; at last the power of the VM's host is cut. Nothing is ever left, and the VM is continued with nothing lost.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

CLONE='qemu-system.*test-of-vm1'
# Its QEMU is in a namespace of its own: known by the host's files, which it sees.
clone_qemu() {
	local pid ours
	ours=$(stat -Lc %d:%i "$(host_path hostB /var/lib/twinvm)")
	for pid in $(pgrep -f -- "$CLONE" || true); do
		[[ $(stat -Lc %d:%i "/proc/$pid/root/var/lib/twinvm" 2>/dev/null) != "$ours" ]] || echo "$pid"
	done
}
runs() { [[ -n $(clone_qemu) ]]; }
runs_not() { [[ -z $(clone_qemu) ]]; }
files_of_clones() { host_run hostB find /run/twinvm /var/lib/twinvm/clones -name 'test-*'; }
is_gone() { runs_not && no_procs hostB "^twinvmd clone *$" && [[ -z $(files_of_clones) ]]; }
gone() { await "$AWAIT_S" "nothing of the clone to be left: $1" is_gone; }
last() { vm_field hostB vm1 "['rehearsals']['test_failover']['last']['$1']"; }
# shellcheck disable=SC2053 # a pattern
is_last() { [[ $(last result) = "$1" && $(last reason) = $2 ]]; }
# ends RESULT REASON: the history has it
ends() { await "$AWAIT_S" "the history to have '$1: $2', not '$(last result): $(last reason)'" is_last "$1" "$2"; }
# fails PATTERN OPTION...: the test fails for that reason, and is gone when the command returns
fails() {
	local rc=0
	PRINTED=$(tw hostB test-failover vm1 "${@:2}") || rc=$?
	((rc == 1)) && grep -qE -- "$1" <<<"$PRINTED" || fail "exit status $rc: $PRINTED"
	is_gone || fail "left: $(files_of_clones)"
}
keep() {
	tw_must hostB test-failover vm1 --keep "$@"
	runs || fail "no clone is kept: $PRINTED"
}

pair_up
guest_start_disk hostA vm1
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
await_pair hostA hostB vm1
client_start

# ---- probes that do not end, and that print without an end ----
fails "not done in its time: killed" --probe-timeout 1 --probe 'echo begun; tail -f /dev/null & tail -f /dev/null'
fails "not done in its time: killed" --probe-timeout 1 --probe 'yes'
fails "connection refused|Connection refused" --probe-timeout 1 --probe tcp:9
step "probes that hang are killed, with all that they have started"

# ---- more than its images may hold ----
cat >"$PAIR_DIR/fill" <<'END'
exec 3<>"/dev/tcp/$TWINVM_GUEST/6379"
head -c 3000000 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >/dev/shm/value.$$
printf '*3\r\n$3\r\nSET\r\n$4\r\nmuch\r\n$6000000\r\n' >&3
cat /dev/shm/value.$$ >&3
printf '\r\n' >&3
rm /dev/shm/value.$$
cat <&3
END
fails "written more than 1 MiB" --disk-mib 1 --probe "bash $PAIR_DIR/fill"
step "its images are bounded"

# ---- the command ends ----
mkfifo "$PAIR_DIR/go"
host_spawn hostB "$PAIR_DIR/command.log" "$PAIR_B/twinvm" test-failover vm1 --probe redis --probe "cat $PAIR_DIR/go" --probe redis
await "$AWAIT_S" "the clone to run" runs
kill -9 "$SPAWNED_PID"
echo go >"$PAIR_DIR/go" # waits for the probe
ends passed '@(|none)' # no reason
gone "the command was killed"
step "without its command a test is done, and cleaned up"

# ---- its QEMU, then its processes ----
keep --probe redis
tw_refuses hostB 1 "runs already" test-failover vm1
tw_refuses hostA 1 "vm1 is running|already|is the VM|no VM|protected" protect vm1 --to hostB
tw_refuses hostB 1 "no running QEMU matches" protect test-of-vm1 --to hostA
kill -9 "$(clone_qemu)"
gone "its QEMU was killed"
keep --probe redis
kill -9 "$(procs_of hostB "^twinvmd clone *$" | head -n 1)"
gone "its process was killed"
step "whatever of it is killed, all of it ends"

# ---- its time, and an operator ----
keep --for 4 --probe redis
gone "its time was over"
keep --probe redis
tw_must hostB test-failover vm1 --stop
is_gone || fail "stopped, and left: $(files_of_clones)"
step "it ends at its time, and when it is asked to"

# ---- the daemon ----
keep --probe redis
kill -9 "${DAEMON_PID[hostB]}"
await "$AWAIT_S" "the clone to end with its daemon" runs_not
daemon_start hostB
gone "the daemon was killed"
await_pair hostA hostB vm1
goes_on "after all of this"
step "what a daemon has left the next one removes"

# ---- a failover comes first ----
keep --probe redis
client_cut
host_power_cut hostA
GUEST_PID=()
goes_on "on hostB, which ran a clone"
await_primary hostB vm1
gone "the VM was promoted"
tw hostB events vm1 --json | jq -c '[.[]? // . | select(.kind? == "failover") | .data] | last' || true
client_ends
