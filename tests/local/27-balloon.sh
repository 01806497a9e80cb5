#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM whose RAM is shared memory, and of which a balloon and free page reporting discard pages: as it was started, and as a
# standby that was promoted. The balloon moves while it is protected, there is a power cut, a planned switch and another power cut.
# Disk and memory of the guest agree, and so do a digest and the memory that it was made of.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/verify.sh

in_guest() { # COMMAND: sets PRINTED to its line
	PRINTED=$(host_run client timeout 60 bash -c \
		"exec 3<>/dev/tcp/$GUEST_IP/7002 && echo '$1' >&3 && read -r x <&3 && echo \"\$x\"") || fail "the guest's shell: $1"
}
# held PID: MiB that its memory file holds
held() { echo $(($(stat -Lc %b "/proc/$1/map_files/$(sed -nE 's/^([0-9a-f]+-[0-9a-f]+) .*memfd:.*/\1/p' "/proc/$1/maps" | head -n 1)") / 2048)); }
holds_less() { (($(held "$1") < $2)); }
balloon() { # SOCKET MIB: the guest is to have so much
	PRINTED=$(python3 tests/tools/qmp.py "$1" balloon "{\"value\": $(($2 << 20))}") || fail "balloon $2 MiB: $PRINTED"
}
# Memory that is written, read, freed and reported, and used again; /tmp/keep and its digest stay.
churn() {
	in_guest 'dd if=/dev/urandom of=/tmp/keep bs=1M count=16 2>/dev/null; md5sum </tmp/keep >/tmp/sum; cat /tmp/sum'
	in_guest 'for i in 1 2; do cat /tmp/keep /tmp/keep /tmp/keep >/tmp/x; rm /tmp/x; done; echo over'
	[[ $PRINTED = over ]] || fail "the guest's shell says: $PRINTED"
}
# Is what the guest keeps what it was?
kept() {
	local sum
	in_guest 'cat /tmp/sum'
	sum=$PRINTED
	in_guest 'md5sum </tmp/keep'
	[[ $sum = ????????????????????????????????* && $PRINTED = "$sum" ]] || fail "$1: the guest's memory has $PRINTED, not $sum"
	verify_check "$1"
}
pid_of() { procs_of "$1" "qemu-system.*vm1" | head -n 1; }
# reports PID WHERE: the guest frees memory, and some of it is discarded
reports() {
	local before
	churn
	in_guest 'dd if=/dev/zero of=/tmp/y bs=1M count=120 2>/dev/null; echo over'
	before=$(held "$1")
	in_guest 'rm /tmp/y; echo over'
	await "$AWAIT_S" "free pages to be discarded ($2)" holds_less "$1" $((before - 60))
}

pair_up
truncate -s 32M "$PAIR_DIR/vm1.raw"
GUEST_MACHINE=q35,memory-backend=m0 GUEST_EXTRA='twinvm.verify=/dev/vda twinvm.shell=1' guest_start hostA vm1 \
	-object memory-backend-memfd,id=m0,size=512M,share=on \
	-qmp "unix:$PAIR_DIR/second.qmp,server=on,wait=off" \
	-device virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on \
	-drive "file=$PAIR_DIR/vm1.raw,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
await "$AWAIT_S" "the guest to write to its disk" verify_past 0

step "protected as it was started: the balloon moves"
protect vm1
await_pair hostA hostB vm1
churn
in_guest 'dd if=/dev/zero of=/tmp/y bs=1M count=120 2>/dev/null; echo over'
before=$(held "${GUEST_PID[vm1]}") # free pages are reported, too, from when they are free
in_guest 'rm /tmp/y; echo over'
balloon "$PAIR_DIR/second.qmp" 300
await "$AWAIT_S" "the balloon to discard pages" holds_less "${GUEST_PID[vm1]}" $((before - 60))
await_epochs hostA vm1 3
(($(held "${GUEST_PID[vm1]}") < before - 60)) || fail "the copy filled what the balloon had discarded"
balloon "$PAIR_DIR/second.qmp" 512
await_epochs hostA vm1 3
host_power_cut hostA
GUEST_PID[vm1]=
verify_goes_on vm1 "on hostB"
kept "on hostB"

step "protected again where it was promoted"
host_back hostA
await_pair hostB hostA vm1
reports "$(pid_of hostB)" "on hostB"
await_epochs hostB vm1 3
tw_must hostB failover vm1
verify_goes_on vm1 "on hostA after a planned switch"
kept "on hostA"
await_pair hostA hostB vm1
churn
await_epochs hostA vm1 3
host_power_cut hostA
verify_goes_on vm1 "on hostB again"
kept "on hostB again"
