#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A newer QEMU than this Debian's own, beside it: BUILD/qemu-newer/usr/bin/qemu-system-x86_64 and qemu-img, from the
# release's backports. The packages are only unpacked, never installed, and this machine's apt sources and lists stay
# as they are; the packages stay in BUILD/cache/qemu, so that only the first run needs the archive.
# QEMU finds its firmware beside its own program. Exit status 77: it cannot be had here, with the reason.
# usage: mkqemu.sh [BUILD]
set -euo pipefail

build=$(realpath -m "${1:-build}")
cache=$build/cache/qemu
root=$build/qemu-newer
packages=(qemu-system-x86 qemu-system-common qemu-system-data qemu-utils seabios)

no() {
	echo "mkqemu: $*" >&2
	exit 77
}

# Where this machine gets its own release from: "URI RELEASE"
mirror() {
	local release
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
		awk -v release="$release" '$2 == release && $3 == "main" { print $1, $2; exit }'
}

fetch() {
	local uri release apt key=/usr/share/keyrings/debian-archive-keyring.gpg
	[[ ! -e $cache/list ]] || ! (cd "$cache" && xargs -r ls <list >/dev/null 2>&1) || return 0
	command -v apt-get >/dev/null || no "no apt-get here"
	read -r uri release < <(mirror) || no "this machine's apt sources name no mirror of its own release"
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	[[ -e $key ]] && key="[signed-by=$key] " || key=
	echo "deb $key$uri $release-backports main" >"$cache/apt/sources.list"
	apt=(apt-get -qq -o "Dir::Etc::SourceList=$cache/apt/sources.list" -o Dir::Etc::SourceParts=-
		-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache"
		-o APT::Sandbox::User=root -o Acquire::Retries=2 -o APT::Update::Error-Mode=any)
	echo "mkqemu: fetching ${packages[*]} from $release-backports"
	rm -f "$cache"/*.deb "$cache/list"
	"${apt[@]}" update >"$cache/log" 2>&1 || no "$release-backports cannot be read: $(tail -n 1 "$cache/log")"
	(cd "$cache" && "${apt[@]}" download "${packages[@]/%//$release-backports}") >"$cache/log" 2>&1 ||
		no "no newer QEMU in $release-backports: $(tail -n 1 "$cache/log")"
	(cd "$cache" && ls ./*.deb >list.new && mv list.new list)
}

unpack() {
	local deb file missing
	rm -rf "$root"
	mkdir -p "$root"
	while read -r deb; do
		dpkg -x "$cache/$deb" "$root"
	done <"$cache/list"
	rm -rf "$root"/usr/share/{doc,man}
	# The boot ROMs of NICs are the same in both: QEMU's own package needs theirs.
	[[ ! -d /usr/lib/ipxe ]] || cp -rL /usr/lib/ipxe "$root/usr/lib/"
	# shellcheck disable=SC2044 # names without spaces
	for file in "$root"/usr/bin/qemu-{system-x86_64,img} $(find "$root/usr/lib" -name 'accel-tcg-x86_64.so'); do
		missing=$(ldd "$file" | awk '/not found/ { print $1 }' | paste -sd ' ')
		[[ -z $missing ]] || no "${file##*/} needs libraries that this machine does not have: $missing"
	done
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
fetch
hash=$(cat "${BASH_SOURCE[0]}" "$cache/list" | sha256sum)
[[ $(cat "$root/inputs" 2>/dev/null) != "$hash" ]] || exit 0
unpack
"$root/usr/bin/qemu-system-x86_64" -version | head -n 1
echo "$hash" >"$root/inputs"
