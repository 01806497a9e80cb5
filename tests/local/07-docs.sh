#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the documents name is there: files, functions, keys, variables (tests/lint/docs.py); for each behaviour in
# docs/ARCHITECTURE.md the file and the function. What they show of the programs' tables is what the tables hold.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=${B:-build}/tools

# same DOCUMENT SOURCE COMMAND...: the document is what the command writes
same() {
	diff -u "$1" <("${@:3}") || {
		echo "$1 is behind $2: run 'make docs'"
		exit 1
	}
}
tests/lint/docs.py
same docs/FAILOVER.md failover/core.c "$tools/fo_tables"
same docs/STATUS.md "the tables of daemon/status.c, kept.c and session/messages.c" "$tools/session_tables" status
same docs/CONTROL.md "the tables of session/messages.c and daemon/sessions.c" "$tools/session_tables" control
same docs/RUNSTATES.md hv/attach/runstate.c "$tools/hv_runstates"
same docs/HARDWARE-FAULTS.md "the tables of ras/" "$tools/ras_faults"
same docs/twinvm.catalog daemon/events.h "$tools/event_tables" catalog
kinds=$(mktemp)
trap 'rm -rf "$kinds" "$kinds.root"' EXIT
sed -n '/^| kind | priority /,/^$/p' docs/EVENTS.md >"$kinds"
same "$kinds" "daemon/events.h (docs/EVENTS.md)" "$tools/event_tables" kinds
sed -n '/^<!-- the tables/,/^<!-- end/{//!p}' docs/METRICS.md >"$kinds"
same "$kinds" "web/metrics_table.c (docs/METRICS.md)" "$tools/metric_tables"

# The catalog is one that systemd reads, with an entry for each kind.
mkdir -p "$kinds.root/usr/lib/systemd/catalog" "$kinds.root/var/lib/systemd/catalog"
cp docs/twinvm.catalog "$kinds.root/usr/lib/systemd/catalog/"
journalctl --update-catalog --root="$kinds.root"
found=$(journalctl --list-catalog --root="$kinds.root" | grep -c ' twinvm: ')
((found == $(grep -c '^-- ' docs/twinvm.catalog) && found > 40)) || {
	echo "systemd finds $found entries in docs/twinvm.catalog"
	exit 1
}
