#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# twinvm trace: 1,000 epochs of a busy guest, with the clock of the backup's host 5,000 s ahead. The file is what Perfetto reads,
# each epoch is sent before it is applied, the parts of the pauses are the pauses, either host has both halves; a file is
# replaced as a whole or left as it was. The trace outlives twinvmd, the backup, and the beginning of the next session.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

EPOCHS=${EPOCHS:-1000} AHEAD_S=5000
FILE=$PAIR_B/trace.json
check() { # HOST EPOCHS
	tw_must "$1" trace vm1 --out "$FILE"
	python3 tests/tools/trace_check.py "$FILE" "$2" || fail "the trace of $1"
}
about() { python3 -c "import json; print(json.load(open('$FILE'))['otherData']$1)"; }
summary() { # HOST EXPRESSION
	tw_must "$1" trace vm1 --summary --json
	python3 -c "import json, sys; s = json.loads(sys.argv[1]); p = {r['phase']: r for r in s['phases']}; print($2)" "$PRINTED"
}

PAIR_ARBITER="file" pair_up
daemon_restart hostB unshare --time --boottime $AHEAD_S --monotonic $AHEAD_S --fork
GUEST_EXTRA="twinvm.load=dirty:100:5000" guest_start hostA vm1
tw_refuses hostA 1 "no VM 'vm2'" trace vm2 --summary
tw hostA trace vm1 >/dev/null && fail "neither --out nor --summary"
tw hostA trace vm1 --summary --out "$FILE" >/dev/null && fail "both --out and --summary"
protect vm1 --mode remus --epoch 10
await_epochs hostA vm1 3

# ---- the file: as a whole, or not at all ----
echo old >"$PAIR_DIR/kept"
ln "$PAIR_DIR/kept" "$PAIR_DIR/old"
tw_must hostA trace vm1 --out "$PAIR_DIR/kept"
[[ $(<"$PAIR_DIR/old") = old && $(<"$PAIR_DIR/kept") = *traceEvents* ]] || fail "not replaced as a whole"
tw_refuses hostA 1 "cannot be written" trace vm1 --out "$PAIR_DIR/missing/file"
tw_refuses hostA 1 "cannot be written" trace vm1 --out "$PAIR_DIR"
tw hostA trace vm1 --out /dev/full >"$PAIR_DIR/out" && fail "written to a full disk"
grep -q "cannot be written" "$PAIR_DIR/out" || fail "a full disk: $(<"$PAIR_DIR/out")"
compgen -G "$PAIR_DIR/kept.*" >/dev/null && fail "something is left beside the file"

# ---- 1,000 epochs ----
await 150 "$EPOCHS epochs" epochs_past hostA vm1 $((EPOCHS + 5))
check hostA "$EPOCHS"
awk -v ns="$(about "['clock']['backup_offset_ns']")" -v s=$AHEAD_S 'BEGIN {exit !(ns > (s - 1) * 1e9 && ns < (s + 1) * 1e9)}' ||
	fail "the clocks are $(about "['clock']")"
tw_must hostA trace vm1 --summary
echo "$PRINTED"
[[ $(summary hostA "s['parts_ms'] >= 0.95 * s['pause_ms'] > 0 and s['parts_ms'] <= 1.0001 * s['pause_ms']") = True ]] ||
	fail "the pauses and their parts: $PRINTED"
[[ $(summary hostA "p['other']['sum_ms'] <= 0.05 * p['pause']['sum_ms']") = True ]] || fail "what is left of the pauses: $PRINTED"
[[ $(summary hostA "min(p[w]['count'] for w in ('pause', 'save', 'send', 'ack', 'release', 'apply')) >= $EPOCHS") = True ]] ||
	fail "phases are missing: $PRINTED"
[[ $(summary hostA "all(r['p50_ms'] <= r['p99_ms'] <= r['worst_ms'] for r in s['phases'])") = True ]] || fail "$PRINTED"
check hostB "$EPOCHS"
[[ $(about "['recorded_on']") = hostB ]] || fail "the trace of hostB was recorded on $(about "['recorded_on']")"

# ---- a new daemon gets it from the replicator ----
daemon_restart hostA
has_trace() { tw hostA trace vm1 --summary >/dev/null; }
await "$AWAIT_S" "the trace in the new daemon" has_trace

# ---- the backup is lost ----
kill_side hostB
await_state 30 hostA vm1 alone
check hostA "$EPOCHS"
daemon_start hostB
await_state 30 hostA vm1 protected
await_epochs hostA vm1 3
last=$(summary hostA "s['last_epoch']")
tw_must hostA trace vm1 --summary --json --previous
(($(python3 -c "import json, sys; print(json.loads(sys.argv[1])['last_epoch'])" "$PRINTED") >= EPOCHS && last < EPOCHS)) ||
	fail "the session before the loss: $PRINTED"
guest_lives vm1 "at the end"
