#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The three triggers, on a pc machine: each keeps a client's writes; an idle VM is checkpointed often by remus, and once a
# second by adaptive and kemari; a talking VM is answered sooner by kemari and adaptive than by remus with a long
# epoch. Last, the two-step harvest that KVM uses, through a power cut.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh

# Committed epochs and frames, of one moment: a status can be a heartbeat old, and the client was busy until just now.
epochs_frames() { vm_field hostA vm1 "['epoch_committed'], s['released_frames'] + s['held_frames']"; }
# Epochs of an idle VM within two seconds in which it sent nothing: each frame is a reason for one.
idle_epochs() {
	local epochs frames epochs_after frames_after tries
	for ((tries = 0; tries < 10; tries++)); do
		read -r epochs frames < <(epochs_frames)
		let_pass 2
		read -r epochs_after frames_after < <(epochs_frames)
		[[ $frames != [0-9]* || $frames != "$frames_after" ]] || break
	done
	((tries < 10)) || fail "the VM is never idle" >&2
	echo $((epochs_after - epochs))
}
json() { python3 -c "import json; print(json.load(open('$PAIR_DIR/$1.json'))$2)"; }
client() { # NAME COUNT: writes, and their median time in ms
	host_run client "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --count "$2" --prefix "$1" \
		>"$PAIR_DIR/$1.json" || fail "$1: $(cat "$PAIR_DIR/$1.json")"
	json "$1" "['rtt_ms_before']['p50']"
}
more() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a > b)}'; }

pair_up
GUEST_MACHINE=pc guest_start hostA vm1
declare -A idle rtt
for mode in remus adaptive kemari; do
	protect vm1 --mode $mode --epoch 100
	[[ $(vm_field hostA vm1 "['mode']") = "$mode" ]] || fail "the mode is not $mode"
	rtt[$mode]=$(client $mode 60)
	idle[$mode]=$(idle_epochs)
	tw_must hostA unprotect vm1
	echo "$mode: ${idle[$mode]} epochs in 2 s of idleness, ${rtt[$mode]} ms a write"
done
((idle[remus] > 2 * idle[adaptive] && idle[remus] > 2 * idle[kemari])) || fail "idle epochs: ${idle[*]}"
more "${rtt[remus]}" "${rtt[adaptive]}" || fail "adaptive answers no sooner than remus"
more "${rtt[remus]}" "${rtt[kemari]}" || fail "kemari answers no sooner than remus"

daemon_restart hostA TWINVM_TWO_STEP=1
protect vm1
client_start --timeout-ms 30000 --pause-us 0 --prefix last
client_more 30 100
host_power_cut hostA
client_more "$AWAIT_S" 50
client_ends
echo "two-step harvest: power cut survived, longest gap $(json client "['longest_gap_ms']") ms"
