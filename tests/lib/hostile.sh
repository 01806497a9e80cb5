# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A peer that somebody has taken over: hostC, with a valid certificate and a peer line on hostB, tries what it can from
# hostA's place while hostB protects hostA's vm1. Source it; it brings pair.sh.
#
#   hostile_up                    hostA, hostB, vm1 protected, canaries on hostB: a file, a program and a process
#   hello_of CERT                 whose certificate hostile and try use (hostC's, after hostile_up)
#   hostile ACTION...             tools/hostile_peer from hostA to hostB; sets OUT to what it printed
#   try WHAT PATTERN ACTION...    the same; its answer matches, it is not welcome unless PATTERN has that word, the
#                                 canaries live
#   try_words PATTERN WHAT        the description in $PAIR_DIR/try.json; when it is welcome, the standby's command line
#                                 has none of the canaries' names
#   try_argv PATTERN WORD...      those words at the end of the command line
#   try_json WHAT PATTERN FILTER  the description, changed by jq
#   still_protected WHAT          vm1 is
#   hostile_ends N                nothing is left on hostB, and it protects vm1 again; N tries or more were made
#
# CANARY: the file, EVIL: the program, VM1_ID: vm1's id.

# shellcheck source=tests/lib/pair.sh
. "$(dirname "${BASH_SOURCE[0]}")/pair.sh"

HOSTILE_ID=00112233445566778899aabbccddeeff
HOSTILE_SESSION=ffeeddccbbaa99887766554433221100
HOSTILE_TRIES=0

_canary_sum() { (cd "$(host_path hostB /var/lib/canary)" && { find . -printf "%p %s %m %T@\n" && find . -type f -exec cat {} +; } | sha256sum); }
canary_lives() {
	[[ $(_canary_sum) = "$HOSTILE_SUM" ]] || fail "$1: the canary file has changed: $(ls -la "$(host_path hostB /var/lib/canary)")"
	[[ ! -e $PAIR_DIR/evil-ran ]] || fail "$1: a program of the peer's choice was run: $(cat "$PAIR_DIR/evil-ran")"
	kill -0 "$HOSTILE_BIRD" 2>/dev/null || fail "$1: the canary process was ended"
	kill -0 "${DAEMON_PID[hostB]}" || fail "$1: twinvmd on hostB has died"
}

# Sets HELLO to what the tool needs for a good Hello with the certificate of CERT
hello_of() {
	HELLO=("$PAIR_DIR/certs/ca.crt" "$PAIR_DIR/certs/$1.crt" "$PAIR_DIR/certs/$1.key" connect "${HOST_REPL_ADDR[hostB]}" 7890
		host="$1" protocol=4 vm_id="$HOSTILE_ID" vm_name=evil session="$HOSTILE_SESSION" heartbeat_ms=100 arbiter="$PAIR_ARBITER" generation=1
		description="$PAIR_DIR/base.json")
}
# hostile ACTION...: sets OUT to what the tool printed
hostile() {
	OUT=$(host_run hostA "$PAIR_B/tools/hostile_peer" "${HELLO[@]}" "$@" 2>&1) || fail "hostile_peer $*: $OUT"
}
# try WHAT PATTERN ACTION...: a try of hostC's; what it gets as an answer matches
try() {
	local name=$1 pattern=$2
	shift 2
	hostile "$@"
	grep -qiE -- "$pattern" <<<"$OUT" || fail "$name: '$OUT' does not match '$pattern'"
	! grep -q '^welcome' <<<"$OUT" || [[ $pattern = *welcome* ]] || fail "$name: welcome: $OUT"
	canary_lives "$name"
	HOSTILE_TRIES=$((HOSTILE_TRIES + 1))
	printf '%-44s %s\n' "$name" "$(grep -E '^(refuse|closed)' <<<"$OUT" | head -n 1 | cut -c 1-150)"
}
# The standby that HOSTILE_ID has: its output goes to that VM's run directory.
hostile_standby() {
	local pid
	for pid in $(procs_of hostB qemu-system); do
		[[ $(readlink "/proc/$pid/fd/1") != */"$HOSTILE_ID"*/standby.log ]] || echo "$pid"
	done
}
# try_words PATTERN WHAT: the description in try.json; what is welcome must not have come to the standby's command line
try_words() {
	local words
	! [[ $1 = *welcome* ]] || {
		: >"$PAIR_DIR/answer"
		host_spawn hostA "$PAIR_DIR/answer" "$PAIR_B/tools/hostile_peer" "${HELLO[@]}" description="$PAIR_DIR/try.json" hello \
			await=welcome "hold=$PAIR_DIR/hold" bye
		await "$AWAIT_S" "an answer" grep -qE '^(welcome|closed)' "$PAIR_DIR/answer"
		if grep -q '^welcome' "$PAIR_DIR/answer"; then
			words=$(hostile_standby | xargs -I{} cat /proc/{}/cmdline | tr '\0' ' ')
			[[ -n $words ]] || fail "$2: no standby"
			! grep -E 'canary|/etc/shadow|evil[^ ,]*/|:9998|:9997' <<<"$words" || fail "$2: has come to the standby's command line: $words"
			: >"$PAIR_DIR/hold"
		fi
		wait "$SPAWNED_JOB" || true
		OUT=$(<"$PAIR_DIR/answer")
		canary_lives "$2"
		HOSTILE_TRIES=$((HOSTILE_TRIES + 1))
		printf '%-44s %s\n' "$2" "$(head -n 2 "$PAIR_DIR/answer" | tail -n 1 | cut -c 1-150)"
		return
	}
	try "$2" "$1" description="$PAIR_DIR/try.json" hello await=welcome bye
}
# try_argv PATTERN WORD...: those words at the end of the command line
try_argv() {
	local pattern=$1
	shift
	jq --argjson words "$(printf '%s\n' "$@" | jq -R . | jq -s .)" '.argv += $words' "$PAIR_DIR/base.json" >"$PAIR_DIR/try.json"
	try_words "$pattern" "$*"
}
# try_json WHAT PATTERN FILTER: the description changed by jq
try_json() {
	jq "$3" "$PAIR_DIR/base.json" >"$PAIR_DIR/try.json"
	try "$1" "$2" description="$PAIR_DIR/try.json" hello await=welcome bye
}
still_protected() {
	[[ $(vm_state hostA vm1) = protected && $(vm_state hostB vm1) = protected ]] || fail "$1: $(tw hostA status; tw hostB status)"
	epochs_past hostA vm1 0 || fail "$1: no epochs"
}

hostile_up() {
	# Not about time: a host that is busy with other tests must not be given up here.
	PAIR_CONF+=$'\nheartbeat_ms = 300'
	pair_up
	certs_make "$PAIR_DIR/certs" hostC
	echo "peer.hostC = -" >>"$PAIR_DIR/hostB.conf"
	daemon_restart hostB
	host_run hostB mkdir /var/lib/canary
	host_run hostB sh -c 'echo "sing" >/var/lib/canary/file; truncate -s 64M /var/lib/canary/disk'
	HOSTILE_SUM=$(_canary_sum)
	host_spawn hostB "$PAIR_DIR/bird.log" tail -f /dev/null
	HOSTILE_BIRD=$SPAWNED_PID
	mkdir "$PAIR_DIR/evil-bin"
	mkfifo "$PAIR_DIR/hold"
	hello_of hostC
	# shellcheck disable=SC2016
	printf '#!/bin/sh\necho "$0 $*" >>%s\n' "$PAIR_DIR/evil-ran" >"$PAIR_DIR/evil"
	chmod +x "$PAIR_DIR/evil"
	cp "$PAIR_DIR/evil" "$PAIR_DIR/evil-bin/qemu-system-x86_64"
	CANARY=/var/lib/canary/file EVIL=$PAIR_DIR/evil

	# What a real primary sends: the tool stands in for a backup and keeps it.
	qemu_start hostA vm1 -m 64 -display none -nodefaults
	host_spawn hostB "$PAIR_DIR/serve.log" "$PAIR_B/tools/hostile_peer" "$PAIR_DIR/certs/ca.crt" "$PAIR_DIR/certs/hostB.crt" \
		"$PAIR_DIR/certs/hostB.key" serve 7999 dump="$PAIR_DIR/base.json" await=hello refuse=1
	await "$AWAIT_S" "the tool to listen" grep -q listening "$PAIR_DIR/serve.log"
	tw_refuses hostA 3 "no reason" protect vm1 --to "${HOST_REPL_ADDR[hostB]}:7999"
	jq -e '.argv[0]' "$PAIR_DIR/base.json" >/dev/null || fail "no description: $(cat "$PAIR_DIR/serve.log")"
	protect vm1
	VM1_ID=$(vm_field hostA vm1 "['id']")

	# It would work: what is refused below is not refused for another reason.
	hostile hello await=welcome bye
	grep -q '^welcome' <<<"$OUT" || fail "not even an honest Hello is welcome: $OUT"
	canary_lives "an honest Hello"
}

hostile_ends() {
	local left
	hostile hello await=welcome bye # what is kept for a session that was cut goes with its end
	tw_must hostA unprotect vm1
	await "$AWAIT_S" "no standby on hostB" no_procs hostB qemu-system
	await "$AWAIT_S" "no replicator on hostB" no_procs hostB "twinvmd replicate sink"
	left=$(find "$(host_path hostB /var/lib/twinvm/disks)" -type f 2>/dev/null || true)
	[[ -z $left ]] || fail "left on hostB: $left"
	[[ $(tw hostB status) = *"no protected VMs"* ]] || fail "hostB: $(tw hostB status)"
	protect vm1
	canary_lives "at the end"
	((HOSTILE_TRIES >= $1)) || fail "only $HOSTILE_TRIES tries"
	echo "$HOSTILE_TRIES tries of a peer, nothing happened"
}
