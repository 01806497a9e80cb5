#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a user reads is what the programs do: each option in --help, man page and completion, each key in the parser, docs/CONFIG.md and
# twinvmd.conf(5); a difference is found. The man pages are clean. Names of VMs and hosts are completed, and none is ever evaluated.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/verdict.sh
B=${B:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

step "options, keys, man pages, completion"
make --no-print-directory -s B="$B" man >"$dir/make.log" 2>&1 || fail "make man: $(cat "$dir/make.log")"
differs() { ! python3 -B docs/man/compare.py "$1" "$2" >"$dir/differs"; }
! differs "$B" "$B/man" || fail "$(cat "$dir/differs")"

step "the comparison finds what is missing"
cp -r "$B/man" "$dir/man"
lacks() { # PAGE SED PATTERN
	cp "$B/man/$1" "$dir/man/$1"
	sed -i "$2" "$dir/man/$1"
	! cmp -s "$B/man/$1" "$dir/man/$1" || fail "$1 has no '$2' to be removed"
	differs "$B" "$dir/man" || fail "nobody notices '$2' in $1"
	grep -q -- "$3" "$dir/differs" || fail "$(cat "$dir/differs")"
	cp "$B/man/$1" "$dir/man/$1"
}
lacks man1/twinvm.1 '/^\.It Fl .*-repair/d' 'twinvm verify: --repair is not in twinvm(1)'
lacks man1/twinvm.1 '/^\.It Fl .*-mode/i.It Fl \\-modes' '--modes is only in twinvm(1)'
lacks man5/twinvmd.conf.5 '/^\.It heartbeat_ms/d' 'heartbeat_ms is not in twinvmd.conf(5)'
mkdir "$dir/old"
cp "$B"/twinvm "$B"/twinvmd "$dir/old/"
sed -i 's/  --retry /  --retri /' "$dir/old/twinvm"
differs "$dir/old" "$B/man" || fail "nobody notices an option that --help calls by another name"
grep -q 'twinvm failover: --retry is not in its --help' "$dir/differs" || fail "$(cat "$dir/differs")"

step "man pages without a complaint"
command -v mandoc >/dev/null || fail "mandoc is missing: make deps"
for page in "$B"/man/man*/*; do
	mandoc -T lint "$page" >"$dir/lint" 2>&1 || true
	# Each other, before they are installed
	grep -vE 'referenced manual not found: Xr (twinvm|twinvmd|twinvmd\.conf|twinvm-protocol|twinvm-libvirt) [1-8]$' "$dir/lint" \
		>"$dir/complaints" || true
	[[ ! -s $dir/complaints ]] || fail "$(cat "$dir/complaints")"
done

step "names are completed, and only completed"
cat >"$dir/twinvm" <<-END
	#!/bin/sh
	[ "\$1" != status ] || exec cat "$dir/status.json"
	exec "$PWD/$B/twinvm" "\$@"
END
chmod +x "$dir/twinvm"
jq -n --arg bad "\$(touch $dir/evil)\`touch $dir/evil\`" \
	'[{name: "web", peer: "hostB"}, {name: "wiki", peer: "host-c.example"}, {name: $bad, peer: "x y"}]' >"$dir/status.json"
offers() { # EXPECTED WORDS...
	local want=$1 got
	shift
	got=$(PATH=$dir:$PATH bash -c '. docs/twinvm.bash-completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _twinvm
		printf "%s " "${COMPREPLY[@]}"' - "$@")
	[[ $got = "$want " ]] || fail "after '$*': '$got', not '$want'"
}
offers "web wiki" twinvm failover ''
offers "wiki" twinvm failover wi
offers "host-c.example hostB" twinvm protect web --to ''
offers "adaptive remus kemari" twinvm protect web --mode ''
offers "--summary" twinvm trace web --s
[[ ! -e $dir/evil ]] || fail "a VM's name was run"
