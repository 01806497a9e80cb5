#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The backup's host loses a page of the standby's memory (its memory file is cut, which gives who touches it the same signal): the
# session ends with that reason and without a crash, the VM runs on alone by record, the host is yellow. Cleared, it gets a
# standby in other memory, through a planned switch.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
ended() { ! kill -0 "$1" 2>/dev/null; }

PAIR_ARBITER="file" pair_up
guest_start hostA vm1
client_start
protect vm1
await_epochs hostA vm1 3
standby=$(procs_of hostB "qemu-system.*vm1")
sink=$(procs_of hostB "twinvmd replicate sink")
ram=$(find "/proc/$standby/fd" -lname '/memfd:twinvm-ram*' | head -1)
[[ -n $ram ]] || fail "the standby has no memory file"
truncate -s 1M "$ram"

# The guest writes everywhere: the next epochs meet it.
await "$AWAIT_S" "the end of that standby" ended "$sink"
why=$(tw hostB events vm1 --json | jq -r '[.[] | select(.kind == "standby-ended")] | last | .text')
[[ $why = *"a memory error of this host: the page at 0x"*" of the standby's RAM block "*" is lost"* ]] || fail "hostB says: $why"
! tw hostB events vm1 --json | jq -e '.[] | select(.kind == "replicator-died")' >/dev/null || fail "the replicator has died: $(tw hostB events vm1)"
why=$(tw hostA events vm1 --json | jq -r '[.[] | select(.kind == "alone")] | last | .data.reason')
[[ $why = "hostB: a memory error of this host: "* ]] || fail "hostA says: $why"
tw hostB health --json | jq -e '.state == "yellow" and (.causes[] | .rule == 19 and .what == "vm1")' >/dev/null || fail "hostB: $(tw hostB health)"

# As long as it is yellow, another host would be chosen: there is none here, until an operator has looked.
tw hostB health --clear >/dev/null
await_pair hostA hostB vm1
[[ $(procs_of hostB "qemu-system.*vm1") != "$standby" ]] || fail "it is the same standby"
goes_on "protected again"
tw hostA failover vm1 >/dev/null
await_primary hostB vm1
goes_on "on hostB"
echo "$(client_acked) answers; $why"
client_ends
