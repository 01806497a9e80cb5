#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is tried before it is needed. The decision: in a sound pair each check says yes, and of what is broken on purpose it is named.
# A drill, there and back, under a client that loses nothing: its report has the gap that the client has seen. Neither needs the
# command that asked for it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1 PAIR_ARBITER=file
. tests/lib/pair.sh

# check NAME: its verdict and text, as hostB finds them now
check() {
	local out
	out=$(host_run hostB "$PAIR_B/twinvm" ready vm1 --json || true)
	jq -r --arg n "$1" '.checks[] | select(.name == $n) | .verdict + " " + .text' <<<"$out"
}
says_no() { # NAME WORD
	local out
	out=$(check "$1")
	[[ $out = "no "*"$2"* ]] || fail "$1 is '$out', without '$2'"
	tw hostB ready vm1 >/dev/null && fail "ready although $1 is '$out'" || true
	step "named: $1: ${out#no }"
}
sound() {
	local bad
	bad=$(host_run hostB "$PAIR_B/twinvm" ready vm1 --json | jq -r '.checks[] | select(.name != "health" and .verdict != "yes")')
	[[ -z $bad ]] || fail "a sound pair: $bad"
}
out_of_sync() { [[ $(check copy) = "no "* ]]; }
drilled() { [[ $(vm_field "$1" vm1 "['rehearsals']['drill']['last']['id']") = "$2" ]]; }

pair_up
mkdir "$PAIR_DIR/board"
cat >"$PAIR_DIR/fence" <<-END
	#!/bin/sh
	[ "\$2" = --check ] && [ "\$TWINVM_CHECK" = 1 ] || { echo "\$@" >>$PAIR_DIR/fenced; exit 0; }
	[ -d $PAIR_DIR/board ] && exit 0
	echo "the board does not answer"
	exit 5
END
chmod +x "$PAIR_DIR/fence"
for host in hostA hostB; do
	printf 'fence_command = %s\nfence_check = yes\n' "$PAIR_DIR/fence" >>"$PAIR_DIR/$host.conf"
	daemon_restart "$host"
done
guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
# Before it was looked at there is no verdict, and never one of what was not.
! grep -q "not looked at yet" <<<"$(tw hostB status vm1 --json)" || fail "a verdict before the first look: $(tw hostB status vm1 --json)"

# ---- the decision ----
sound
mv "$PAIR_DIR/arbiter" "$PAIR_DIR/away"
says_no record arbiter
mv "$PAIR_DIR/away" "$PAIR_DIR/arbiter"
mv "$PAIR_DIR/board" "$PAIR_DIR/away"
says_no fence "the board does not answer"
mv "$PAIR_DIR/away" "$PAIR_DIR/board"
host_run hostB ip link set br0 down
says_no network "br0 is down"
host_run hostB ip link set br0 name other0
says_no network "no bridge br0"
await_field "$AWAIT_S" hostA vm1 "['ready']['why']" "*no bridge*"
tw_refuses hostA 3 "not ready.*bridge" drill vm1
host_run hostB ip link set other0 name br0
host_run hostB ip link set br0 up
sound
await_field "$AWAIT_S" hostA vm1 "['ready']['ready']" True
[[ ! -e $PAIR_DIR/fenced ]] || fail "a check has switched off: $(<"$PAIR_DIR/fenced")"

# ---- there and back ----
client_start --thin
generation=$(vm_field hostA vm1 "['generation']")
tw_must hostA drill vm1 --ping "$GUEST_IP" --note "after the <upgrade>" --junit "$PAIR_DIR/drill.xml"
echo "$PRINTED"
goes_on "after the drill"
await_pair hostA hostB vm1
(($(vm_field hostA vm1 "['generation']") == generation + 2)) || fail "it was not there: $(tw hostA status)"
[[ $(vm_field hostA vm1 "['rehearsals']['drill']['last']['result']") = passed ]] || fail "$(tw hostA status vm1 --json)"
report=$(host_path hostA /var/lib/twinvm/rehearsals)/$(vm_field hostA vm1 "['id']")
figures=$(jq -c '[.list[] | select(.result == "passed")][-1].figures' "$report")
jq -e '.out.planned and .back.planned and (.out.outage_ms > 0) and (.back.outage_ms > 0) and
	(.client_out.answers > 0) and (.client_back.answers > 0)' <<<"$figures" >/dev/null || fail "figures: $figures"
says "failures=\"0\"" grep "<testsuite" "$PAIR_DIR/drill.xml"
PRINTED=$(tw hostA status vm1)
[[ $PRINTED = *"last drill: passed"* ]] || fail "status: $PRINTED"
grep -q rehearsal-passed <<<"$(tw hostA events vm1)" || fail "no event of it: $(tw hostA events vm1)"

# ---- the command's death changes nothing ----
sound
await_field "$AWAIT_S" hostA vm1 "['ready']['ready']" True
host_spawn hostA "$PAIR_DIR/drill.log" "$PAIR_B/twinvm" drill vm1
await_field "$AWAIT_S" hostA vm1 "['rehearsals']['drill']['running']['result']" running
kill -9 "$SPAWNED_PID"
await 60 "the drill to end without its command" drilled hostA 3
[[ $(vm_field hostA vm1 "['rehearsals']['drill']['last']['result']") = passed ]] || fail "$(tw hostA status vm1 --json)"
await_pair hostA hostB vm1

# ---- by the clock, each on the host that carries it out, with the command and its options ----
tried() { [[ $(vm_field "$1" vm1 "['rehearsals']['$2']['last']['by']") = schedule ]]; }
for line in "hostB test_failover probe=redis" "hostA verify rate=1000"; do
	read -r host what option <<<"$line"
	echo "$what = daily $(date +%H:%M) $option" >>"$PAIR_DIR/$host.conf"
	kill -HUP "${DAEMON_PID[$host]}"
	await 120 "$what by schedule on $host" tried "$host" "$what"
	await_field "$AWAIT_S" "$host" vm1 "['rehearsals']['$what']['last']['result']" passed
	step "$what at its time: $(vm_field "$host" vm1 "['rehearsals']['$what']['last']")"
done
client_ends
longest=$(jq '.longest_gap_ms' "$PAIR_DIR/client.json")
jq -e --argjson client "$longest" '[.client_out.gap_ms, .client_back.gap_ms] | max | . / $client < 2 and . / $client > 0.1' \
	<<<"$figures" >/dev/null || fail "the client saw a gap of $longest ms, the report has $figures"
echo "the client's longest gap: $longest ms; the report: $figures"

# ---- out of sync ----
sink=$(procs_of hostB "twinvmd replicate sink")
kill -STOP "$sink"
await "$AWAIT_S" "a copy that stands still to be named" out_of_sync
kill -CONT "$sink"
await_pair hostA hostB vm1
