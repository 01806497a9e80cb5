#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The charts' library, uPlot (MIT, LICENSE), is kept here as npm has it: a build needs no network. This script
# fetches that version and compares. usage: fetch.sh [--replace]
set -euo pipefail
cd "$(dirname "$0")"
version=1.6.32
sha512=KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
files=(dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE)

into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT
npm pack --silent --pack-destination "$into" "uplot@$version" >/dev/null
got=$(openssl dgst -sha512 -binary "$into/uplot-$version.tgz" | base64 -w 0)
[[ $got = "$sha512" ]] || {
	echo "uplot@$version is another file than the one that is pinned: $got" >&2
	exit 1
}
tar -xzf "$into/uplot-$version.tgz" -C "$into"
for f in "${files[@]}"; do
	[[ ${1:-} != --replace ]] || cp "$into/package/$f" .
	cmp "$into/package/$f" "${f##*/}"
done
echo "uPlot $version: as npm has it"
