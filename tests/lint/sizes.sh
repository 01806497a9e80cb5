#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Warns of files over 500 lines and functions over 70; what is known is in sizes.allow, which only shrinks.
set -euo pipefail
cd "$(dirname "$0")/../.."
allow=tests/lint/sizes.allow
find . -name 'build*' -prune -o -name '.git' -prune -o -name '*.[ch]' -printf '%P\n' | sort | while read -r file; do
	[[ -e $file ]] || continue
	awk -v file="$file" '
		/^[a-zA-Z_].*\(/ && !/;[[:space:]]*$/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/^\{/ { start = NR }
		/^\}/ && start { if (NR - start - 1 > 70) print file ":" name " " NR - start - 1; start = 0 }
		END { if (NR > 500) print file " " NR }' "$file"
done | while read -r what lines; do
	grep -qxF "$what" "$allow" || echo "warn  $what: $lines lines"
done
while read -r what; do
	file=${what%%:*}
	[[ -z $what || $what = '#'* || -e $file ]] || echo "warn  $allow names $file, which is gone"
done <"$allow"
