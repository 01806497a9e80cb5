#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who ended the VM? A host that goes down in order (SIGTERM to twinvmd, its replicators and QEMU, in any order) moves its VM to the
# backup. A guest that switches itself off, or `quit` in a monitor, is the end: no host runs it, the replica goes. A power-off is
# forgotten when the VM runs again.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

hmp() { host_run "${2:-hostA}" python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$1" >"$PAIR_DIR/hmp" || fail "$1: $(<"$PAIR_DIR/hmp")"; }
in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
is_off() { hmp "info status" && grep -q shutdown "$PAIR_DIR/hmp"; }
is_running() { hmp "info status" && grep -q running "$PAIR_DIR/hmp"; }
has_ended() { ! kill -0 "$1" 2>/dev/null; }
replicas() { find "$(host_path "$1" /var/lib/twinvm/disks)" -name '*.raw' 2>/dev/null | wc -l; }
no_replicas() { (($(replicas "$1") == 0)); }
nobody_runs_it() {
	await_state "$AWAIT_S" hostA vm1 none
	await_state "$AWAIT_S" hostB vm1 none
	await "$AWAIT_S" "the standby on hostB to end" no_procs hostB qemu-system
	await "$AWAIT_S" "the replica on hostB to go" no_replicas hostB
}
begin() { # [ARGS...]: a new VM on hostA, protected without an arbiter: nobody but the primary makes hostB promote
	rm -f "$PAIR_DIR/vm1.ext4" "$PAIR_DIR/vm1-serial.log"
	host_run hostA ip link del tap-vm1 2>/dev/null || true # of the VM before
	GUEST_EXTRA=twinvm.shell=1 guest_start_disk hostA vm1 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off" "$@"
	protect vm1
}

pair_up

# ---- hostA goes down in order: its daemon first, then QEMU ----
begin
client_start
daemon_stop hostA
kill -TERM "${GUEST_PID[vm1]}"
goes_on "on hostB, as hostA's QEMU was ended by a signal"
await_primary hostB vm1
await "$AWAIT_S" "the replicator on hostA to end" no_procs hostA "twinvmd replicate"
host_power_cut hostA
goes_on "on hostB, hostA is off"
(($(replicas hostB) == 1)) || fail "hostB has no image"
host_back hostA
await_pair hostB hostA vm1
step "SIGTERM to twinvmd, then to QEMU: the VM moved"

# ---- hostB goes down in order: everything at once ----
victims=$(procs_of hostB qemu-system)
[[ -n $victims ]] || fail "no QEMU on hostB"
# shellcheck disable=SC2046,SC2086 # pids are words
kill -TERM "${DAEMON_PID[hostB]}" $(procs_of hostB "twinvmd replicate") $victims
goes_on "on hostA, as everything on hostB was ended by a signal"
await_primary hostA vm1
await "$AWAIT_S" "the replicator on hostB to end" no_procs hostB "twinvmd replicate"
host_power_cut hostB
host_back hostB
await_pair hostA hostB vm1
client_ends
step "SIGTERM to all at once: the VM moved"

# ---- the guest switches itself off ----
in_guest "poweroff -f"
await "$AWAIT_S" "QEMU to end" no_procs hostA qemu-system
nobody_runs_it
step "power-off by the guest: no host runs it"

# ---- an operator's quit ----
begin
hmp quit || true
await "$AWAIT_S" "QEMU to end" has_ended "${GUEST_PID[vm1]}"
nobody_runs_it
step "quit in the monitor: no host runs it"

# ---- with -no-shutdown: power-off, reset, cont; then a crash ----
begin -no-shutdown -action reboot=reset
in_guest "poweroff -f"
await "$AWAIT_S" "the guest to switch itself off" is_off
: >"$PAIR_DIR/vm1-serial.log"
hmp system_reset
hmp cont
await "$AWAIT_S" "the guest to boot again" grep -saq "GUEST READY" "$PAIR_DIR/vm1-serial.log"
await_epochs hostA vm1 5
kill -9 "${GUEST_PID[vm1]}"
await_primary hostB vm1
await "$AWAIT_S" "the guest to answer on hostB" guest_answers
step "a crash long after a power-off: the VM moved"
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_primary hostA vm1
await "$AWAIT_S" "the guest to answer on hostA" guest_answers
step "and back, by a planned switch"
tw_must hostA unprotect vm1
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostA qemu-system)
await "$AWAIT_S" "QEMU on hostA to end" no_procs hostA qemu-system

# ---- with -no-shutdown: power-off, and its manager ends the process by a signal ----
find "$(host_path hostB /var/lib/twinvm/disks)" -type f -delete
begin -no-shutdown
in_guest "poweroff -f"
await "$AWAIT_S" "the guest to switch itself off" is_off
kill -TERM "${GUEST_PID[vm1]}"
await "$AWAIT_S" "QEMU to end" has_ended "${GUEST_PID[vm1]}"
nobody_runs_it
step "power-off, then a signal: no host runs it"
