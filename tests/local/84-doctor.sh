#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# twinvm doctor. Four rounds of failover, unprotect, protect leave nothing on either host that it does not list; what a VM of twinvm
# needs, or a running QEMU uses, is not offered for removal; its commands remove the rest, and then it lists nothing. And it finds
# what is wrong with a configuration: each fault is made, and named with the remedy.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

# doctor HOST [ARG]...: its answer in $PAIR_DIR/doctor.json
doctor() { host_run "$1" "$PAIR_B/twinvm" doctor --json "${@:2}" >"$PAIR_DIR/doctor.json" 2>"$PAIR_DIR/doctor.err" || fail "doctor on $1: $(<"$PAIR_DIR/doctor.err")"; }
look() { jq -r "$1" "$PAIR_DIR/doctor.json"; }
# finds HOST LEVEL NAME PATTERN [ARG]...: it has that check
finds() {
	local host=$1 level=$2 name=$3 pattern=$4
	shift 4
	doctor "$host" "$@"
	look ".checks[] | select(.level == \"$level\" and .name == \"$name\") | .text" | grep -qE -- "$pattern" ||
		fail "doctor on $host: no $level of $name that matches '$pattern': $(look '.checks[] | select(.level != "ok")')"
}
# Every file and device of a VM on a host, by hand.
by_hand() { # the history of rehearsals is kept when its VM has gone
	host_run "$1" sh -c 'find /var/lib/twinvm /run/twinvm -mindepth 1 -not -path "*/rehearsals/*" | sed -nE "s/.*([0-9a-f]{32}).*/&/p"; ls /proc/sys/net/ipv4/conf | grep -E "^t[vb][0-9a-f]{6}" || true'
}
# all_listed HOST: what by_hand finds is a VM's that twinvm knows, or is in one of the lists (or in a folder that is)
all_listed() {
	local path ids
	doctor "$1"
	ids=$(tw "$1" status --json | jq -r '.[].id')
	while read -r path; do
		[[ -n $path ]] || continue
		[[ -n $ids ]] && grep -q "$(cut -c1-6 <<<"$ids")" <<<"$path" && continue
		look '(.left + .in_use)[].path' | grep -qxF -- "$path" || look '(.left + .in_use)[] | select(.kind == "folder") | .path + "/"' | awk -v p="$path" 'index(p, $0) == 1 { found = 1 } END { exit !found }' ||
			fail "$1: $path is not listed: $(look '.left, .in_use')"
	done < <(by_hand "$1")
}
# remove_left HOST: by the commands that doctor prints
remove_left() {
	local command
	doctor "$1"
	while read -r command; do
		[[ -z $command ]] || host_run "$1" sh -c "$command" || fail "$1: $command"
	done < <(look '.left[].remove')
}

pair_up
arbiter_allow "file://$PAIR_DIR/arbiter"

# ---- four rounds: each leaves the files of one VM's life on both hosts ----
FROM=hostA TO=hostB
guest_start_disk hostA vm1
for round in 1 2 3 4; do
	tw_must $FROM protect vm1 --to $TO --arbiter "file://$PAIR_DIR/arbiter"
	[[ $round != 1 ]] || client_start
	tw_must $FROM failover vm1
	await_pair $TO $FROM vm1
	all_listed hostA
	all_listed hostB
	tw_must $TO unprotect vm1
	await_state "$AWAIT_S" $FROM vm1 none
	[[ $FROM = hostA ]] && FROM=hostB TO=hostA || FROM=hostA TO=hostB
	goes_on "after round $round"
done
all_listed hostA
all_listed hostB
doctor hostA
look '.in_use[] | select(.kind == "file" and .command != "") | .path' | grep -q 'raw$' || fail "hostA: the image of the running VM is not in use: $(look .in_use)"
[[ $(look '[.in_use[] | select(has("remove"))] | length') = 0 ]] || fail "a command to remove what is in use"
[[ $(look '[.left[] | select(.kind == "file") | select(.path | endswith(".raw"))] | length') -ge 1 ]] || fail "hostA: no image is left: $(look .left)"
[[ $(look '[.left[] | select((.remove | startswith("rm") or startswith("ip link del")) and (.since != "") and (.text != ""))] | length') = $(look '.left | length') ]] || fail "$(look .left)"
step "four rounds: $(look '.left | length') left on hostA, all listed"

# ---- its own commands remove them, and the VM that uses the rest does not notice ----
remove_left hostA
remove_left hostB
goes_on "after what is left was removed"
doctor hostA
[[ $(look '.left | length') = 0 ]] || fail "hostA: still left: $(look .left)"
doctor hostB
[[ $(look '.left | length') = 0 && $(look '.in_use | length') = 0 ]] || fail "hostB: still left: $(look '.left, .in_use')"
[[ -z $(by_hand hostB) ]] || fail "hostB has what doctor does not know: $(by_hand hostB)"
tw_must hostA protect vm1 --to hostB --arbiter "file://$PAIR_DIR/arbiter"
doctor hostB
[[ $(look '.left | length') = 0 && $(look '.in_use | length') = 0 ]] || fail "hostB: what a standby needs is listed: $(look '.left, .in_use')"
client_ends
step "removed by the commands that it prints"

# ---- what watches the hardware dies: it is started again, and nothing else happens ----
watchers() { procs_of hostA '^twinvmd hardware' | sort | xargs; }
died=$(watchers)
[[ $died = *" "* ]] || fail "no two processes watch hostA's hardware: $died"
# shellcheck disable=SC2086
kill -KILL $died
watched_again() { [[ -n $(watchers) && $(watchers) != "$died" && $(tw hostA health --json | jq .watched) = true ]]; }
await 30 "hostA's hardware to be watched again" watched_again
field_is hostA vm1 "['state']" protected || fail "vm1: $(tw hostA status)"
finds hostB ok hardware "errors are (watched by|not known here)"
[[ $(tw hostB health hostA --json | jq -r '.host, .answers' | xargs) = "hostA true" ]] || fail "$(tw hostB health hostA)"
step "the hardware is watched again: $(tw hostA health | head -n 1)"

# ---- a configuration without fault, then one fault after the other ----
[[ $(look .problems) = 0 ]] || fail "problems where there are none: $(look '.checks[] | select(.level == "problem")')"
finds hostB ok peer "hostA at 10\.78\.0\.11:7890 admits hostB"
finds hostB ok certificate "valid for"
finds hostB ok bridge "br0"
tw_must hostB doctor
grep -q '^ok  *peer .*admits hostB' <<<"$PRINTED" || fail "doctor: $PRINTED"
with() { # KEY VALUE: for a moment in hostB's configuration
	cp "$PAIR_DIR/hostB.conf" "$PAIR_DIR/hostB.conf.good"
	sed -i "/^$1 *=/d" "$PAIR_DIR/hostB.conf"
	echo "$1 = $2" >>"$PAIR_DIR/hostB.conf"
}
good() { mv "$PAIR_DIR/hostB.conf.good" "$PAIR_DIR/hostB.conf"; }
fault() { # KEY VALUE LEVEL NAME PATTERN
	with "$1" "$2"
	finds hostB "$3" "$4" "$5"
	good
}
fault bridge br7 problem bridge "br7 is missing on hostB"
fault bridge lo problem bridge "lo on hostB is no bridge"
fault media "/nowhere:$PAIR_B" warning media "/nowhere is no folder on hostB"
fault qemu_path /nowhere problem qemu_path "no qemu-system-\* in /nowhere on hostB"
fault sink_user no-such-user problem sink_user "no-such-user"
fault vm_users no-such-user warning vm_users "no user 'no-such-user' on hostB"
fault arbiter file:///nowhere problem arbiter "file:///nowhere"
fault arbiter "file://$PAIR_DIR/arbiter" ok arbiter "answers"
fault state_dir /nowhere problem state_dir "/nowhere cannot be written"
fault no_such_key 1 problem configuration "no_such_key"
fault host hostC problem certificate "is of 'hostB', and this host is 'hostC'"
certs_make "$PAIR_DIR/other" hostB
fault cert "$PAIR_DIR/other/hostB.crt" problem certificate "."
host_link hostA down
finds hostB problem peer "hostA cannot protect VMs of hostB: .*10\.78\.0\.11" --peer hostA
host_link hostA up
finds hostB problem peer "nowhere.invalid" --peer nowhere.invalid:7890
daemon_stop hostB
finds hostB problem twinvmd "start it with 'twinvmd --config $PAIR_DIR/hostB.conf'" --config "$PAIR_DIR/hostB.conf"
[[ $(look '.left | length') = 0 ]] || fail "without twinvmd it is not known what is left: $(look .left)"
step "each fault of a configuration is named"
