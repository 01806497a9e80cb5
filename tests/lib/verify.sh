# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that writes random blocks of its disk and keeps in memory what each of them holds (tests/guest/verify.c): do
# memory and disk belong to one moment? Source it after pair.sh, or after hosts.sh to only ask. HOST and ADDRESS: from where and whom to ask, else
# the guest, from the client.
#
#   verify_start HOST NAME [ARGS...]    such a guest with a disk of 32 MiB, $PAIR_DIR/NAME.raw; waits until it writes
#   verify_ask QUESTION [HOST ADDRESS]  its one line; STATE: how far it is, CHECK: reads everything again
#   verify_past N [HOST ADDRESS]        has it done more than N writes?
#   verify_goes_on NAME WHAT [N]        it does N more (100), and its QEMU lives; WHAT says when that is
#   verify_check WHAT                   memory and disk are of one moment; sets PRINTED

verify_ask() {
	host_run "${2:-client}" timeout 60 bash -c \
		"exec 3<>/dev/tcp/${3:-$GUEST_IP}/7001 && echo $1 >&3 && read -r x <&3 && echo \"\$x\"" 2>/dev/null
}
verify_writes() { verify_ask STATE "$@" | sed -nE 's/.*writes=([0-9]+).*/\1/p'; }
verify_past() {
	local n
	n=$(verify_writes "${@:2}") || true
	((${n:-0} > $1))
}
verify_start() {
	truncate -s 32M "$PAIR_DIR/$2.raw"
	GUEST_EXTRA='twinvm.verify=/dev/vda' guest_start "$1" "$2" \
		-drive "file=$PAIR_DIR/$2.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0 "${@:3}"
	await "$AWAIT_S" "the guest to write to its disk" verify_past 0
}
verify_goes_on() {
	local n
	guest_lives "$1" "$2"
	n=$(verify_writes) || n=
	[[ -n $n ]] || {
		guest_lives "$1" "$2"
		fail "the guest does not answer: $2"
	}
	await "$AWAIT_S" "the guest to write: $2" verify_past $((n + ${3:-100})) || {
		guest_lives "$1" "$2"
		fail "the guest does not write: $2"
	}
	guest_lives "$1" "$2"
}
verify_check() {
	PRINTED=$(verify_ask CHECK) || fail "$1: the guest does not answer"
	[[ $PRINTED = ok\ * && $PRINTED = *' mismatches=0 errors=0 '* ]] || fail "$1: $PRINTED"
}
