#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The backup's kernel takes a page of the standby's memory away that no epoch writes: the session ends with that reason
# and without a crash, the VM runs on alone by record, the host is yellow. Cleared, it gets a standby in other memory, which is
# promoted when the primary dies: the client loses nothing, the guest does not boot again.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

health() { tw hostB health --json | jq -r "$1"; }
event() { tw "$1" events vm1 --json | jq -r "[.[] | select(.kind == \"$2\")] | last | $3"; }
sink_of_b() { host_run hostB "$LAB_BUSYBOX" ps w | awk '/twinvmd replicate sink/ { print $1; exit }'; }
# A page in the middle of the standby's memory file that the sink has written; in hex.
standby_pfn() {
	local first word
	first=$(host_run hostB cat "/proc/$1/maps" | python3 -c '
import sys
ranges = [[int(x, 16) for x in l.split()[0].split("-")] for l in sys.stdin if "/memfd:twinvm-ram" in l]
print(ranges[0][0] // 4096 + 4096)')
	while read -r word; do
		(((0x$word >> 63 & 1) == 0)) || {
			printf '0x%x\n' $((0x$word & 0x7fffffffffffff))
			return
		}
	done < <(host_run hostB sh -c "$LAB_BUSYBOX dd if=/proc/$1/pagemap bs=8 skip=$first count=4096 2>/dev/null |
		$LAB_BUSYBOX od -An -v -t x8 -w8" | tr -d ' ')
	fail "the standby has no page there"
}
ended() { [[ $(event hostB standby-ended .text) = *"a memory error of this host"* ]]; }
is_alone() { [[ $(event hostA alone .data.reason) = "hostB: a memory error of this host"* ]]; }

labpair_working
sink=$(sink_of_b)
pfn=$(standby_pfn "$sink")
host_run hostB sh -c "echo $pfn >/sys/kernel/debug/hwpoison/corrupt-pfn"
step "page $pfn of the standby's memory is gone"
await 60 "the end of the standby" ended
await 60 "the VM to run alone by record" is_alone
[[ $(event hostB replicator-died .text) = null ]] || fail "the replicator has died: $(tw hostB events)"
[[ $(health .state) = yellow && $(health 'any(.causes[]; .rule == 19)') = true ]] || fail "hostB: $(tw hostB health)"
[[ $(sink_of_b) != "$sink" ]] || fail "the sink lives"
step "$(event hostB standby-ended .text)"
step "hostA: $(event hostA alone .data.reason)"

tw_must hostB health --clear
await_pair hostA hostB vm1
step "protected again, in other memory"
client_cut
host_power_cut hostA
labpair_goes_on
guest_runs_on hostB || fail "no VM runs on hostB"
