#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Somebody else's monitor: thousands of random commands while a VM is protected that verifies its disk against its memory,
# and a power cut while they come, or after them, or (every fifth round) a planned switch. Memory, disk and devices of the
# promoted VM are of one moment. The last `stop` or `cont` of that somebody holds at any time. In every third round devices
# and media come and go as well. At the end the way of three commands: a `cont` that comes while the VM is captured is
# found, and that epoch never counts. MEDDLE_ROUNDS (50; 3 in make test), MEDDLE_FIRST (1), MEDDLE_COMMANDS (2000).
# time limit: 5400
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/verify.sh

commands=${MEDDLE_COMMANDS:-2000}
moment 10 # seeds RANDOM
meddle() { # NAME WORD OPTION...
	python3 tests/tools/meddle.py "$PAIR_DIR/$1-2.qmp" "$commands" "$RANDOM" "$2" "${@:3}"
}
start() { # NAME
	local disc
	for disc in 0 1; do
		head -c 400000 /dev/zero | tr '\0' "$disc" >"$PAIR_DIR/$1-2.qmp.$disc"
	done
	verify_start hostA "$1" -qmp "unix:$PAIR_DIR/$1-2.qmp,server=on,wait=off" -device pcie-root-port,id=rp0,slot=1 \
		-device qemu-xhci,id=xhci -device ide-cd,id=cd0,drive=disc \
		-drive "if=none,id=disc,media=cdrom,format=raw,file=$PAIR_DIR/$1-2.qmp.0" \
		-action reboot=reset # guests of these tests are started with -no-reboot
	protect "$1"
	await_state 60 hostA "$1" protected
	ID=$(vm_field hostA "$1" "['id']")
}
# devices_of HOST SOCKET: the ids of the devices with one, and the first byte of the disc in cd0
devices_of() {
	host_run "$1" python3 tests/tools/qmp.py "$2" qom-list '{"path": "/machine/peripheral"}' |
		python3 -c 'import json, sys; print(*sorted(p["name"] for p in json.load(sys.stdin) if p["type"].startswith("child<")))' &&
		host_run "$1" python3 tests/tools/qmp.py "$2" query-block | python3 -c '
import json, sys
f = [d.get("inserted") for d in json.load(sys.stdin) if "cd0" in d.get("qdev", "")][0]
print("disc", open(sys.argv[1] + f["file"], "rb").read(1) if f else "none")' "${3:-}"
}
# Ends the VM on hostB: the next round has one of its own.
next_round() {
	[[ -z ${HOST_INIT[hostA]} ]] || tw_must hostB unprotect "$1"
	# shellcheck disable=SC2046 # pids are words
	kill -9 $(procs_of hostB qemu-system) || true
	await_state 30 hostB "$1" none
	[[ -n ${HOST_INIT[hostA]} ]] || host_back hostA
}
check() { # NAME WHAT
	await_primary hostB "$1"
	await "$AWAIT_S" "the guest, which may have been reset" verify_past 0
	verify_check "$2"
	[[ -z ${HAD:-} ]] || [[ $(devices_of hostB "/run/twinvm/$ID/standby.qmp" "$(host_path hostB "")") = "$HAD" ]] ||
		fail "$2: its devices were $HAD, and are $(devices_of hostB "/run/twinvm/$ID/standby.qmp" "$(host_path hostB "")")"
	next_round "$1"
}
cut_and_check() {
	host_power_cut hostA
	check "$@"
}
# A VM whose devices had just changed runs alone by record: its backup does not run it.
cut_in_between() { # NAME WHAT
	local record
	host_power_cut hostA
	settled() { [[ $(vm_state hostB "$1") = @(alone|none) ]]; }
	await 60 "hostB to decide" settled "$1"
	record=$("$PAIR_B/tools/arbiter" "file://$PAIR_DIR/arbiter" read "$ID")
	case $record in
	*state=alone*primary=hostB*) check "$@" ;;
	*state=alone*primary=hostA*)
		no_procs hostB qemu-system || fail "$2: hostA runs it alone by record, and hostB has a QEMU"
		PRINTED="it ran alone"
		next_round "$1"
		;;
	*) fail "$2: the record is $record" ;;
	esac
}
# A VM that somebody has stopped, or that has no backup just now, is not switched.
switched() { tw hostA failover "$1" >"$PAIR_DIR/switch"; }

pair_up
for ((round = ${MEDDLE_FIRST:-1}; round <= ${MEDDLE_ROUNDS:-50}; round++)); do
	word=$( ((round % 2 && round % 5)) && echo stop || echo run)
	options=$( ((round % 2)) || echo resets)
	((round % 3)) || options+=" devices"
	HAD=
	start "vm$round"
	# shellcheck disable=SC2086 # words
	if ((round % 5 && (round % 4 < 2 || round == 3))); then
		if ((round % 3)); then
			meddle "vm$round" "$word" $options >"$PAIR_DIR/meddle" || fail "round $round: $(<"$PAIR_DIR/meddle")"
		else
			meddle "vm$round" run $options >"$PAIR_DIR/meddle" || fail "round $round: $(<"$PAIR_DIR/meddle")"
			HAD=$(devices_of hostA "$PAIR_DIR/vm$round-2.qmp")
			await_state 60 hostA "vm$round" protected
			tail -n 1 "$PAIR_DIR/meddle"
			commands=200 meddle "vm$round" "$word" >"$PAIR_DIR/meddle" || fail "round $round: $(<"$PAIR_DIR/meddle")"
		fi
		[[ $word = stop ]] || await_epochs hostA "vm$round" 2
		cut_and_check "vm$round" "round $round, cut after $word"
	else
		rm -f "$PAIR_DIR/meddle" # the round before has begun, too
		((round % 5)) || options+=" switch"
		meddle "vm$round" "$word" $options >"$PAIR_DIR/meddle" &
		job=$!
		await "$AWAIT_S" "the other monitor" grep -qs begun "$PAIR_DIR/meddle"
		moment 1000
		if ((round % 5)); then
			cut_in_between "vm$round" "round $round, cut in between"
		else
			await "$AWAIT_S" "a planned switch in between: $(cat "$PAIR_DIR/switch" 2>/dev/null)" switched "vm$round"
			await_primary hostB "vm$round"
			check "vm$round" "round $round, switched in between"
		fi
		rc=0
		wait "$job" || rc=$?
		((rc == 0 || rc == 3)) || fail "round $round: $(<"$PAIR_DIR/meddle")"
	fi
	echo "round $round: $(tail -n 1 "$PAIR_DIR/meddle"); $PRINTED; ${HAD//$'\n'/, }"
done

HAD=
step "three commands: a torn epoch does not count"
daemon_stop hostA
daemon_start hostA TWINVM_THREE_COMMANDS=1
start torn
meddle torn run torn >"$PAIR_DIR/meddle" || fail "$(<"$PAIR_DIR/meddle")"
await "$AWAIT_S" "a torn epoch to be found" logged hostA "another program let the VM run"
await_state "$AWAIT_S" hostA torn protected
cut_and_check torn "after torn epochs"
echo "torn epochs: $(times_logged hostA 'another program let the VM run') times"
