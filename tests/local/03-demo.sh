#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The demo passes, and its summary has every field of the contract with a value that makes sense.
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${B:-build}

tests/demo/demo.sh --no-build
check() {
	jq -e "$1" "$B/demo/summary.json" >/dev/null || {
		echo "FAIL: summary.json: not $1"
		cat "$B/demo/summary.json"
		exit 1
	}
}
check '.vm == "demo"'
check '.epochs_committed >= 100'
check '.acked_writes >= 300'
check '.lost_writes == 0'
check '.phantom_reads == 0'
check '.connection_survived == true'
check '.outage_ms > 0 and .outage_ms < 1000'
check '.pause_ms.p50 > 0 and .pause_ms.p99 >= .pause_ms.p50'
check '.wire_bytes > 0 and .raw_bytes > 0'
check 'has("verify_mismatched_pages")'
check '.status_after.role == "primary"'
check '.client.acked_after_outage >= 200'
[[ -z $(ls -d /tmp/twinvm-hosts.* 2>/dev/null) ]] || echo "note: /tmp/twinvm-hosts.* of another run"
