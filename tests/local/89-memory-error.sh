#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A memory error in a protected VM, as QEMU reports it (the monitor's `mce` stands in for the hardware): the VM continues on
# its backup, from the last epoch before the error, as if there had been none: its guest does not boot again, its client loses
# neither an answer nor its connection. With and without an arbiter; with a guest that is reset for it, and one whose
# QEMU ends for it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
UNCORRECTED="mce 0 9 0xbd000000000000c0 0x5 0x1234000 0x8c"

# mce HOST: the VM's QEMU, which this hits, may be ended for it before its monitor answers.
mce() { host_run "$1" python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$UNCORRECTED" >"$PAIR_DIR/mce" 2>&1 || true; }
field() { tw "$1" events vm1 --json | jq -r "[.[] | select(.kind == \"$2\")] | last | $3"; }
# hit FROM TO: ends with the VM protected the other way round.
hit() {
	local generation why
	generation=$(vm_field "$1" vm1 "['generation']")
	mce "$1"
	await_primary "$2" vm1
	(($(vm_field "$2" vm1 "['generation']") == generation + 1)) || fail "$2: $(tw "$2" status)"
	goes_on "on $2"
	[[ $(field "$2" failover .data.cause) = memory ]] || fail "$2 says: $(tw "$2" events vm1)"
	# This is not a host to come back to, until an operator has looked.
	tw "$1" health --json | jq -e '.state == "red" and any(.causes[]; .rule == 14 and .what == "vm1")' >/dev/null || fail "$1: $(tw "$1" health)"
	tw "$1" health --clear >/dev/null
	await_pair "$2" "$1" vm1
	(($(procs_of "$1" "qemu-system.*vm1" | wc -l) == 1)) || fail "$1 has more than its standby"
	why=$(tw "$1" events vm1)
	if ((ENDS)); then
		[[ $why = *"vm-ended "*"memory error"* ]] || fail "$1 says: $why"
	else
		[[ $(field "$1" switched .data.cause) = memory ]] || fail "$1 says: $why"
	fi
	goes_on "protected by $1"
}
# begin ARGS... -- PROTECT'S ARGS: the guest's kernel does not know machine checks, so QEMU resets it; with -no-reboot, it ends.
begin() {
	local args=()
	while [[ $1 != -- ]]; do
		args+=("$1")
		shift
	done
	guest_start_disk hostA vm1 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off" "${args[@]}"
	client_start
	protect vm1 "${@:2}"
	client_more 200 20
	hit hostA hostB
	echo "$(client_acked) answers"
	tw hostA events vm1 | grep -E ' (warning|switched|vm-ended) '
	tw hostB events vm1 | grep -E ' failover '
	client_ends
}

for ENDS in 1 0; do (
	pair_up
	if ((ENDS)); then begin --; else begin -action reboot=reset -- --arbiter "file://$PAIR_DIR/arbiter"; fi
); done
