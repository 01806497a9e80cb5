#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that rewrites memory all the time over a link throttled to 10 Mbit/s: epochs become longer and
# nothing else. The VM stays protected, the same session continues, heartbeats are in time, and both replicators stay
# below their staging buffers (64 MiB) plus 64 MiB all the while. (The sink also maps the standby's own memory, a
# shared file; that is the VM's memory and not counted: RssAnon and RssFile are.)
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

LIMIT_KIB=$((128 * 1024))
declare -A most=([source]=0 [sink]=0)
# Looks at the memory of both; remembers the most.
weigh() {
	local role host pid kib
	for role in source sink; do
		host=hostA
		[[ $role = sink ]] && host=hostB
		for pid in $(procs_of "$host" "twinvmd replicate $role"); do
			kib=$(awk '/^Rss(Anon|File):/ {n += $2} END {print n + 0}' "/proc/$pid/status" 2>/dev/null || echo 0)
			((kib <= most[$role])) || most[$role]=$kib
			((kib < LIMIT_KIB)) || fail "the $role uses $kib KiB"
		done
	done
}
epoch() { vm_field hostA vm1 "['epoch_committed']"; }
_beyond() {
	weigh
	[[ $(vm_state hostA vm1) = protected ]] || fail "not protected: $(tw hostA status)"
	(($(epoch) >= $1))
}

pair_up
GUEST_EXTRA='twinvm.load=dirty:1500:1000' guest_start hostA vm1
protect vm1 --mode remus
await 20 "epochs at full speed" _beyond 100
fast=$(vm_field hostA vm1 "['epoch_ms']['p50']")
pid=$(procs_of hostA "twinvmd replicate source")
client_start --pause-us 0

host_shape hostA 10mbit
# What status says is a moment old, and two epochs were under way: these do not count.
await 100 "the slow link to be felt" _beyond $(($(epoch) + 8))
at=$(epoch)
begin_us=${EPOCHREALTIME/./}
await 200 "four epochs over the slow link" _beyond $((at + 4))
slow=$(((${EPOCHREALTIME/./} - begin_us) / 4000))
((slow > 2 * ${fast%.*})) || fail "epochs of $slow ms over the slow link, $fast ms before: was it slow?"
[[ $(procs_of hostA "twinvmd replicate source") = "$pid" ]] || fail "another session was begun"
carries=$(vm_field hostA vm1 "['link_bytes_s']")
free=$(vm_field hostA vm1 "['link_headroom']")
((${carries%.*} > 400000 && ${carries%.*} < 1500000)) || fail "the link carries 1250000 bytes/s, and status has link_bytes_s $carries"
[[ $free = 0.[0-4]* ]] || fail "the link is full, and status has link_headroom $free"
host_shape hostA off
await 60 "epochs at full speed again" _beyond $(($(epoch) + 50))
[[ $(procs_of hostA "twinvmd replicate source") = "$pid" ]] || fail "another session was begun"
client_ends
echo "epochs of $fast ms at full speed, $slow ms over the slow link; most memory: source ${most[source]} KiB, sink ${most[sink]} KiB"
grep -E 'SILENCE|PEER_LOST' "$PAIR_DIR"/host?.log && fail "a heartbeat was missed"
tw_must hostA unprotect vm1
vm_traces vm1 || fail "something is left in the VM"
