#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that was taken over by somebody says that the VM has a higher generation elsewhere. No arbiter has it on record: the VM
# keeps running, and can be protected.
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

# ---- a generation that no arbiter knows of ----
backup "Fenced by the highest generation, at once" fenced=9223372036854775807
backup "Fenced while the first copy is sent" welcome fenced=9223372036854775807
backup "Fenced when it is protected" welcome ack await=sync_end await=epoch_end await=epoch_end fenced=9223372036854775807
protect vm1
echo "$tries times Fenced without a record: the VM keeps running"
