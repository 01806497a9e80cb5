#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The end of a disk's mirror, however it comes, while the guest's writes are under way: QEMU (7.2 to 11) writes into
# freed memory when a mirror job of its ends then (hv/attach/clean.c: end_jobs), and sooner or later dies of it. A stock QEMU
# runs with a library that aborts it at the first such write (tests/preload/heapguard.c), and its disk is slow, so that
# some write is under way nearly always. ROUNDS (2), KILL_ROUNDS (5), SEED.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
. tests/lib/pair.sh
. tests/lib/verify.sh

GUARD=$PAIR_B/tools/heapguard.so
goes_on() { verify_goes_on vm1 "$1" 20; } # its disk is slow
clean() { vm_traces vm1 >"$PAIR_DIR/traces" 2>&1; }
is_clean() { # WHAT
	await 20 "a VM without traces: $1" clean || {
		guest_lives vm1 "$1"
		fail "$1: $(cat "$PAIR_DIR/traces")"
	}
}
unprotect() {
	tw hostA unprotect vm1 >"$PAIR_DIR/out" || {
		guest_lives vm1 "unprotect"
		fail "unprotect: $(cat "$PAIR_DIR/out")"
	}
}

# Does the library see a bit that is cleared in freed memory?
dirty_free='
import ctypes
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
p = c.malloc(ctypes.c_size_t(64))
c.free(ctypes.c_void_p(p))
ctypes.cast(p, ctypes.POINTER(ctypes.c_uint8))[9] &= 0xfe'
! (LD_PRELOAD=$GUARD python3 -c "$dirty_free" || false) >/dev/null 2>&1 || fail "the library sees nothing"

pair_up
truncate -s 64M "$PAIR_DIR/disk.raw"
GUEST_ENV="LD_PRELOAD=$GUARD" GUEST_EXTRA='twinvm.verify=/dev/vda' guest_start hostA vm1 \
	-object throttle-group,id=slow,x-iops-write=60 \
	-blockdev "driver=file,filename=$PAIR_DIR/disk.raw,node-name=file" \
	-blockdev driver=throttle,node-name=n0,throttle-group=slow,file=file -device virtio-blk-pci,drive=n0
await 60 "the guest to write to its disk" verify_past 200

# In the middle of the first copy.
host_shape hostA 4mbit
tw hostA protect vm1 --to hostB >"$PAIR_DIR/protect" &
protect=$!
copying() { [[ $(vm_state hostA vm1) = syncing ]] && (($(vm_field hostA vm1 "['disk_bytes']") > 0)); }
await 60 "the first copy of the disk" copying
# shellcheck disable=SC2046 # pids
kill -9 $(procs_of hostB "twinvmd replicate sink")
goes_on "a backup killed in the first copy"
host_shape hostA off
! wait "$protect" || fail "protect says that it went well: $(cat "$PAIR_DIR/protect")"
is_clean "a backup killed in the first copy"
echo "a backup killed in the first copy: the guest keeps running, nothing is left"

for ((round = 1; round <= ${ROUNDS:-2}; round++)); do
	protect vm1
	goes_on "protected"
	unprotect
	goes_on "unprotect"
	is_clean "unprotect"
	protect vm1
	goes_on "protected again"
	# shellcheck disable=SC2046 # pids
	kill -9 $(procs_of hostB "twinvmd replicate sink")
	goes_on "a killed backup"
	await_state 60 hostA vm1 protected
	goes_on "protected after a killed backup"
	# shellcheck disable=SC2046
	kill -9 $(procs_of hostA "twinvmd replicate source")
	goes_on "a killed source"
	await_state 60 hostA vm1 protected
	unprotect
	is_clean "after it all"
	echo "round $round: unprotect, a killed backup, a killed source: the guest keeps running, nothing is left"
done
# A source that dies while it has the VM stopped for the end leaves no stopped VM.
for ((round = 1; round <= ${KILL_ROUNDS:-5}; round++)); do
	protect vm1
	tw hostA unprotect vm1 >"$PAIR_DIR/out" &
	job=$!
	moment 120
	# shellcheck disable=SC2046
	kill -9 $(procs_of hostA "twinvmd replicate source") 2>/dev/null || true
	wait "$job" || true
	goes_on "a source killed while it lets go"
	tw hostA unprotect vm1 >"$PAIR_DIR/out" || true # it may be unprotected already
	is_clean "a source killed while it lets go"
done
echo "a source killed while it lets go: the guest keeps running, nothing is left"
verify_check "at the end"
echo "$PRINTED"
