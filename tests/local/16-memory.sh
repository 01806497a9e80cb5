#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A host runs out of memory, which a control group of the kernel's decides for it: the kernel ends the standby there, and neither the
# VM that runs beside it nor the daemon. The VM whose copy it was runs on alone by record, and is protected again
# when there is memory, through a power cut and a planned switch.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

GROUP=
# Makes GROUP, for the backup's daemon, all that it starts, a VM beside it, and what eats the memory.
make_group() {
	local v1=/sys/fs/cgroup/memory v2=/sys/fs/cgroup
	if [[ -e $v1/memory.limit_in_bytes ]]; then
		GROUP=$v1/twinvm-test.$$
		mkdir "$GROUP"
	elif grep -qw memory "$v2/cgroup.controllers" 2>/dev/null; then
		echo +memory >$v2/cgroup.subtree_control
		GROUP=$v2/twinvm-test.$$
		mkdir "$GROUP"
	else
		skip "no control group for memory"
	fi
}
limit() { # BYTES
	echo "$1" >"$GROUP/memory.limit_in_bytes" 2>/dev/null || echo "$1" >"$GROUP/memory.max"
}
used() { cat "$GROUP/memory.usage_in_bytes" 2>/dev/null || cat "$GROUP/memory.current"; }
kills() { cat "$GROUP/memory.oom_control" "$GROUP/memory.events" 2>/dev/null | sed -n 's/^oom_kill //p'; }

make_group
# It can go when the last of its processes has, which end with this script.
(tail --pid=$$ -f /dev/null && rmdir "$GROUP") >/dev/null 2>&1 &
PAIR_ARBITER="file" pair_up
echo "${DAEMON_PID[hostB]}" >"$GROUP/cgroup.procs"
qemu_start hostB beside -M q35 -m 256 -nodefaults -display none -object memory-backend-ram,id=m,size=256M,prealloc=on -machine memory-backend=m
echo "${GUEST_PID[beside]}" >"$GROUP/cgroup.procs"
guest_start hostA vm1
client_start
protect vm1
await_epochs hostA vm1 3
(($(kills) == 0)) || fail "memory was short before"
standby=$(procs_of hostB "qemu-system.*vm1")
# Both hold the guest's memory, which is free only when neither runs.
sink=$(procs_of hostB "twinvmd replicate sink")
for pid in $standby $sink; do
	(($(cat "/proc/$pid/oom_score_adj") == 900)) || fail "process $pid of a copy is no first victim"
done

# What needs the memory is not to be chosen itself. It stops at the first process that the kernel ends. It is in no host: they do
# not see groups.
limit $(($(used) + (32 << 20)))
python3 -c '
import os, signal, sys
group = sys.argv[1]
def killed():
    for name in ("memory.oom_control", "memory.events"):
        if os.path.exists(f"{group}/{name}"):
            return [l for l in open(f"{group}/{name}") if l.startswith("oom_kill ")] != ["oom_kill 0\n"]
signal.alarm(600)
open(f"{group}/cgroup.procs", "w").write("0")
open("/proc/self/oom_score_adj", "w").write("-1000")
kept = []
while not killed():
    kept.append(b"x" * (1 << 20))
print("full", flush=True)
signal.pause()' "$GROUP" >"$PAIR_DIR/eats.log" 2>&1 &
eater=$!
await "$AWAIT_S" "memory to be short: $(cat "$PAIR_DIR/eats.log")" grep -q full "$PAIR_DIR/eats.log"
ended() { ! kill -0 "$1" 2>/dev/null; }
await "$AWAIT_S" "the standby to be ended" ended "$standby"
await_field "$AWAIT_S" hostA vm1 "['state']" "@(alone|syncing)"
goes_on "its standby was ended"
guest_lives beside "memory is short"
kill -0 "${DAEMON_PID[hostB]}" || fail "twinvmd was ended on hostB"
echo "memory was short: the standby was ended, and the VM beside it runs"

kill "$eater"
limit $((4 << 30))
await_pair hostA hostB vm1
await_epochs hostA vm1 3
host_power_cut hostA
client_cut
await_primary hostB vm1
goes_on "after the power cut"
host_back hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_primary hostA vm1
goes_on "after the planned switch"
guest_lives beside "at the end"
client_ends
