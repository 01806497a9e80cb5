#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `twinvm top` in real terminals (tmux) of 80x24 and 200x50 on both hosts: without VMs, while the first copy is made, protected, one
# VM as a whole, alone, failed over, another size, without colours, without its daemon. What it shows stays in build/top/.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

command -v tmux >/dev/null || skip "tmux is not installed"
shots=$PAIR_B/top
mkdir -p "$shots"
rm -f "$shots"/*

# term HOST NAME WIDTH HEIGHT COMMAND: in a terminal of its own there
term() {
	printf 'set -g default-terminal tmux-256color\nset -g remain-on-exit on\nset -g status off\n' >"$PAIR_DIR/tmux.conf"
	host_run "$1" env -u NO_COLOR LANG=C.UTF-8 LC_ALL=C.UTF-8 tmux -S "$PAIR_DIR/tmux-$1" -f "$PAIR_DIR/tmux.conf" \
		new-session -d -s "$2" -x "$3" -y "$4" "$5" || fail "no terminal on $1"
}
mux() { tmux -S "$PAIR_DIR/tmux-$1" "${@:2}"; }
screen() { mux "$1" capture-pane -p -t "$2"; }
colours() { mux "$1" capture-pane -ep -t "$2"; }
shown() { # HOST NAME PATTERN
	screen "$1" "$2" | LC_ALL=C.UTF-8 grep -qE -- "$3"
}
await_shown() {
	await "$AWAIT_S" "'$3' in the terminal $2 of $1" shown "$1" "$2" "$3" || fail "it shows: $(screen "$1" "$2")"
}
keys() { mux "$1" send-keys -t "$2" "${@:3}"; }
# shoot HOST WHAT: both sizes, as text and with colours
shoot() {
	local name
	for name in small large; do
		screen "$1" "$name" >"$shots/$2-$name.txt"
		colours "$1" "$name" >"$shots/$2-$name.ansi"
	done
}
both() { # HOST PATTERN
	await_shown "$1" small "$2"
	await_shown "$1" large "$2"
}
green=$'\e''\[32m'
terms() {
	# Its own status in a file: tmux may show a program that has ended without its status for ever.
	term "$1" small 80 24 "$PAIR_B/twinvm top --interval 0.2; echo \$? >$PAIR_DIR/top-$1"
	term "$1" large 200 50 "$PAIR_B/twinvm top --interval 0.2"
}

PAIR_ARBITER='file' pair_up
head -c 96M /dev/urandom >"$PAIR_DIR/disk.raw"
qemu_start hostA vm1 -M q35 -m 64 -display none -nodefaults -drive "file=$PAIR_DIR/disk.raw,format=raw,if=none,id=d0" \
	-device virtio-blk-pci,drive=d0
terms hostA
terms hostB
term hostA plain 80 24 "env NO_COLOR=1 TERM=vt100 LC_ALL=C $PAIR_B/twinvm top --interval 0.2"
both hostA "no protected VMs"
shoot hostA idle
step "no VMs"

host_shape hostA 20mbit
protect vm1 >"$PAIR_DIR/protect.out" 2>&1 &
protecting=$!
both hostA "vm1 .*syncing [1-9][0-9]?%"
both hostA "%, about [0-9.]+ s left"
shoot hostA syncing
both hostB "○ backup +← hostA .*syncing"
host_shape hostA off
wait "$protecting" || fail "protect: $(cat "$PAIR_DIR/protect.out")"
both hostA "● primary +→ hostB .*protected +[0-9.]+ m?s"
both hostA "1 of 1 (VMs )?protected, worst lag"
both hostA "If hostA died now: vm1 continues on hostB"
both hostB "○ backup +← hostA .*protected"
both hostA "protected.* (▁|▂|▃|▄|▅|▆|▇|█){6}.* ms (▁|▂|▃|▄|▅|▆|▇|█){6}"
shoot hostA protected
shoot hostB standby
grep -q "$green" <<<"$(colours hostA small)" || fail "nothing is green: $(colours hostA small)"
await_shown hostA plain '\* primary -> hostB \+ protected'
! grep -qE $'\e''\[[0-9;]*3[0-7]m' <<<"$(colours hostA plain)" || fail "colours in spite of NO_COLOR: $(colours hostA plain)"
! screen hostA plain | LC_ALL=C grep -q '[^ -~]' || fail "not ASCII: $(screen hostA plain)"
step "the first copy, and protected"

keys hostA small Enter
keys hostA large Enter
both hostA "pause +p50"
both hostA "last events"
shoot hostA detail
keys hostA small q
keys hostA large Escape
both hostA "Enter detail"
keys hostA small '?'
await_shown hostA small "how old the newest state"
keys hostA small x
mux hostA resize-window -t small -x 40 -y 12
await_shown hostA small "^vm1 .*protected.* m?s$"
screen hostA small >"$shots/narrow-40x12.txt"
mux hostA resize-window -t small -x 80 -y 24
await_shown hostA small "● primary +→ hostB"
tw hostA top >"$PAIR_DIR/table" || fail "not a terminal: $(cat "$PAIR_DIR/table")"
[[ $(grep -c "vm1 .*protected" "$PAIR_DIR/table") -eq 1 ]] || fail "one table: $(cat "$PAIR_DIR/table")"
! LC_ALL=C grep -q $'\e' "$PAIR_DIR/table" || fail "control sequences in a pipe: $(cat "$PAIR_DIR/table")"
tw hostA top --json | jq -e '.host == "hostA" and (.vms[0].last_commit_time | . != floor) and .time - .vms[0].last_commit_time < 60' >/dev/null ||
	fail "--json: $(tw hostA top --json)"
status=0
PRINTED=$(tw hostA top --interval 0) || status=$?
((status == 2)) && [[ $PRINTED = *usage:* ]] || fail "--interval 0: $status, $PRINTED"
step "one VM, sizes, a pipe"

# ---- twinvmd hangs, ends, comes back ----
kill -STOP "${DAEMON_PID[hostA]}"
both hostA "twinvmd does not answer"
both hostA "vm1 .*\? protected"
! grep -q "$green" <<<"$(colours hostA small)" || fail "old data are green: $(colours hostA small)"
shoot hostA hangs
kill -CONT "${DAEMON_PID[hostA]}"
both hostA "✔ protected"
daemon_stop hostA
both hostA "twinvmd is away"
both hostA "vm1 .*\? protected +[0-9.]+ m?s"
shoot hostA away
tw_refuses hostA 1 "cannot connect to twinvmd" top
daemon_start hostA
both hostA "✔ protected"
grep -q "is away" <<<"$(screen hostA small)" && fail "it is back: $(screen hostA small)"
step "without its daemon"

# ---- alone, and failed over ----
host_power_cut hostB
both hostA "vm1 .*✘ alone"
both hostA "0 of 1 (VMs )?protected"
both hostA "If hostA died now: vm1 is lost"
shoot hostA alone
host_back hostB
terms hostB
await_pair hostA hostB vm1
both hostA "✔ protected"
host_power_cut hostA
await_primary hostB vm1
both hostB "● primary +✘ alone"
both hostB "failed over from hostA"
shoot hostB failed-over
keys hostB small q
ended() { [[ $(cat "$PAIR_DIR/top-hostB" 2>/dev/null) = 0 ]]; }
await "$AWAIT_S" "top to end by q" ended
step "alone, and failed over"
