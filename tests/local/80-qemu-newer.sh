#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The essential promises with a newer QEMU than this Debian's own (tests/qemu/mkqemu.sh): attach, epochs and detach are exact,
# a standby takes over, and a Redis client loses nothing when the host's power is cut, neither between two hosts
# with the newer QEMU nor from one with this machine's own to one with the newer. The other direction is refused beforehand.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_HOSTS="hostA hostB hostC" PAIR_ARBITER=file
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/disk.sh
. tests/lib/diskvm.sh

rc=0
made=$(tests/qemu/mkqemu.sh "${B:-build}" 2>&1) || rc=$?
((rc != 77)) || skip "${made##*$'\n'}"
((rc == 0)) || fail "$made"
newer=$(realpath "${B:-build}/qemu-newer/usr/bin")
version_of() { "$1" -version | sed -nE '1s/.*version ([0-9]+\.[0-9]+).*/\1/p'; }
own=$(version_of qemu-system-x86_64) new=$(version_of "$newer/qemu-system-x86_64")
[[ $own != "$new" ]] || skip "this machine's own QEMU is $own, and backports have nothing newer"
step "this machine's own QEMU is $own, the newer one $new"

# ---- without daemons ----
# try NAME COMMAND...
try() {
	local name=$1 out
	shift
	out=$(PATH=$newer:$PATH timeout 120 "$@" 2>&1) || fail "$name: $(tail -n 5 <<<"$out")"
	step "$new: $name"
}
probe=$PAIR_B/tools/hv_probe promote=$PAIR_B/tools/hv_standby_promote q=qemu-system-x86_64
try "epochs and detach, q35" "${probe}_vm" -n 5 -b $q -M q35 -nodefaults -m 256 -smp 2
try "kills while attached, q35" "${probe}_kill" -b 5 $q -M q35 -nodefaults -m 256 -smp 2
try "epochs and detach, pc with all defaults" "${probe}_vm" -n 5 $q -M pc -m 256
try "output held, pc with all defaults" "${probe}_net" user $q -M pc -m 256
try "epochs and detach, microvm" "${probe}_vm" -n 5 $q -M microvm -m 128 -nodefaults
try "standby, q35" "$promote" $q -M q35 -m 256 -display none
try "standby, promoted twice, this machine's type" "$promote" -r 2 $q -M "pc-q35-$own" -m 256 -display none
try "standby, memory backend" "$promote" $q -M pc,memory-backend=mem0 -m 256 -display none \
	-object memory-backend-memfd,id=mem0,size=256M

# ---- a mirror that starts while the VM writes where nothing was ----
# 9.2 and later miss such a write, unless the job starts from the whole disk (hv/attach/mirror.c). Small clusters and few reads a second make its
# start long enough.
QEMU_BIN[hostA]=$newer
QEMU_BIN[hostB]=$newer
pair_up
tables=256 # of 2 MiB each; what is written lies far apart in the first ones, so that no piece is copied for another reason
qemu-img create -q -f qcow2 -o cluster_size=4096 "$PAIR_DIR/disks.qcow2" $((tables * 2))M
for ((i = 0; i < tables; i++)); do
	echo "write -q -P 1 $((i * 2 + 1))M 4k"
done | qemu-io -f qcow2 "$PAIR_DIR/disks.qcow2" >/dev/null
disks_start -m 64 -object throttle-group,id=slow,x-iops-read=250 \
	-blockdev "driver=qcow2,node-name=n0,file.driver=throttle,file.throttle-group=slow,file.file.driver=file,file.file.filename=$PAIR_DIR/disks.qcow2" \
	-device virtio-scsi-pci -device scsi-hd,drive=n0,id=sd0
tw hostA protect disks --to hostB >"$PAIR_DIR/protect" &
protect=$!
for ((i = 0; i < 1800; i += 10)); do
	kill -0 "$protect" 2>/dev/null || break
	writes=()
	for ((k = i; k < i + 10; k++)); do
		writes+=("qemu-io -d sd0 \"write -P 9 $((64 * k))k 4k\"")
	done
	hmp "${writes[@]}" >/dev/null
done
((i > 0 && i < 1800)) || fail "nothing was written while the disk was copied"
wait "$protect" || fail "protect: $(cat "$PAIR_DIR/protect")"
await_commit
same "$PAIR_DIR/disks.qcow2" qcow2 "$(replica_of hostB)" "a disk that was written to when its mirror started"
tw_must hostA unprotect disks
vm_traces disks >"$PAIR_DIR/traces" || fail "left in the VM: $(cat "$PAIR_DIR/traces")"
kill -9 "${GUEST_PID[disks]}"
step "a disk that was written to when its mirror started: equal"

# ---- with a guest ----
# must_survive NAME IP FROM TO: protects it, cuts FROM's power under a client, and looks at all that is left
must_survive() {
	local CLIENT=$1 GUEST_IP=$2 from=$3 to=$4 clean counter length
	tw_must "$from" protect "$1" --to "$to"
	await_state "$AWAIT_S" "$from" "$1" protected
	client_start
	client_more "$AWAIT_S" 300
	field_is "$from" "$1" "['state']" protected || fail "$1 is not protected: $(tw "$from" status)"
	host_power_cut "$from"
	client_cut
	client_more "$AWAIT_S" 200
	client_ends
	jq -e '.acked_after_outage > 0' "$PAIR_DIR/$1.json" >/dev/null || fail "no answer after the cut: $(<"$PAIR_DIR/$1.json")"
	# shellcheck disable=SC2046 # pids are words
	kill -9 $(procs_of "$to" "qemu-system.*-name $1")
	cp --sparse=always "$(replica_of "$to")" "$PAIR_DIR/$1.replica"
	rm -f "$(replica_of "$to")"
	clean=$(disk_clean "$PAIR_DIR/$1.replica") || fail "the disk is not clean: $clean"
	read -r counter length < <(disk_redis "$PAIR_DIR/$1.replica" "$PAIR_DIR/$1-disk")
	(($(jq .final_counter "$PAIR_DIR/$1.json") <= counter && $(jq .final_length "$PAIR_DIR/$1.json") <= length)) ||
		fail "the disk has $counter and $length: $(<"$PAIR_DIR/$1.json")"
	step "the power of $from was cut: $to continues with $1, its disk is clean and has it all"
}
guest_start_disk hostA vm1
tw_refuses hostA 1 "hostC is older \($own.*install at least the same version" protect vm1 --to hostC
vm_traces vm1 >"$PAIR_DIR/traces" || fail "left in the VM: $(cat "$PAIR_DIR/traces")"
step "from $new to $own: $PRINTED"

# The backup dies while the source attaches: QEMU from 9.1 on keeps an fd set whose connection is gone.
tw hostA protect vm1 --to hostB >"$PAIR_DIR/out" &
protect=$!
has_sink() { [[ -n $(procs_of hostB "twinvmd replicate sink") ]]; } # the source attaches as soon as it is connected
await 10 "hostB's end of the session" has_sink
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostB "twinvmd replicate sink")
await 10 "the session to end" logged hostA "session ends: failed: connection to hostB"
wait "$protect" && fail "protected by a backup that was killed: $(cat "$PAIR_DIR/out")"
await 10 "the source to end" no_procs hostA "twinvmd replicate source"
vm_traces vm1 >"$PAIR_DIR/traces" || fail "a backup killed while the source attached: $(cat "$PAIR_DIR/traces")"
step "a backup killed while the source attached: nothing is left in the VM"
# The killed one had an image of the disk; the VM gets another name on the backup when it is protected anew.
rm -f "$(replica_of hostB)"

must_survive vm1 10.77.0.2 hostA hostB
logged hostA "vm1: QEMU $new.*actively-synced yes" || fail "no word of QEMU $new in hostA's log"
GUEST_NO=3 guest_start_disk hostC vm2
must_survive vm2 10.77.0.3 hostC hostB
logged hostC "vm2: QEMU $own" || fail "no word of QEMU $own in hostC's log"
