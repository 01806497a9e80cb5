#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# state_dir is full, or read-only. `protect` fails with a sentence that names host, path and remedy, nothing is left on either host, and
# the VM runs on; later, status warns, and what could not be written is written as soon as there is room: the next daemon knows the VM.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CONF=$'state_dir = /var/lib/tiny/state\nreplica_dir = /var/lib/replicas'
. tests/lib/pair.sh

tiny() { # HOST: its state_dir gets a file system of 64 KiB; before its daemon starts
	host_run "$1" sh -c "mkdir -p /var/lib/tiny && mount -t tmpfs -o size=64k tiny /var/lib/tiny && mkdir /var/lib/replicas"
}
fill() { host_run "$1" sh -c 'dd if=/dev/zero of=/var/lib/tiny/fill bs=4k 2>/dev/null; ! echo x >/var/lib/tiny/more 2>/dev/null' || fail "$1: still room"; }
empty() { host_run "$1" rm -f /var/lib/tiny/fill /var/lib/tiny/more; }
nothing_is_left() { # WHAT
	vm_traces vm1 >/dev/null || fail "$1: something is left in the VM"
	await_state "$AWAIT_S" hostA vm1 none
	await_state "$AWAIT_S" hostB vm1 none
	await "$AWAIT_S" "the replicators to end" no_procs hostA "twinvmd replicate"
	await "$AWAIT_S" "the standby to end" no_procs hostB qemu-system
	[[ -z $(host_run hostB find /var/lib/replicas -type f) ]] || fail "$1: replicas on hostB: $(host_run hostB ls /var/lib/replicas)"
	[[ -z $(host_run hostA find /var/lib/tiny/state/vms -type f) ]] || fail "$1: files of hostA's daemon"
	[[ -z $(host_run hostB find /var/lib/tiny/state/vms -type f) ]] || fail "$1: files of hostB's daemon"
	guest_lives vm1 "$1"
}
refused_as() { # WHAT HOST WHY STATUS
	tw_refuses hostA "$4" "/var/lib/tiny/state/.* on $2 cannot be written \($3\): make room there" protect vm1 --to hostB
	nothing_is_left "$1"
	step "$1: protect fails, and nothing is left"
}
warns() { [[ $(vm_field hostA vm1 "['warning']") = */var/lib/tiny/state/vms/*.json\ on\ hostA\ cannot\ be\ written* ]]; }
warns_no_more() { [[ -z $(vm_field hostA vm1 "['warning']") ]]; }

daemon_start() { # the first time: pair_up calls it
	[[ -n $(host_run "$1" sh -c 'mountpoint -q /var/lib/tiny && echo yes || true') ]] || tiny "$1"
	_host_env "$1"
	host_spawn "$1" "$PAIR_DIR/$1.log" "${HOST_ENV[@]}" "$PAIR_B/twinvmd" --config "$PAIR_DIR/$1.conf"
	DAEMON_PID[$1]=$SPAWNED_PID
	DAEMON_JOB[$1]=$SPAWNED_JOB
	await "$AWAIT_S" "twinvmd on $1" tw "$1" status >/dev/null
}

pair_up
truncate -s 256M "$PAIR_DIR/disk.raw"
dd if=/dev/urandom of="$PAIR_DIR/disk.raw" bs=1M count=24 conv=notrunc status=none
qemu_start hostA vm1 -M q35 -m 64 -nodefaults -display none -drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=d0" \
	-device virtio-blk-pci,drive=d0

fill hostA
refused_as "hostA is full" hostA "No space left on device" 1
empty hostA
host_run hostA mount -o remount,ro /var/lib/tiny
refused_as "hostA is read-only" hostA "Read-only file system" 1
host_run hostA mount -o remount,rw /var/lib/tiny
fill hostB
refused_as "hostB is full" hostB "No space left on device" 3
empty hostB

# ---- it becomes full during the first copy ----
host_shape hostA 40mbit
tw hostA protect vm1 --to hostB >"$PAIR_DIR/protect" &
job=$!
await_state "$AWAIT_S" hostB vm1 syncing
await_state "$AWAIT_S" hostA vm1 syncing
fill hostA
host_shape hostA off
rc=0
wait $job || rc=$?
((rc == 1)) && grep -q "on hostA cannot be written (No space left on device): make room there" "$PAIR_DIR/protect" ||
	fail "protect: exit status $rc: $(<"$PAIR_DIR/protect")"
nothing_is_left "hostA became full"
step "full at the end of the first copy: protect fails, and nothing is left"
empty hostA

# ---- it becomes full while the VM is protected ----
protect vm1
fill hostA
kill_side hostB
await_state "$AWAIT_S" hostA vm1 alone
await "$AWAIT_S" "hostA to warn" warns
tw_must hostA status
grep -q "warning: /var/lib/tiny/state/vms/.* on hostA cannot be written" <<<"$PRINTED" || fail "status: $PRINTED"
step "full later: the VM runs on, status warns"
empty hostA
await "$AWAIT_S" "hostA to write it" warns_no_more
logged hostA "json is written now" || fail "hostA's log has nothing of it"
daemon_restart hostA
daemon_start hostB
await_pair hostA hostB vm1
step "room again: it is written, and protected after a restart"

# ---- unprotect of what cannot be forgotten ----
host_run hostA mount -o remount,ro /var/lib/tiny
tw_refuses hostA 1 "on hostA cannot be removed \(Read-only file system\): vm1 is not protected any more, but a restart" unprotect vm1
host_run hostA mount -o remount,rw /var/lib/tiny
await "$AWAIT_S" "hostA to forget it on its disk" logged hostA "json is removed now"
daemon_restart hostA
nothing_is_left "unprotected"
