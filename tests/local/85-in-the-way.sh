#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What stands in the way, in one clear sentence: a QMP socket that another program holds (a second one is used), a block job, a VM
# that was not started, a name that is too long, --to of the own name. What backup and snapshot tools get while a VM is protected
# does no harm. `unprotect` ends a first copy. A QEMU that hangs is in status; with hung_qemu = failover the backup runs its VM.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

SECOND() { echo "$PAIR_DIR/$1.qmp2"; }
qmp() { python3 tests/tools/qmp.py "$(SECOND vm1)" "$@"; }
hold() { # SOCKET: a client that has it and does nothing; HOLDER
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(4096)
print("held", flush=True)
s.recv(4096)' "$1" >"$PAIR_DIR/holder" &
	HOLDER=$!
	await "$AWAIT_S" "the greeting of $1" grep -q held "$PAIR_DIR/holder"
}
let_go() {
	kill "$1"
	wait "$1" 2>/dev/null || true
}
vm() { # NAME [ARGS...]
	qemu_start hostA "$1" -M q35 -m 64 -nodefaults -display none -qmp "unix:$(SECOND "$1"),server=on,wait=off" "${@:2}"
	await "$AWAIT_S" "the second QMP socket of $1" test -S "$(SECOND "$1")"
}
refused() { # COMMAND JSON: by QEMU, while the VM is protected
	! qmp "$@" >"$PAIR_DIR/tool" 2>&1 || fail "$1 of a protected VM was not refused: $(<"$PAIR_DIR/tool")"
	echo "$1: $(<"$PAIR_DIR/tool")"
}
no_jobs() { [[ $(qmp query-block-jobs) = "[]" ]]; }

PAIR_ARBITER='file' pair_up
head -c 32M /dev/urandom >"$PAIR_DIR/vm1.raw"
vm vm1 -drive "file=$PAIR_DIR/vm1.raw,format=raw,if=none,id=d0,node-name=n0" -device virtio-blk-pci,drive=d0


# ---- sentences ----
vm vm2 -S
tw_refuses hostA 3 "has not been started.*'cont'" protect vm2 --to hostB
tw_refuses hostA 1 "200 characters.*127.*pid" protect "$(printf 'x%.0s' {1..200})" --to hostB
tw_refuses hostA 1 "hostA is this host itself" protect vm1 --to hostA
qmp drive-backup '{"device":"d0","job-id":"nightly","sync":"full","format":"raw","target":"'"$PAIR_DIR"'/backup.raw","speed":65536}' >/dev/null
tw_refuses hostA 3 "a backup job of another program \(nightly\).*block_job_cancel nightly" protect vm1 --to hostB
qmp block-job-cancel '{"device":"nightly","force":true}' >/dev/null
await "$AWAIT_S" "the job to end" no_jobs
BEFORE=$(vm_traces vm1)
step "one sentence for each"

# ---- sockets that others hold ----
hold "${GUEST_QMP[vm1]}"
first=$HOLDER
hold "$(SECOND vm1)"
tw_refuses hostA 1 "each QMP socket of the VM.*held by another program.*one more -qmp socket" protect vm1 --to hostB
let_go "$HOLDER"
protect vm1
tw_must hostA unprotect vm1
let_go "$first"
step "the QMP socket that is free is used"

# ---- unprotect during the first copy ----
host_shape hostA 2mbit
tw hostA protect vm1 --to hostB >"$PAIR_DIR/protect.log" &
job=$!
await_state "$AWAIT_S" hostA vm1 syncing
tw_must hostA unprotect vm1
! wait $job || fail "protect succeeded: $(<"$PAIR_DIR/protect.log")"
grep -q "ended by 'twinvm unprotect'" "$PAIR_DIR/protect.log" || fail "protect: $(<"$PAIR_DIR/protect.log")"
host_shape hostA off
await_state "$AWAIT_S" hostB vm1 none
unchanged vm1 "$BEFORE" "unprotect during the first copy"
step "unprotect ends a first copy"

# ---- tools, while it is protected ----
protect vm1
refused blockdev-snapshot-sync '{"device":"d0","snapshot-file":"'"$PAIR_DIR"'/snap.qcow2","format":"qcow2"}'
refused drive-backup '{"device":"d0","sync":"full","format":"raw","target":"'"$PAIR_DIR"'/backup2.raw"}'
refused block-commit '{"device":"d0"}'
refused drive-mirror '{"device":"d0","sync":"full","format":"raw","target":"'"$PAIR_DIR"'/mirror.raw"}'
await_epochs hostA vm1 5
field_is hostA vm1 "['state']" protected || fail "a tool did harm: $(tw hostA status)"
tw_must hostA unprotect vm1
unchanged vm1 "$BEFORE" "tools that were refused"
step "backup and snapshot tools are refused by QEMU, and do no harm"

# ---- a QEMU that hangs ----
guest_start hostA web
protect web
client_start
kill -STOP "${GUEST_PID[web]}"
await_field "$AWAIT_S" hostA web "['warning']" "*has not answered for*SIGCONT*"
let_pass 4 # longer than hung_qemu = failover would wait
field_is hostA web "['role']" primary || fail "hung_qemu = wait: $(tw hostA status)"
field_is hostB web "['role']" backup || fail "hung_qemu = wait: $(tw hostB status)"
kill -CONT "${GUEST_PID[web]}"
goes_on "after SIGCONT"
await_epochs hostA web 5
await_field "$AWAIT_S" hostA web "['warning']" ""
field_is hostA web "['state']" protected || fail "the session did not wait: $(tw hostA status)"
step "hung_qemu = wait: reported, and waited for"

tw_must hostA unprotect web
echo "hung_qemu = failover" >>"$PAIR_DIR/hostA.conf"
kill -HUP "${DAEMON_PID[hostA]}"
protect web
kill -STOP "${GUEST_PID[web]}"
GUEST_PID[web]=
await_primary hostB web
goes_on "on hostB, as its QEMU hung on hostA"
client_ends
step "hung_qemu = failover: the backup runs it"
