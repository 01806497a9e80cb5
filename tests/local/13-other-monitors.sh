#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody else's monitor: thousands of random commands while a VM is protected that verifies its disk against its memory,
# and a power cut while they come, or after them. Memory, disk and devices of the promoted VM are of one moment. The last
# `stop` or `cont` of that somebody holds at any time. At the end the way of three commands: a `cont` that comes while the VM
# is captured is found, and that epoch never counts. MEDDLE_ROUNDS (50; 2 in make test), MEDDLE_COMMANDS (2000).
# MEDDLE_OPTIONS: devices (tools/meddle.py).
# time limit: 5400
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
. tests/lib/verify.sh

commands=${MEDDLE_COMMANDS:-2000}
moment 10 # seeds RANDOM
meddle() { # NAME WORD OPTION...
	# shellcheck disable=SC2086 # words
	python3 tests/tools/meddle.py "$PAIR_DIR/$1-2.qmp" "$commands" "$RANDOM" "$2" "${@:3}" ${MEDDLE_OPTIONS:-}
}
start() { # NAME
	verify_start hostA "$1" -qmp "unix:$PAIR_DIR/$1-2.qmp,server=on,wait=off" -device pcie-root-port,id=rp0,slot=1 \
		-action reboot=reset # guests of these tests are started with -no-reboot
	protect "$1"
	await_state 60 hostA "$1" protected
}
cut_and_check() { # NAME WHAT
	host_power_cut hostA
	await_state 30 hostB "$1" alone
	await "$AWAIT_S" "the guest, which may have been reset" verify_past 0
	verify_check "$2"
	# The next round has a VM of its own.
	# shellcheck disable=SC2046 # pids are words
	kill -9 $(procs_of hostB qemu-system)
	await_state 30 hostB "$1" none
	host_back hostA
}

pair_up
for ((round = 1; round <= ${MEDDLE_ROUNDS:-50}; round++)); do
	word=$( ((round % 2)) && echo stop || echo run)
	options=$( ((round % 2)) || echo resets)
	start "vm$round"
	if ((round % 4 < 2)); then
		# shellcheck disable=SC2086 # words
		meddle "vm$round" "$word" $options >"$PAIR_DIR/meddle" || fail "round $round: $(<"$PAIR_DIR/meddle")"
		[[ $word = stop ]] || await_epochs hostA "vm$round" 2
		cut_and_check "vm$round" "round $round, cut after $word"
	else
		# shellcheck disable=SC2086 # words
		meddle "vm$round" "$word" $options >"$PAIR_DIR/meddle" &
		job=$!
		await "$AWAIT_S" "the other monitor" grep -q begun "$PAIR_DIR/meddle"
		moment 1000
		cut_and_check "vm$round" "round $round, cut in between"
		rc=0
		wait "$job" || rc=$?
		((rc == 0 || rc == 3)) || fail "round $round: $(<"$PAIR_DIR/meddle")"
	fi
	echo "round $round: $(tail -n 1 "$PAIR_DIR/meddle"); $PRINTED"
done

step "three commands: a torn epoch does not count"
daemon_stop hostA
daemon_start hostA TWINVM_THREE_COMMANDS=1
start torn
meddle torn run torn >"$PAIR_DIR/meddle" || fail "$(<"$PAIR_DIR/meddle")"
await "$AWAIT_S" "a torn epoch to be found" logged hostA "another program let the VM run"
await_state "$AWAIT_S" hostA torn protected
cut_and_check torn "after torn epochs"
echo "torn epochs: $(times_logged hostA 'another program let the VM run') times"
