#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# No data race that ThreadSanitizer can see: in the mailbox's test, and in daemons and replicators built with it that protect a
# VM with a disk, lose the primary's host in the middle of a client's work, and run the VM on the backup.
# alone: it compiles on every CPU, and ThreadSanitizer makes all slow
set -euo pipefail
cd "$(dirname "$0")/../.."
plain=${B:-build}
export B=$plain/tsan

make --no-print-directory -s -j"$(nproc)" B="$B" SAN=thread CFLAGS="-O1 -g" all "$B/tests/test_common"
ln -sfn ../tools "$B/tools" # programs that are not under test
rm -rf "$B/guest"           # below the folder that the backup takes files from, also when links are resolved
cp -rl "$plain/guest" "$B/guest"

# Slower by a multiple: heartbeats of a slow host.
PAIR_CONF="heartbeat_ms = 400"
PAIR_ARBITER="file"
. tests/lib/pair.sh

races=$PWD/$B/races
rm -rf "$races"
mkdir "$races"
no_races() {
	local found
	found=$(grep -lr 'WARNING: ThreadSanitizer' "$races" | head -n 1) || true
	[[ -z $found ]] || {
		sed -n 1,60p "$found"
		fail "$1: a data race"
	}
	echo "$1: no race"
}
export TSAN_OPTIONS="log_path=$races/race exitcode=0 second_deadlock_stack=1"

"$B/tests/test_common" >/dev/null 2>&1 || fail "test_common under ThreadSanitizer"
no_races "mailbox"

pair_up
guest_start_disk hostA vm1
protect vm1
client_start
await_epochs hostA vm1 20
no_races "protecting"
host_power_cut hostA
client_cut
goes_on "on hostB after the power cut"
await_primary hostB vm1
client_ends
# What the processes themselves were built with, so that this test cannot pass without looking.
nm "$B/twinvmd" >"$races/symbols"
grep -q __tsan_init "$races/symbols" || fail "twinvmd is not built with ThreadSanitizer"
no_races "power cut"
