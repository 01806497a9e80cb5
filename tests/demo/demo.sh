#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The demo: a VM with a Redis server that keeps its data in an append-only file on a disk loses its host in the middle of a client's work and continues on
# the same TCP connection, with nothing lost. Two network namespaces are the hosts, a third one the
# client. Everything is measured: the client writes down each acknowledged write and reads all of it
# back at the end. Writes build/demo/summary.json (docs: the README); exit status 0 only when no write
# was lost, nothing was seen that never was, and the connection survived.
# usage: demo.sh [--no-build]       --no-build: everything has been installed and built before
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build}
out=$PWD/$B/demo
summary=$out/summary.json

epochs_wanted=100 # committed while the client works, before the cut
writes_after=200  # acknowledged after the cut, before the end

. tests/lib/verdict.sh
die() {
	echo "demo: $*" >&2
	exit 1
}
# quietly LOG COMMAND...
quietly() {
	local log=$1
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		die "'$*' failed; all of its output is in $log"
	}
}

((EUID == 0)) || die "root is needed (network namespaces, tap devices): sudo make demo"
mkdir -p "$out"
rm -f "$out"/*.json "$out"/*.log "$out"/record
if [[ ${1:-} != --no-build ]]; then
	step "installing what is missing, building, making the guest from Debian packages"
	TWINVM_DEPS_LINT=0 tests/deps.sh
	quietly "$out/build.log" make -j"$(nproc)" B="$B" all tools
	quietly "$out/guest.log" make B="$B" guest
fi

. tests/lib/pair.sh
. tests/lib/guest.sh
. tests/lib/disk.sh

at_exit() {
	local status=$1 log
	[[ -n $PAIR_DIR ]] || return 0
	cp "$PAIR_DIR"/*.log "$out/" 2>/dev/null || true
	rm -rf "$PAIR_DIR"
	((status != 0)) || return 0
	for log in hostA hostB qemu console client; do
		[[ -s $out/$log.log ]] || continue
		echo "---- the end of $out/$log.log" >&2
		tail -n 25 "$out/$log.log" >&2
	done
}

# status HOST FILE: the VM's status --json; false while there is none
status() {
	host_run "$1" "$PAIR_B/twinvm" status demo --json >"$2.new" 2>/dev/null && [[ -s $2.new ]] && mv "$2.new" "$2"
}
# has HOST FILE JQ_CONDITION
has() {
	status "$1" "$2" && jq -e "$3" "$2" >/dev/null
}
acked() {
	wc -l <"$out/record"
}
acked_at_least() {
	[[ -e $out/record ]] && (($(acked) >= $1))
}
client_lives() {
	kill -0 "$client_pid" 2>/dev/null
}
works_on() {
	acked_at_least "$1" || ! client_lives
}
committed() {
	jq -r .epoch_committed "$1"
}

step "two hosts and a client, twinvmd on both hosts"
PAIR_ARBITER='file'
pair_up

step "booting the VM on hostA with a plain QEMU command line ($(guest_accel))"
host_tap hostA tap0
guest_disk "$PAIR_DIR/demo.ext4" 64
GUEST_EXTRA='twinvm.disk=/dev/vda' guest_command demo tap0 /run/demo.qmp "$PAIR_DIR/console.log"
host_spawn hostA "$PAIR_DIR/qemu.log" "${GUEST_COMMAND[@]}" \
	-drive "file=$PAIR_DIR/demo.ext4,format=raw,if=none,id=disk0" -device virtio-blk-pci,drive=disk0
qemu_pid=$SPAWNED_PID
booted() { guest_ready "$PAIR_DIR/console.log" || ! kill -0 "$qemu_pid" 2>/dev/null; }
await 180 "the guest to boot" booted
guest_ready "$PAIR_DIR/console.log" || die "the guest did not boot"
await 30 "Redis to answer the client" guest_answers

step "twinvm protect demo --to hostB"
host_run hostA "$PAIR_B/twinvm" protect demo --to hostB || die "protect failed"
await 60 "the VM to be protected" has hostA "$out/status-protected.json" '.state == "protected"'

step "protected; a client writes to Redis over one TCP connection"
host_spawn client "$PAIR_DIR/client.log" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" \
	--out "$out/client.json" --record "$out/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
step "both hosts' copies are compared while the client writes"
host_run hostA "$PAIR_B/twinvm" verify demo --rate 1000 --json >"$out/verify.json" 2>"$out/verify.log" || echo "twinvm verify: $(<"$out/verify.log")"
first=$(committed "$out/status-protected.json")
enough_before() {
	client_lives || return 0
	acked_at_least 100 &&
		has hostA "$out/status-before-cut.json" ".epoch_committed >= $((first + epochs_wanted))"
}
await 120 "$epochs_wanted epochs and 100 acknowledged writes" enough_before
client_lives || die "the client ended before the cut: $(tail -n 1 "$PAIR_DIR/client.log")"
jq -e '.state == "protected"' "$out/status-before-cut.json" >/dev/null || die "the VM is not protected any more"

host_power_cut hostA
kill -USR1 "$client_pid"
at_cut=$(acked)
step "hostA's power was cut after $at_cut acknowledged writes and $(committed "$out/status-before-cut.json") epochs"

await 60 "the client's work to continue" works_on $((at_cut + 1))
if acked_at_least $((at_cut + 1)); then
	step "the VM answers from hostB"
else
	step "no answer came from hostB"
fi
await 60 "$writes_after more writes" works_on $((at_cut + writes_after))
kill -TERM "$client_pid" 2>/dev/null || true
step "the client reads everything back"
client_status=0
wait "$client_job" || client_status=$?
[[ -s $out/client.json ]] || die "the client wrote no report (exit status $client_status)"
status hostB "$out/status-after.json" || echo null >"$out/status-after.json"

step "hostB's VM is switched off; what is on the disk alone?"
host_run hostB kill -9 "$(jq -r .pid "$out/status-after.json")" || true
replicas=("/proc/${HOST_INIT[hostB]}/root/var/lib/twinvm/disks/"*.raw)
cp --sparse=always "${replicas[0]}" "$out/replica.ext4"
fsck=clean
disk_clean "$out/replica.ext4" >"$out/fsck.log" || fsck="not clean: see $out/fsck.log"
read -r disk_counter disk_length < <(disk_redis "$out/replica.ext4" "$PAIR_DIR/from-disk")
rm -f "$out/replica.ext4"

jq -n --slurpfile client "$out/client.json" --slurpfile before "$out/status-before-cut.json" \
	--slurpfile after "$out/status-after.json" --slurpfile verify "$out/verify.json" --arg accel "$(guest_accel)" \
	--arg fsck "$fsck" --argjson counter "$disk_counter" --argjson length "$disk_length" '
	$client[0] as $c | $before[0] as $a | {
		vm: $a.name,
		epochs_committed: $a.epoch_committed,
		acked_writes: $c.acked_writes,
		lost_writes: $c.lost_writes,
		phantom_reads: $c.phantom_reads,
		connection_survived: $c.connection_survived,
		outage_ms: $c.outage_ms,
		pause_ms: {p50: $a.pause_ms.p50, p99: $a.pause_ms.p99},
		raw_bytes: $a.raw_bytes,
		wire_bytes: $a.wire_bytes,
		verify_mismatched_pages: $verify[0].mismatched_pages,
		disk: {fsck: $fsck, counter: $counter, list_length: $length,
			lost_writes: (([$c.final_counter - $counter, 0] | max) + ([$c.final_length - $length, 0] | max))},
		accel: $accel,
		client: $c,
		status_before_cut: $a,
		status_after: $after[0]
	}' >"$summary"

value() { jq -r "$1 | if . == null then \"unknown\" else . end" "$summary"; }
verdict() { jq -e "$1" "$summary" >/dev/null && echo "ok  " || echo "FAIL"; }
passed='.disk.fsck == "clean" and .disk.lost_writes == 0 and .lost_writes == 0 and .phantom_reads == 0 and .connection_survived and .client.acked_after_outage > 0'
cat <<END

A VM running Redis lost its host. What its client saw:

  $(verdict '.connection_survived') TCP connection survived     $(value .connection_survived)
  $(verdict '.lost_writes == 0') writes lost                 $(value .lost_writes) of $(value .acked_writes) acknowledged ($(value .client.acked_after_outage) of them after the cut)
  $(verdict '.phantom_reads == 0') values that never were      $(value .phantom_reads)
  $(verdict '.disk.fsck == "clean"') file system on the disk   $(value .disk.fsck)
  $(verdict '.disk.lost_writes == 0') writes lost on the disk   $(value .disk.lost_writes) (Redis started from the replica alone)
  $(verdict '.outage_ms != null') longest time without answer $(value .outage_ms) ms

Before that: $(value .epochs_committed) epochs committed, the VM paused $(value .pause_ms.p50) ms (median), $(value .pause_ms.p99) ms (99th percentile)
each; $(value .raw_bytes) bytes of changed pages went over the wire as $(value .wire_bytes). All of it: $summary
END
reason=$(value .client.why_broken)
[[ -z $reason ]] || echo "The connection broke: $reason"
jq -e "$passed" "$summary" >/dev/null || die "FAILED"
((client_status == 0)) || die "FAILED: the client's exit status is $client_status"
