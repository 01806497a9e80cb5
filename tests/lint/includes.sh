#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A room (folder) may include its own headers and those of the rooms named in its .may_include; from
# another room only the public header X/X.h, or what a line "file X/Y.h" in .may_include allows.
set -euo pipefail
cd "$(dirname "$0")/../.."
rooms=(common hv nbd checkpoint replicator netbuffer failover daemon cli)
bad=0
for room in "${rooms[@]}"; do
	[[ -d $room ]] || continue
	if [[ ! -e $room/.may_include ]]; then
		echo "$room has no .may_include"
		bad=1
		continue
	fi
	while IFS=: read -r file line include; do
		path=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$include")
		to=${path%%/*}
		[[ $path = */* && -d $to ]] || continue # beside the file, or generated
		[[ $to != "$room" ]] || continue
		if ! grep -qxF "$to" "$room/.may_include"; then
			echo "$file:$line: $room may not include $to ($room/.may_include)"
			bad=1
		elif [[ $path != "$to/$to.h" && $path != *.pb-c.h ]] && ! grep -qxF "file $path" "$room/.may_include"; then
			echo "$file:$line: $path is private to $to; include $to/$to.h"
			bad=1
		fi
	done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$room"/*.[ch] /dev/null)
done
exit $bad
