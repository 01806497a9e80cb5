#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Other programs' commands on a protected VM, and the end of twinvm's own monitor connection. A `stop` holds until its `cont`, with
# the reason in status; `loadvm`, which QEMU refuses, does not leave the VM stopped; a connection that ends is not the VM's end: it
# runs on, once, and is protected again. A power cut while it is paused: the backup runs it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

hmp() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$1" >"$PAIR_DIR/hmp" || fail "$1: $(<"$PAIR_DIR/hmp")"; }
# A `stop` in the moment of an epoch's own pause is another test's.
stops() { hmp stop && status_is paused && let_pass 0.2 && status_is paused; }
status_is() { hmp "info status" && grep -q "$1" "$PAIR_DIR/hmp"; }
is_running() { status_is running; }
committed() { vm_field hostA vm1 "['epoch_committed']"; }
wakes_up() { # WHAT: epochs continue, output flows
	await "$AWAIT_S" "the VM to run: $1" is_running
	await_epochs hostA vm1 5
	await "$AWAIT_S" "the guest to answer: $1" guest_answers
}
only_here() { # WHAT
	guest_lives vm1 "$1"
	[[ $(vm_field hostB vm1 "['role']") = @(backup|none) ]] || fail "$1: hostB runs it, too: $(tw hostB status)"
	field_is hostA vm1 "['role']" primary || fail "$1: $(tw hostA status)"
}

PAIR_ARBITER='file' pair_up
guest_disk "$PAIR_DIR/vm1.ext4" 64
qemu-img convert -f raw -O qcow2 "$PAIR_DIR/vm1.ext4" "$PAIR_DIR/vm1.qcow2"
GUEST_EXTRA="twinvm.disk=/dev/vda" guest_start hostA vm1 -drive "file=$PAIR_DIR/vm1.qcow2,format=qcow2,if=none,id=d0" \
	-device virtio-blk-pci,drive=d0 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off"
hmp "savevm before"
protect vm1
client_start

# ---- an operator's stop ----
await "$AWAIT_S" "the VM to be stopped" stops
await_field "$AWAIT_S" hostA vm1 "['reason']" "*paused by an operator*"
field_is hostA vm1 "['run_state']" paused || fail "run_state: $(tw hostA status vm1 --json)"
field_is hostA vm1 "['state']" protected || fail "the session did not wait: $(tw hostA status)"
before=$(committed) lag=$(vm_field hostA vm1 "['lag_ms']")
let_pass 2 # longer than the deadlines of commits and heartbeats
status_is paused || fail "an operator's stop was undone: $(<"$PAIR_DIR/hmp")"
[[ $(committed) = "$before" ]] || fail "an epoch of a VM that stands still: $before, now $(committed)"
[[ $(vm_field hostA vm1 "['lag_ms']") = "$lag" ]] || fail "what stands still ages: $lag, now $(vm_field hostA vm1 "['lag_ms']")"
tw_refuses hostA 3 "paused by an operator.*resume it first" failover vm1
hmp cont
wakes_up "after an operator's cont"
await_field "$AWAIT_S" hostA vm1 "['reason']" ""
goes_on "after a stop and a cont"
step "an operator's stop holds, and their cont"

# ---- hundreds of stops ----
lines() { times_logged hostA 'paused by an operator\|it stood still'; }
before=$(lines)
begin=$EPOCHSECONDS
host_run hostA python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def prompt():
    seen = b""
    while not seen.endswith(b"(qemu) "):
        seen += s.recv(4096)
prompt()
for i in range(300):
    for word in b"stop\n", b"cont\n":
        s.sendall(word)
        prompt()' "$PAIR_DIR/vm1.hmp"
await "$AWAIT_S" "the log to tell how often" logged hostA "it stood still .* times more since then"
((lines=$(lines) - before, most=EPOCHSECONDS - begin + 2))
((lines <= most)) || fail "300 stops made $lines lines in the log, more than one a second ($most)"
wakes_up "after 300 stops"
step "300 stops made $lines lines in the log"

# ---- loadvm ----
hmp "loadvm before"
grep -q "does not support snapshots" "$PAIR_DIR/hmp" || fail "loadvm was not refused: $(<"$PAIR_DIR/hmp")"
wakes_up "after loadvm"
goes_on "after a loadvm that was refused"
field_is hostA vm1 "['state']" protected || fail "after loadvm: $(tw hostA status)"
step "loadvm is refused, and the VM runs on"

# ---- the monitor's connection ends ----
generation=$(vm_field hostA vm1 "['generation']")
python3 tests/tools/cut_monitor.py "${GUEST_PID[vm1]}" "${GUEST_QMP[vm1]}"
await "$AWAIT_S" "hostA to notice" logged hostA "connection to QEMU's monitor has ended"
only_here "the monitor's connection has ended"
await_pair hostA hostB vm1
only_here "protected again"
[[ $(vm_field hostA vm1 "['generation']") = "$generation" ]] || fail "another generation: the VM changed hosts"
goes_on "after the end of the monitor's connection"
wakes_up "after the end of the monitor's connection"
step "the monitor's connection ended, the VM did not, and it is protected again"

# ---- and another program has the socket then ----
python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("waits", flush=True)
s.recv(4096)
s.recv(4096)' "${GUEST_QMP[vm1]}" >"$PAIR_DIR/holder" &
holder=$!
await "$AWAIT_S" "the other program to wait for the socket" grep -q waits "$PAIR_DIR/holder"
python3 tests/tools/cut_monitor.py "${GUEST_PID[vm1]}" "${GUEST_QMP[vm1]}"
await "$AWAIT_S" "hostA to find no monitor" logged hostA "still in it: each QMP socket"
field_is hostA vm1 "['state']" alone || fail "not alone: $(tw hostA status)"
only_here "the monitor is another program's"
goes_on "while the monitor is another program's"
let_pass 2 # long enough for a client to notice, if nothing passed on what it is sent
goes_on "while the monitor is another program's, still"
kill "$holder"
wait "$holder" 2>/dev/null || true
await_pair hostA hostB vm1
goes_on "protected again"
step "the monitor was another program's for a while"

# ---- a power cut while it is paused ----
await "$AWAIT_S" "the VM to be stopped" stops
await_field "$AWAIT_S" hostA vm1 "['run_state']" paused
host_power_cut hostA
GUEST_PID[vm1]=
await_primary hostB vm1
goes_on "on hostB, hostA was cut off while the VM was paused"
step "a power cut while it is paused: the backup runs it"
planned_back hostA hostB vm1
goes_on "on hostA, by a planned switch"
client_ends
step "a planned switch back"
