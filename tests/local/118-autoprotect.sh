#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# [vm NAME] of the configuration: a reload names what has changed, a file with mistakes changes nothing and --check shows all of
# them. A VM with autoprotect = yes is protected whenever it is started, with the mode of its section; not after an operator has
# unprotected it, until it is started anew; not without a UUID. A backup that is away is waited for, with the reason in status.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

vm() { # NAME [ARGS...]
	qemu_start hostA "$1" -M q35 -m 64 -nodefaults -display none -monitor "unix:$PAIR_DIR/$1.hmp,server=on,wait=off" "${@:2}"
}
ends() { # NAME: its QEMU does
	host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/$1.hmp" quit >/dev/null 2>&1 || true
	await "$AWAIT_S" "QEMU of $1 to end" has_ended "${GUEST_PID[$1]}"
}
has_ended() { ! kill -0 "$1" 2>/dev/null; }
reload() { # PATTERN: what the daemon says of it
	kill -HUP "${DAEMON_PID[hostA]}"
	await "$AWAIT_S" "the reload: $1" logged hostA "$1"
}
UUID1="-uuid 8f2d7c1e-1111-4222-8333-44445555aa01"
UUID2="-uuid 8f2d7c1e-1111-4222-8333-44445555aa02"

pair_up
cp "$PAIR_DIR/hostA.conf" "$PAIR_DIR/good.conf"

# ---- a reload ----
cat >>"$PAIR_DIR/hostA.conf" <<-END
	epoch_ms = 40
	spool_mib = 1000
	run_dir = /elsewhere
	[vm vm1]
	autoprotect = yes
	backup = hostB
	mode = remus
	[vm vm2]
	autoprotect = yes
END
host_run hostA "$PAIR_B/twinvmd" --check --config "$PAIR_DIR/hostA.conf" >"$PAIR_DIR/check" 2>&1 || fail "--check: $(<"$PAIR_DIR/check")"
reload "in use: epoch_ms, .vm vm1. autoprotect, .vm vm1. backup, .vm vm1. mode, .vm vm2. autoprotect"
logged hostA "for the next session: spool_mib; only after a restart of twinvmd: run_dir" || fail "what has changed: $(grep reload "$PAIR_DIR/hostA.log")"
grep -v "^run_dir" "$PAIR_DIR/hostA.conf" >"$PAIR_DIR/sections.conf"
printf 'prioritty = 5\nmode = fast\n[guest vm9]\ncolour = red\n' >>"$PAIR_DIR/hostA.conf"
rc=0
host_run hostA "$PAIR_B/twinvmd" --check --config "$PAIR_DIR/hostA.conf" >"$PAIR_DIR/check" 2>&1 || rc=$?
((rc == 1)) || fail "--check of a file with mistakes exits with $rc: $(<"$PAIR_DIR/check")"
grep -q "did you mean 'priority'" "$PAIR_DIR/check" && grep -q "unknown section '\[guest vm9\]'" "$PAIR_DIR/check" &&
	grep -q "mode must be" "$PAIR_DIR/check" && grep -q "3 mistakes" "$PAIR_DIR/check" || fail "--check: $(<"$PAIR_DIR/check")"
reload "the old configuration stays in use"
cp "$PAIR_DIR/sections.conf" "$PAIR_DIR/hostA.conf"
step "a reload says what it does, and a check shows all mistakes"

# ---- started, and started again ----
# shellcheck disable=SC2086 # words
vm vm1 $UUID1
await_pair hostA hostB vm1
field_is hostA vm1 "['mode']" remus || fail "its mode is not its section's: $(tw hostA status vm1 --json)"
ends vm1
await_state "$AWAIT_S" hostA vm1 none
# shellcheck disable=SC2086
vm vm1 $UUID1
await_pair hostA hostB vm1
step "protected whenever it is started"

# ---- an operator's word ----
tw_must hostA unprotect vm1
await_field "$AWAIT_S" hostA vm1 "['reason']" "*an operator has unprotected it*"
daemon_restart hostA
await_field "$AWAIT_S" hostA vm1 "['reason']" "*an operator has unprotected it*"
has_procs hostA "twinvmd replicate" && fail "it is protected against an operator's word"
tw_must hostA protect vm1 --mode kemari
field_is hostA vm1 "['mode']" kemari || fail "the option does not win"
tw_must hostA unprotect vm1
ends vm1
# shellcheck disable=SC2086
vm vm1 $UUID1
await_pair hostA hostB vm1
field_is hostA vm1 "['mode']" remus || fail "the option has outlived its session"
step "not after unprotect, until it is started anew"

# ---- reasons ----
vm vm2
await_field "$AWAIT_S" hostA vm2 "['reason']" "*no UUID*"
ends vm2
await_state "$AWAIT_S" hostA vm2 none
daemon_stop hostB
# shellcheck disable=SC2086
vm vm2 $UUID2
await_field "$AWAIT_S" hostA vm2 "['reason']" "*next try in*"
[[ $(vm_state hostA vm2) = alone ]] || fail "state of a VM that waits: $(tw hostA status)"
tw hostA events vm2 >"$PAIR_DIR/events" || fail "no events of vm2"
grep -q "is not protected by itself" "$PAIR_DIR/events" || fail "no event: $(<"$PAIR_DIR/events")"
daemon_start hostB
await_pair hostA hostB vm2
step "its backup was away: the reason is in status, and it is protected when that is back"
