#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# verify (tests/guest/verify.c) is the witness of whether memory and disk belong to one moment: here it runs on a file
# of this machine, each thing it must notice is done to that file, and it must notice it, and nothing when nothing was.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/verify.sh
VERIFY=$HOSTS_ROOT/${B:-build}/guest/tree/bin/verify

[[ -x $VERIFY ]] || fail "no $VERIFY: run 'make guest'"
dir=$(mktemp -d "$HOSTS_ROOT/${B:-build}/verify-checks.XXXXXX") # not /tmp: O_DIRECT is needed
at_exit() { rm -rf "$dir"; }
hosts_up box other
disk=$dir/disk

local_host=127.0.0.1
goes_on() { await "$AWAIT_S" "writes in $1" verify_past $(($(verify_writes "$1" $local_host) + 300)) "$1" $local_host; }
noticed() { [[ $(verify_ask "$1" box $local_host) = MISMATCH* ]]; }
# start HOST FILE: sets SPAWNED_PID; a fresh file is made when there is none
start() {
	[[ -e $2 ]] || truncate -s 4M "$2"
	host_spawn "$1" "$dir/$1.log" "$VERIFY" "$2" --rate 4000
	await "$AWAIT_S" "verify to answer" verify_past 300 "$1" $local_host
}
pid=
end() {
	[[ -z $pid ]] || kill -9 "$pid"
	pid=
}
begin() {
	end
	rm -f "$disk" "$dir/was" "$dir/box.log"
	start box "$disk"
	pid=$SPAWNED_PID
}
frozen() { # COMMAND...: while verify stands still
	kill -STOP "$pid"
	await 5 "verify to stand still" stopped
	"$@"
	kill -CONT "$pid"
}
stopped() { awk '$3 != "T" {bad = 1} END {exit bad}' /proc/"$pid"/task/*/stat; }
remember() { cp "$disk" "$dir/was"; }
put_back() { dd if="$dir/$1" of="$disk" bs=4096 conv=notrunc status=none "${@:2}"; }

begin
goes_on box
frozen true
goes_on box
[[ $(verify_ask CHECK box $local_host) = ok\ * ]] ||
	fail "noticed something when nothing was done: $(verify_ask CHECK box $local_host)"
frozen remember
end
"$VERIFY" --check "$dir/was" >/dev/null || fail "an image of one moment is not accepted"
echo "nothing done: nothing noticed"

begin
frozen remember
goes_on box
frozen put_back was
await 20 "a disk behind its memory to be noticed" noticed CHECK
grep -q "GUEST MISMATCH" "$dir/box.log" || fail "the console says nothing"
echo "disk behind memory: noticed"

# Another verify continues from a copy, then the first gets that disk: its own future.
begin
frozen remember
start other "$dir/was"
goes_on other
kill -9 "$SPAWNED_PID"
frozen put_back was
await 20 "a disk ahead of its memory to be noticed" noticed STATE
echo "disk ahead of memory: noticed, without reading all of it"

begin
goes_on box
frozen dd if=/dev/zero of="$disk" bs=512 seek=4001 count=256 conv=notrunc status=none
await 20 "torn blocks to be noticed" noticed CHECK
echo "torn blocks: noticed"

begin
goes_on box
frozen remember
frozen put_back was skip=40 count=32 seek=72
await 20 "blocks in the wrong place to be noticed" noticed CHECK
echo "blocks in the wrong place: noticed"

# An image of two moments, half and half of one writer's region.
begin
frozen remember
goes_on box
frozen put_back was count=128
rc=0
end
"$VERIFY" --check "$disk" >"$dir/out" 2>&1 || rc=$?
((rc == 1)) || fail "an image of two moments: exit status $rc: $(cat "$dir/out")"
echo "an image of two moments: noticed"
