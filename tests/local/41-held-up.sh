#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Heartbeats come from a thread of their own. The loop of a replicator is held up, by itself, while everything else on its host is
# well. For a while that is nothing: its heartbeats continue, nobody takes over and no session ends. For ever it is the end of this
# session: the primary runs alone without a backup that hangs, and the backup takes over from a primary that hangs, however its
# heartbeats continued.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
H_MS=200
PAIR_CONF="heartbeat_ms = $H_MS"
. tests/lib/pair.sh

# The first thread of the only process in HOST whose arguments match is the loop.
hold_up() {
	local pid
	pid=$(procs_of "$1" "twinvmd replicate")
	[[ $pid =~ ^[0-9]+$ ]] || fail "not one replicator on $1: '$pid'"
	mkfifo "$PAIR_DIR/hold"
	"$PAIR_B/tools/hold_thread" "$pid" <"$PAIR_DIR/hold" >"$PAIR_DIR/held" 2>&1 &
	HOLDER=$!
	exec 7>"$PAIR_DIR/hold"
	await "$AWAIT_S" "the loop on $1 to be held up" grep -q held "$PAIR_DIR/held"
}
let_go() {
	exec 7>&-
	wait "$HOLDER" || fail "the loop was not held up: $(<"$PAIR_DIR/held")"
	rm "$PAIR_DIR/hold"
}

quiet_so_far() {
	! logged hostA 'LEASE_OVER: PROTECTED\|PEER_LOST' || fail "$1: the primary noticed"
	! logged hostB 'SILENCE' || fail "$1: the backup noticed"
	(($(times_logged hostA 'PAIR_RECORDED') == 2)) || fail "$1: it was protected anew"
}

pair_up

# Beside a guest that rewrites 64 MiB at full speed no gap between heartbeats looks like a dead host.
GUEST_EXTRA="twinvm.load=dirty:16384" guest_start hostA busy
protect busy
await_pair hostA hostB busy
gaps=$(host_run hostB python3 tests/tools/beat_gaps.py 8) || fail "$gaps"
awk '{ exit !($6 < 2.5 * '$H_MS') }' <<<"$gaps" || fail "beside a busy guest: $gaps ms"
echo "beside a busy guest, H = $H_MS ms: $gaps ms"
tw_must hostA unprotect busy
kill -9 "${GUEST_PID[busy]}"

guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start

# Longer than a dead host is waited for (2.5 H), shorter than a stuck one (10 H).
for host in hostA hostB; do
	for _ in 1 2 3; do
		hold_up "$host"
		let_pass "$(printf '0.%03d' $((H_MS * 9 / 2)))"
		let_go
		goes_on "after the loop on $host was held up"
		await_epochs hostA vm1 3
	done
	quiet_so_far "the loop on $host was held up"
	echo "ok held up for a while on $host"
done

# A backup that hangs.
hold_up hostB
await "$AWAIT_S" "the primary to run alone" logged hostA 'ALONE_RECORDED: [A-Z]* -> ALONE'
goes_on "while the backup hangs"
let_go
await_state "$AWAIT_S" hostA vm1 protected
! logged hostB 'ASKING -> PROMOTING' || fail "a backup that hung took over"
echo "ok the backup hangs"

# A primary that hangs: its QEMU runs on, and nothing of it leaves.
await_pair hostA hostB vm1
hold_up hostA
client_cut
await "$AWAIT_S" "the backup to take over" logged hostB 'ASKING -> PROMOTING'
goes_on "while the former primary hangs"
await_primary hostB vm1
let_go
await "$AWAIT_S" "the former primary to be fenced" logged hostA ': [A-Z]* -> FENCED'
client_more "$AWAIT_S" 50
client_ends
