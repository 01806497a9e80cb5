#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The watchdog of a host, played by a FIFO: armed by the first VM with an arbiter, petted while all is well, not while a replicator that
# holds a lease hangs, again when that is over, let go by its magic word when no such VM is left and when the daemon stops.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
. tests/lib/pair.sh

# What has been written to the device until now, without the line ends' own meaning: "." a pet, "V" the magic word.
pets=
listen() {
	local c
	while IFS= read -r -d '' -N 1 -t 0 -u 9 && IFS= read -r -d '' -N 1 -u 9 c; do
		[[ $c = $'\n' ]] && c=.
		pets+=$c
	done
	true
}
pets() { # more than that many since
	listen
	[[ $pets = *$(printf '.%.0s' $(seq "$1"))* ]]
}
lets_go() {
	listen
	[[ $pets = *V ]]
}

pair_up
mkfifo "$PAIR_DIR/watchdog"
exec 9<>"$PAIR_DIR/watchdog"
echo "watchdog = $PAIR_DIR/watchdog" >>"$PAIR_DIR/hostA.conf"
echo 'reprotect = no' >>"$PAIR_DIR/hostB.conf"
daemon_restart hostA
daemon_restart hostB
guest_start hostA vm1
listen
[[ -z $pets ]] || fail "armed without a VM: $pets"

protect vm1
await 20 "pets" pets 5
kill -TERM "${DAEMON_PID[hostA]}"
await 10 "the daemon to let go" lets_go
pets=
daemon_start hostA
await_state 20 hostA vm1 protected
await 20 "pets of the new daemon" pets 5

# ---- the replicator hangs: nobody can tell what the VM says; the backup takes over ----
# Between two epochs: one that hangs in a pause is ended (14-hangs-in-a-pause).
page=$(host_path hostA /run/twinvm)
page=$(echo "$page"/*.page)
python3 tests/tools/stop_in_pause.py "$(procs_of hostA "twinvmd replicate source")" "$page" || fail "no time between two epochs"
await 20 "the doubt to be logged" logged hostA "vm1: its replicator reports nothing"
listen
pets=
await_primary hostB vm1
reported() { (($(grep -c . <<<"$(tw hostA status --json)") > 1)); }
await 10 "hostA's daemon to live" reported
listen
[[ -z $pets ]] || fail "petted in doubt: $pets"

# ---- it continues: its VM is stopped, no VM with an arbiter is left ----
kill -CONT "$(procs_of hostA "twinvmd replicate source")"
await_field 20 hostA vm1 "['kept'][0]['pid']" '[0-9]*' # it has stopped its copy
await 20 "hostA to let go" lets_go
echo "watchdog: petted, doubted, let go"
