# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM named "disks" on hostA whose disks are written from outside, through its own block layer as a guest's
# writes are, and compared with their replicas. Source it after pair.sh. The VM has its human monitor at
# $PAIR_DIR/disks.hmp and its output in $PAIR_DIR/disks-qemu.log.
#
#   disks_start ARGS...         starts the VM with these disks
#   io DISK COMMAND...          qemu-io commands; each must succeed
#   await_commit                what was written until now is committed
#   same IMAGE FORMAT RAW WHAT  an image and a replica have the same contents

command -v qemu-img >/dev/null || skip "qemu-img is not installed"

disks_start() {
	qemu_start hostA disks -M q35 -m 64 -nodefaults -display none \
		-monitor "unix:$PAIR_DIR/disks.hmp,server=on,wait=off" "$@"
}
hmp() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/disks.hmp" "$@"; }
done_writes() { grep -cE '^(wrote|discard) ' "$PAIR_DIR/disks-qemu.log" || true; }

io() {
	local disk=$1 c n out lines=()
	shift
	for c; do
		lines+=("qemu-io $disk \"$c\"")
	done
	n=$(done_writes)
	out=$(hmp "${lines[@]}")
	# qemu-io reports success on QEMU's own output.
	(($(done_writes) == n + $#)) || fail "writes of the VM failed: $out"
}
# What was written until now is committed: an epoch that began after it is.
await_commit() { await_epochs hostA disks 4; }
same() { # IMAGE FORMAT REPLICA WHAT
	qemu-img compare -U -f "$2" -F raw "$1" "$3" >"$PAIR_DIR/out" 2>&1 || fail "$4: $(cat "$PAIR_DIR/out")"
}
