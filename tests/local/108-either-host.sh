#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rehearsals ordered on the host that cannot carry them out: it passes them on, shows what comes back, and both hosts have it on
# record. What a peer may not have run here it cannot: a command as a probe, another VM, another command; whoever sends it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

# gets NAME PATTERN ACTION...: what hostA answers to tools/hostile_peer with the certificate of NAME
gets() {
	local as=$1 pattern=$2 out
	shift 2
	out=$(host_run hostB "$PAIR_B/tools/hostile_peer" "$PAIR_DIR"/certs/{ca.crt,"$as".crt,"$as".key} connect "${HOST_REPL_ADDR[hostA]}" 7890 "$@" 2>&1) ||
		fail "hostile_peer $*: $out"
	grep -qE -- "$pattern" <<<"$out" || fail "$as, $*: '$out' does not match '$pattern'"
	[[ ! -e $PAIR_DIR/ran ]] || fail "$as, $*: a peer's command was run"
	step "refused: $(grep -oE '"error": *"[^"]*"|refuse:.*|closed:.*' <<<"$out" | head -n 1)"
}
last_of() { tw "$1" status vm1 --json | jq -r ".rehearsals.$2.last | [.result, .by] | join(\" \")"; }
compares() { [[ $(vm_field hostA vm1 "['rehearsals']['verify']['running']['by']") = "operator on hostB" ]]; }
cut_short() { [[ $(last_of hostA verify) = "cut short operator on hostB" ]]; }
passed_between() { [[ $(tw "$1" events vm1 --json | jq -r "[.[] | select(.kind == \"command-passed\" and .data.command == \"$2\") | .data.$3] | last") = "$4" ]]; }

pair_up
certs_make "$PAIR_DIR/certs" hostC
cat >>"$PAIR_DIR/hostB.conf" <<-'END'
	probe.pong = bash -c 'exec 3<>/dev/tcp/$TWINVM_GUEST/6379; printf "PING\r\n" >&3; read -r x <&3; echo "$x, $TWINVM_HOST"'
END
printf 'peer.hostC = -\nprobe.pong = false\n' >>"$PAIR_DIR/hostA.conf"
daemon_restart hostA
daemon_restart hostB
guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
id=$(vm_field hostA vm1 "['id']")

# ---- where the VM runs: what its backup can do ----
PRINTED=$(tw hostA ready vm1 --json || true)
[[ $(jq -r '.host + " " + (.checks | map(select(.name == "copy"))[0].verdict)' <<<"$PRINTED") = "hostB yes" ]] || fail "ready: $PRINTED"
tw_must hostA test-failover vm1 --json --note "from hostA" --probe redis --probe named:pong --junit "$PAIR_DIR/junit.xml"
[[ $(jq -r '[.result, .host, .note] | join(" ")' <<<"$PRINTED") = "passed hostB from hostA" ]] || fail "$PRINTED"
[[ $(jq -r '.probes[1].output' <<<"$PRINTED") = "+PONG"*", hostB"* ]] || fail "the named probe: $PRINTED"
says "failures=\"0\"" grep "<testsuite" "$PAIR_DIR/junit.xml"
[[ $(last_of hostB test_failover) = "passed operator on hostA" ]] || fail "hostB has: $(last_of hostB test_failover)"
passed_between hostA test-failover to hostB && passed_between hostB test-failover from hostA || fail "no events of it: $(tw hostA events vm1; tw hostB events vm1)"
tw_refuses hostA 3 "runs as root on hostB" test-failover vm1 --probe "touch $PAIR_DIR/ran"
tw_refuses hostA 1 "no probe.nothing in .*hostB" test-failover vm1 --probe named:nothing
tw_refuses hostA 3 "at most 8192" test-failover vm1 --disk-mib 8193
tw_refuses hostA 1 "no test failover of vm1 runs on hostB" test-failover vm1 --stop
[[ ! -e $PAIR_DIR/ran ]] || fail "a peer's command was run"
# A snapshot has the VM's memory, and is written with the rights of who asks: where it is.
tw_refuses hostA 3 "committed epochs are on hostB: give the command there" snapshot vm1 --out "$PAIR_DIR/snapshot"

# ---- on its backup: what the VM's host can do ----
tw_must hostB verify vm1 --json
jq -e '.pages > 0 and .blocks > 0 and .mismatched_pages + .mismatched_blocks + .mismatched_parts == 0' <<<"$PRINTED" >/dev/null || fail "verify: $PRINTED"
[[ $(last_of hostA verify) = "passed operator on hostB" ]] || fail "hostA has: $(last_of hostA verify)"
# Whoever waits goes away: it ends there, too.
host_spawn hostB "$PAIR_DIR/verify.log" "$PAIR_B/twinvm" verify vm1 --rate 0.1
await "$AWAIT_S" "the comparison to begin" compares
kill "$SPAWNED_PID"
await "$AWAIT_S" "the comparison to end with its command" cut_short
await_field "$AWAIT_S" hostA vm1 "['ready']['ready']" True
generation=$(vm_field hostA vm1 "['generation']")
tw_must hostB drill vm1 --note "from hostB"
await_pair hostA hostB vm1
(($(vm_field hostA vm1 "['generation']") == generation + 2)) || fail "it was not there: $(tw hostA status)"
[[ $(last_of hostA drill) = "passed operator on hostB" ]] || fail "hostA has: $(last_of hostA drill)"

# ---- a peer's word, and no operator's ----
command() { jq -cn --arg op "$1" --arg id "$2" "{op: \$op, vm: \$id} + ${3:-{\}}"; }
gets hostC "no VM of that id together with hostC" command="$(command verify "$id" '{rate_mb_s: 1}')" await=reply
gets hostB "no VM of that id" command="$(command verify "${id//[0-9]/f}")" await=reply
gets hostB "no VM of that id" command="$(command verify vm1)" await=reply
for op in failover protect unprotect suspend freeze status events x; do
	gets hostB "no such command" command="$(command "$op" "$id" '{force: true}')" await=reply
done
gets hostB "is not the backup" command="$(command test-failover "$id" "{probes: [\"touch $PAIR_DIR/ran\"]}")" await=reply
gets hostB "no such 'by'" command="$(command drill "$id" '{by: "schedule"}')" await=reply
gets hostB "no such 'rate_mb_s'" command="$(command verify "$id" '{rate_mb_s: "1"}')" await=reply
gets hostB "must be more than 0" command="$(command verify "$id" '{rate_mb_s: -1}')" await=reply
gets hostB "no JSON object" command='[1]'
gets hostB "no JSON object" command=''
gets hostB "no JSON object" command="$(printf '[%.0s' {1..100000})"
# The answer to the first may be there before the second is read.
gets hostB "second Command|no such command" command="$(command x "$id")" command="$(command x "$id")"
gets hostB "unexpected message [Hh]ello after a Command|no such command" command="$(command x "$id")" host=hostB hello
[[ $(vm_field hostA vm1 "['generation']") = $((generation + 2)) && $(vm_state hostA vm1) = protected ]] || fail "$(tw hostA status)"

# ---- a host that takes none ----
echo "peer_commands = no" >>"$PAIR_DIR/hostA.conf"
daemon_restart hostA
await_pair hostA hostB vm1
takes_none() { [[ $(tw hostB verify vm1) = *"give the command there"* ]]; }
await "$AWAIT_S" "hostB to know that hostA takes no commands" takes_none
out=$(tw hostB drill vm1) && fail "a drill on hostB: $out"
[[ $out = *"give the command there"* ]] || fail "$out"
no_procs hostA "^twinvmd (command|pass)" && no_procs hostB "^twinvmd (command|pass)" || fail "left: $(procs_of hostA '^twinvmd (command|pass)')"
echo "passed on, both ways"
