#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The file arbiter on a file system that is full, or read-only: a clear error, nothing half recorded, nobody wins by it,
# and it works again afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh

VM=0123456789abcdef0123456789abcdef
arb() { host_run one "${B:-build}/tools/arbiter" file:///run/arbiter "$@" 2>&1; }
answers() { says "$1" arb "${@:2}"; }
in_one() { host_run one "$@"; }
no_leftovers() {
	local left
	left=$(in_one find /run/arbiter -name '.claim-*' -o -name '*.tmp.*')
	[[ -z $left ]] || fail "left behind: $left"
}

hosts_up one
in_one mkdir /run/arbiter
in_one mount -t tmpfs -o size=64k,nr_inodes=32 none /run/arbiter
answers "^0 version=1 .*state=paired primary=A" claim pair $VM A B s1 1
answers "^0$" announce hostA 10.0.0.1:7890 1000 4 green

# ---- full ----
in_one bash -c 'cat /dev/zero >/run/arbiter/filler 2>/dev/null || true'
answers "^ENOSPC .*/run/arbiter/.*No space left" claim promote $VM B A s1 1
answers "^ENOSPC .*/run/arbiter/.*No space left" claim alone $VM A B s1 1
answers "^ENOSPC .*/run/arbiter/hosts.*No space left" announce hostA 10.0.0.1:7890 1001 4 green
answers "^ENOSPC .*/run/arbiter/hosts.*No space left" announce hostB 10.0.0.1:7890 1001 4 green
answers "^0 version=1 .*state=paired primary=A" read $VM
[[ $(in_one cat /run/arbiter/hosts/hostA) = *'"free_mib":1000,'* ]] || fail "a host's file was damaged"
no_leftovers
in_one rm /run/arbiter/filler
answers "^0$" announce hostA 10.0.0.1:7890 1001 4 green
answers "^0 version=2 generation=2 state=alone primary=B" claim promote $VM B A s1 1
answers "^LOST .*host B" claim alone $VM A B s1 1
echo "full, and room again"

# ---- out of inodes ----
in_one bash -c 'for ((i = 0; i < 64; i++)); do : >/run/arbiter/f$i || break; done' 2>/dev/null || true
answers "^ENOSPC .*/run/arbiter" claim pair $VM B A s2 2
answers "^0 version=2 .*primary=B" read $VM
no_leftovers
in_one bash -c 'rm /run/arbiter/f*'
answers "^0 version=3 generation=2 state=paired primary=B backup=A" claim pair $VM B A s2 2
echo "out of inodes, and not any more"

# ---- read-only ----
in_one mount -o remount,ro /run/arbiter
answers "^EROFS .*/run/arbiter.*Read-only" claim alone $VM B A s2 2
answers "^EROFS .*/run/arbiter.*Read-only" claim promote $VM A B s2 2
in_one mount -o remount,rw /run/arbiter
answers "^0 version=3 .*state=paired primary=B" read $VM
answers "^0 version=4 .*state=alone primary=B" claim alone $VM B A s2 2
no_leftovers
echo "read-only, and writable again"

# ---- it becomes read-only or full while many ask: at most one wins each, and the record is its own ----
in_one bash -c "for ((i = 0; i < 40; i++)); do mount -o remount,ro /run/arbiter; mount -o remount,rw /run/arbiter; done" &
job=$!
result=$(arb race $VM 4 100) || fail "race: $result"
wait "$job"
[[ $result =~ ^0\ rounds=100\ recorded=[0-9]+\ unfair=0 ]] || fail "race: $result"
echo "race: $result"
answers "^0" forget $VM
