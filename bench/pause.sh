#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# bench/pause: how long an epoch pauses the VM, against the floor on the same VM in the same run: QEMU's own
# stop, save of device state, and cont. A program outside the guest writes 100, 500, 2000 and 5000 pages that the guest does
# not use, many times an epoch; rounds of both alternate, and the medians of rounds are compared.
# Writes BUILD/bench/pause.json, adds to BUILD/bench/results.json, and a table. ROUNDS (3), EPOCHS a round (120).
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib/pair.sh
. bench/lib.sh
ROUNDS=${ROUNDS:-3}
EPOCHS=${EPOCHS:-120}
tool=$PAIR_B/bench/pause_tool

_epochs() { (($(vm_field hostA vm1 "['epoch_committed']") >= $1)); }

pair_up
GUEST_EXTRA=$GUEST_RESERVE guest_start hostA vm1
qmp=${GUEST_QMP[vm1]}
read -r hva _ < <("$tool" hva "$qmp")
at=$((hva + GUEST_RESERVE_ADDR))

mkdir -p "$PAIR_B/bench"
json=
printf '%8s %10s %10s %10s %10s %8s\n' pages pause_p50 pause_p99 floor_p50 floor_p99 ratio
for pages in 100 500 2000 5000; do
	"$tool" dirty "${GUEST_PID[vm1]}" $at $pages 5 &
	dirtier=$!
	: >"$PAIR_DIR/pause"
	: >"$PAIR_DIR/floor"
	for ((r = 0; r < ROUNDS; r++)); do
		"$tool" floor "$qmp" "$EPOCHS" 25 >>"$PAIR_DIR/floor"
		tw hostA protect vm1 --to hostB --mode remus --epoch 25 >/dev/null
		await 60 "$EPOCHS epochs" _epochs "$EPOCHS"
		vm_field hostA vm1 "['pause_ms']['p50'], s['pause_ms']['p99'], s['dirty_pages']['p50']" >>"$PAIR_DIR/pause"
		tw hostA unprotect vm1 >/dev/null
	done
	kill $dirtier
	wait $dirtier 2>/dev/null || true
	tr -d '(),' <"$PAIR_DIR/pause" >"$PAIR_DIR/pause.txt"
	p50=$(awk '{print $1}' "$PAIR_DIR/pause.txt" | median) p99=$(awk '{print $2}' "$PAIR_DIR/pause.txt" | median)
	f50=$(awk '{print $1}' "$PAIR_DIR/floor" | median) f99=$(awk '{print $2}' "$PAIR_DIR/floor" | median)
	dirty=$(awk '{print $3}' "$PAIR_DIR/pause.txt" | median)
	((${dirty%.*} >= pages)) || {
		echo "only $dirty pages were dirty in an epoch, not $pages" >&2
		exit 1
	}
	ratio=$(awk -v a="$p50" -v b="$f50" 'BEGIN {printf "%.2f", a / b}')
	printf '%8d %10.3f %10.3f %10.3f %10.3f %8s\n' $pages "$p50" "$p99" "$f50" "$f99" "$ratio"
	case $pages in
	500)
		result pause_vs_floor_p50 "$ratio"
		result pause_vs_floor_p99 "$(awk -v a="$p99" -v b="$f99" 'BEGIN {printf "%.2f", a / b}')"
		result pause_p99_vs_p50 "$(awk -v a="$p99" -v b="$p50" 'BEGIN {printf "%.2f", a / b}')"
		few=$p50
		;;
	2000) result pause_ms_per_1000_pages "$(awk -v a="$p50" -v b="$few" 'BEGIN {printf "%.3f", (a - b) / 1.5}')" ;;
	5000) result pause_vs_floor_p50_5000 "$ratio" ;;
	esac
	json+="${json:+,}{\"pages\":$pages,\"dirty_pages_p50\":$dirty,\"pause_ms_p50\":$p50,\"pause_ms_p99\":$p99,\"floor_ms_p50\":$f50,\"floor_ms_p99\":$f99,\"pause_vs_floor_p50\":$ratio}"
done
echo "[$json]" >"$PAIR_B/bench/pause.json"
