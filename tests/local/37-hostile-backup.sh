#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that was taken over by somebody: it has hostB's certificate and answers with nonsense, before the VM is protected and
# after. Each time the session ends or what came is ignored; the VM keeps running, its clients are answered, and nothing of
# twinvm stays in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/pair.sh

tries=0
# backup WHAT ACTION...: hostile_peer as the backup of one protection
backup() {
	local name=$1 job
	shift
	: >"$PAIR_DIR/answer"
	host_spawn hostB "$PAIR_DIR/answer" "$PAIR_B/tools/hostile_peer" "$PAIR_DIR/certs/ca.crt" "$PAIR_DIR/certs/hostB.crt" \
		"$PAIR_DIR/certs/hostB.key" serve 7999 await=hello "$@"
	job=$SPAWNED_JOB
	await "$AWAIT_S" "the tool to listen" grep -q listening "$PAIR_DIR/answer"
	tw hostA protect vm1 --to "${HOST_REPL_ADDR[hostB]}:7999" >"$PAIR_DIR/protect" 2>&1 || true
	wait "$job" || fail "$name: $(cat "$PAIR_DIR/answer")"
	guest_lives vm1 "$name"
	await 20 "the guest to answer after: $name" guest_answers
	tw hostA unprotect vm1 >/dev/null 2>&1 || true
	await_state "$AWAIT_S" hostA vm1 none
	unchanged vm1 "$before" "$name"
	kill -0 "${DAEMON_PID[hostA]}" || fail "$name: twinvmd on hostA has died"
	tries=$((tries + 1))
	printf '%-44s %s\n' "$name" "$(cut -c 1-120 "$PAIR_DIR/protect" | tail -n 1)"
}

pair_up
guest_start hostA vm1
before=$(vm_traces vm1)

# ---- instead of a Welcome ----
backup "Committed before Welcome" committed=1
backup "a Hello" hello
backup "TakeOver" take-over=1
backup "a Welcome of another generation" welcome=99 committed=1
backup "records" records=65536
backup "a refusal without a code" refuse=0
backup "the end" bye

# ---- while the first copy is sent ----
backup "hashes without end" welcome hashes=20000
backup "an epoch that was never sent" welcome committed=1
backup "the last epoch of all" welcome committed=18446744073709551615
backup "echoes of heartbeats that were never sent" welcome echo=1000 committed=7
backup "Welcome twice" welcome welcome committed=9

# ---- when it is protected ----
backup "an epoch to come" welcome ack await=sync_end await=epoch_end await=epoch_end committed=1000000
backup "echoes from the future" welcome ack await=sync_end await=epoch_end await=epoch_end echo=1000 committed=1000000
backup "a refusal" welcome ack await=sync_end await=epoch_end await=epoch_end refuse=3
backup "marks of its own" welcome ack await=sync_end await=epoch_end await=epoch_end begin=1 end=1
backup "records of its own" welcome ack await=sync_end await=epoch_end await=epoch_end records=65536

protect vm1
echo "$tries times nonsense from a backup: the VM keeps running"
