#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make deb: the Debian package of this tree, in BUILD/deb. It is built in a copy, BUILD/deb/twinvm. Its version is that of
# debian/changelog, with the number and the hash of the last commit; its date is that commit's. Two builds of one
# commit are the same, bit by bit, wherever they are made.
# usage: build.sh [FOLDER]      instead of BUILD/deb
set -euo pipefail
cd "$(dirname "$0")/.."
into=$(realpath -m "${1:-${B:-build}/deb}")
for program in dpkg-buildpackage dh; do
	command -v "$program" >/dev/null || {
		echo "make deb needs $program: 'make deps', or apt install dpkg-dev debhelper" >&2
		exit 1
	}
done

rm -rf "$into"
mkdir -p "$into/twinvm"
entry() { # VERSION WHAT
	printf 'twinvm (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n\n' "$1" "$2" \
		"$(dpkg-parsechangelog -S Maintainer)" "$(date -Ru -d "@$SOURCE_DATE_EPOCH")"
}
base=$(dpkg-parsechangelog -S Version)
if commit=$(git rev-parse --short=10 HEAD 2>/dev/null); then
	export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
	git ls-files -z --cached --others --exclude-standard | tar -c --null -T - --ignore-failed-read 2>/dev/null |
		tar -x -C "$into/twinvm"
	version=$base+git$(git rev-list --count HEAD).$commit
	[[ -z $(git status --porcelain) ]] || version+=.changed
	entry "$version" "Built from commit $commit." | cat - debian/changelog >"$into/twinvm/debian/changelog"
else
	tar -c --exclude='./build*' . | tar -x -C "$into/twinvm"
fi
log=$into/build.log
cd "$into/twinvm"
DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-parallel=$(nproc)}" dpkg-buildpackage -us -uc -b >"$log" 2>&1 || {
	tail -n 30 "$log" >&2
	echo "make deb failed; all of its output is in $log" >&2
	exit 1
}
rm -rf "$into/twinvm"
ls "$into"/*.deb
