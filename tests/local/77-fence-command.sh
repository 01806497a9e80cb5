#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The user's program that switches a host off. Without an arbiter its success, and nothing less, promotes a backup by itself; with one
# it is run and not waited for. A planned switch and a QEMU that died alone are no reason to switch a host off.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

calls() { cat "$PAIR_DIR/fenced" 2>/dev/null | wc -l; }
called() { (($(calls) == $1)); }

pair_up
mkfifo "$PAIR_DIR/answer"
cat >"$PAIR_DIR/fence" <<-END
	#!/bin/bash
	echo "\$1 \$TWINVM_VM \$TWINVM_VM_ID \$TWINVM_HOST \$TWINVM_ADDRESS \$TWINVM_GENERATION" >>$PAIR_DIR/fenced
	read -r status <$PAIR_DIR/answer
	exit "\$status"
END
chmod +x "$PAIR_DIR/fence"
for host in hostA hostB; do
	printf 'fence_command = %s\nfence_required = yes\n' "$PAIR_DIR/fence" >>"$PAIR_DIR/$host.conf"
	daemon_restart "$host"
done
guest_start hostA vm1
protect vm1
id=$(vm_field hostA vm1 "['id']")
client_start

# ---- no arbiter: it fails, nothing is promoted; it succeeds ----
host_power_cut hostA
await_field 20 hostB vm1 "['core']" WAITING
await 20 "the command" called 1
[[ $(<"$PAIR_DIR/fenced") = "hostA vm1 $id hostA 10.78.0.11 1" ]] || fail "called with: $(cat "$PAIR_DIR/fenced")"
n=$(client_acked)
echo 1 >"$PAIR_DIR/answer"
await 20 "the failure to be logged" logged hostB "fence_command against hostA failed (exit status 1)"
await 30 "another try" called 2
field_is hostB vm1 "['core']" WAITING || fail "promoted although the host may run: $(tw hostB status)"
no_answer_since "$n" "while the host may run"
echo 0 >"$PAIR_DIR/answer"
goes_on "after the host was switched off"
await_primary hostB vm1
echo "no arbiter: promoted by the command's success"

# ---- the host is well: nothing to switch off ----
host_back hostA
await_state 60 hostB vm1 protected
tw_must hostB failover vm1
goes_on "switched by plan"
await_state 60 hostA vm1 protected
kill -9 "$(procs_of hostA "qemu-system.*vm1")"
goes_on "after QEMU was killed"
await_primary hostB vm1
await_state 60 hostB vm1 protected
called 2 || fail "a host that is well was to be switched off: $(cat "$PAIR_DIR/fenced")"

# ---- with an arbiter: not waited for ----
tw_must hostB unprotect vm1
await_state 20 hostA vm1 none
tw_must hostB protect vm1 --to hostA --arbiter "file://$PAIR_DIR/arbiter"
host_power_cut hostB
goes_on "without waiting for the command"
await 10 "the command" called 3
echo 0 >"$PAIR_DIR/answer"
await 10 "its end" logged hostA "fence_command reports that hostB is off"

client_ends

# ---- what cannot be run is reported at once ----
rc=0
printf 'fence_command = %s\n' "$PAIR_DIR/nothing" >>"$PAIR_DIR/hostB.conf"
out=$("$PAIR_B/twinvmd" --config "$PAIR_DIR/hostB.conf" 2>&1) || rc=$?
((rc == 1)) && grep -q "fence_command .* is not an executable program" <<<"$out" || fail "a command that is not there: $rc: $out"
