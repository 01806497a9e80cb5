#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Epochs of which pages are copied before the pause, while the guest writes all the time: the backup has the same memory as the primary
# (`twinvm verify`), and a VM that runs from such an epoch has memory and disk of one moment.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/verify.sh

# Epochs with the phase `ahead`, as hostA's trace has them.
ahead() { tw hostA trace vm1 --summary --json | jq '[.phases[] | select(.phase == "ahead") | .count] | add // 0'; }
ahead_past() { (($(ahead) > $1)); }

pair_up
truncate -s 32M "$PAIR_DIR/vm1.raw"
GUEST_EXTRA='twinvm.verify=/dev/vda twinvm.load=dirty:2000:100000' guest_start hostA vm1 \
	-drive "file=$PAIR_DIR/vm1.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
await "$AWAIT_S" "the guest to write to its disk" verify_past 0
protect vm1 --mode remus --epoch 300
await_pair hostA hostB vm1
await 120 "epochs that are copied ahead" ahead_past 5

for ((i = 1; i <= 2; i++)); do
	before=$(ahead)
	tw hostA verify vm1 --rate 200 --json >"$PAIR_DIR/report" || fail "verify: $(<"$PAIR_DIR/report")"
	sed -i "/^twinvm: /d" "$PAIR_DIR/report"
	jq -e '.mismatched_pages == 0 and .mismatched_blocks == 0 and .mismatched_parts == 0 and .pages > 30000' "$PAIR_DIR/report" >/dev/null ||
		fail "something differs: $(<"$PAIR_DIR/report")"
	step "nothing differs: $(jq -c '{pages, last_epoch}' "$PAIR_DIR/report"), $(($(ahead) - before)) epochs copied ahead meanwhile"
done

before=$(ahead)
await 120 "one more epoch that is copied ahead" ahead_past "$before"
tw hostA trace vm1 --summary | grep -E "phase|ahead|pause|copy" || true
host_power_cut hostA
await_state "$AWAIT_S" hostB vm1 alone
verify_check "promoted on hostB"
GUEST_PID[vm1]=''
verify_goes_on vm1 "on hostB"
echo "memory and disk agree: $PRINTED"
