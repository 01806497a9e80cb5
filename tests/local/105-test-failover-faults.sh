#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What can go wrong while a test failover runs: probes that hang, images that are full, the end of the command, of the
# clone, of the daemon, its time; at last the power of the VM's host is cut. Nothing is ever left, and the VM is continued with
# nothing lost. Before that: built-in probes of the guest's agent, web server and screen, a disc of which the
# backup has only a copy; a host that is red.
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

in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
is_health() { [[ $(tw hostB health --json | jq -r .state) = "$1" ]]; }

pair_up
# A disc of hostA's: hostB has a copy of it, and no such file.
disc=$(host_path hostA /var/lib)/disc.iso
head -c 1000448 /dev/urandom >"$disc"
cat >"$PAIR_DIR/disc" <<'END'
for f in /proc/[0-9]*/fd/*; do
	[[ $(readlink "$f") != /var/lib/twinvm/clones/test-*-file-* || $(sha256sum <"$f") != "$1"* ]] || exit 0
done
echo "no process of the clone has its disc open"
exit 1
END
echo "probe.disc = bash $PAIR_DIR/disc $(sha256sum <"$disc" | cut -c 1-64)" >>"$PAIR_DIR/hostB.conf"
"$PAIR_B/tools/ras_trace" "$PAIR_DIR/trace" make
daemon_restart hostB "TWINVM_TEST_TRACING=$PAIR_DIR/trace"
GUEST_EXTRA="twinvm.shell=1 twinvm.plug=1" guest_start_disk hostA vm1 -device VGA,vgamem_mb=2 -device virtio-serial-pci \
	-cdrom /var/lib/disc.iso \
	-chardev "socket,id=ga0,path=$PAIR_DIR/agent.sock,server=on,wait=off" \
	-device virtserialport,chardev=ga0,name=org.qemu.guest_agent.0
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
await_pair hostA hostB vm1
client_start

# ---- built-in probes: the guest's agent (a shell in the guest that knows one question), its web server, its screen ----
fails "agent does not answer" --probe-timeout 1 --probe agent
# A port reads as ended while nobody is at its other side: it is looked at again each second.
# shellcheck disable=SC2016 # the guest's shell
in_guest 'for p in /sys/class/virtio-ports/*; do [ $(cat $p/name) = org.qemu.guest_agent.0 ] && port=/dev/${p##*/}; done; mkfifo /tmp/tick
while :; do read -r q <&3 && { q=${q##*:}; echo "{\"return\": ${q%%\}*}}" >&3; } || read -t 1 q <>/tmp/tick; done 3<>$port >/dev/null 2>&1 &'
tw_must hostA test-failover vm1 --json --probe agent --probe http:http://www.example/index.html --probe screen --probe named:disc
jq -e '[.probes[].passed] == [true, true, true, true] and .left == []' <<<"$PRINTED" >/dev/null || fail "built-in probes: $PRINTED"
[[ $(jq -r '.probes[1].output' <<<"$PRINTED") = *"HTTP/1."*" 200 OK" ]] || fail "the web server: $PRINTED"
picture=$(host_path hostB "$(jq -r '.probes[2].output' <<<"$PRINTED")")
[[ $(head -c 4 "$picture" | od -An -tx1) =~ ^" "(89 50 4e 47|50 36) ]] || fail "no picture: $picture: $(head -c 16 "$picture" | od -c)"
step "agent, web server and screen: $(jq -c '[.probes[].ms]' <<<"$PRINTED"), $(stat -c %s "$picture") bytes of a picture"

# ---- never on a host whose hardware is red ----
"$PAIR_B/tools/ras_trace" "$PAIR_DIR/trace" mc DIMM_A1 70
await "$AWAIT_S" "hostB to be red" is_health red
tw_refuses hostB 3 "hardware is red" test-failover vm1 --probe redis
tw_refuses hostA 3 "no test failover on hostB: its hardware is red" test-failover vm1 --probe redis
is_last refused "*hardware is red*" || fail "the history has: $(last result): $(last reason)"
is_gone || fail "refused, and left: $(files_of_clones)"
tw_must hostB health --clear
await_pair hostA hostB vm1
step "refused on a red host"

# ---- probes that do not end, and that print without an end ----
fails "not done in its time: killed" --probe-timeout 1 --probe 'echo begun; tail -f /dev/null & tail -f /dev/null'
fails "not done in its time: killed" --probe-timeout 1 --probe 'yes'
fails "connection refused|Connection refused" --probe-timeout 30 --probe tcp:9
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
