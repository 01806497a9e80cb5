#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what building, the tests and the demo need on a bare Debian 12, and makes the system users that
# twinvm's processes run as. Asks apt only when something is missing, starts no service and prints nothing
# when there is nothing to do.
# usage: deps.sh [--check|--static|--lab]    --check: list what is missing, install nothing; exit 1 if any is
#                                      --static: what `make check-static` needs, too
#                                      --lab: what `make test-lab` needs, too
set -euo pipefail

packages=(
	# building
	gcc make pkg-config libc6-dev
	protobuf-c-compiler libprotobuf-c-dev libevent-dev libssl-dev liblz4-dev
	libnl-3-dev libnl-route-3-dev libjansson-dev libxxhash-dev libcmocka-dev
	libcurl4-openssl-dev libseccomp-dev libtracefs-dev libtraceevent-dev libvirt-dev libxml2-dev libncurses-dev
	# running VMs; UEFI firmware for those of tests/shapes that have it
	qemu-system-x86 ovmf
	# the guest, and the lab's kernels: packages that are only unpacked, never installed (guest/mkguest.sh, lab/mklab.sh)
	cpio gzip xz-utils kmod binutils ca-certificates
	# hosts in namespaces, the demo, the tests
	iproute2 util-linux procps openssl jq python3 e2fsprogs qemu-utils
	# twinvm top, looked at
	tmux
	# the TPM of a VM, and of its standby
	swtpm
	# the arbiter of some tests, started by them in hosts of their own
	etcd-server
	# what asks the dashboard, and the browser that looks at it
	curl chromium chromium-driver
	# libvirt, the same way
	libvirt-daemon-system libvirt-clients
	# the Debian package, its man pages, and what looks at them
	build-essential dpkg-dev debhelper lintian mandoc systemd
	# promtool, which is part of it: checks what is exported, and the alert rules
	prometheus
)
# What `make lint` uses if it is there; a bare machine in CI gets it too.
lint_packages=(clang-format shellcheck)
static_packages=(clang-tidy cppcheck)
# What the lab's test of the package makes its hosts with.
lab_packages=(debootstrap systemd-container)

want=("${packages[@]}")
[[ ${TWINVM_DEPS_LINT:-1} = 0 ]] || want+=("${lint_packages[@]}")
[[ ${1:-} != --static ]] || want+=("${static_packages[@]}")
[[ ${1:-} != --lab ]] || want+=("${lab_packages[@]}")

missing=()
for p in "${want[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)
	[[ $status = installed ]] || missing+=("$p")
done

# twinvm-vm runs standbys; twinvm receives from other hosts, and may give images to twinvm-vm's group.
users=(twinvm-vm twinvm)
missing_users=()
for u in "${users[@]}"; do
	getent passwd "$u" >/dev/null || missing_users+=("$u")
done

# axe-core finds what keeps people out of a page. The test that uses it does without where npm is not there.
fetch_axe() {
	local version=4.10.3 into got
	local sha512=Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg==
	[[ ! -s build/cache/axe.min.js ]] && command -v npm >/dev/null || return 0
	into=$(mktemp -d)
	if npm pack --silent --pack-destination "$into" "axe-core@$version" >/dev/null 2>&1; then
		got=$(openssl dgst -sha512 -binary "$into/axe-core-$version.tgz" | base64 -w 0)
		if [[ $got = "$sha512" ]]; then
			mkdir -p build/cache
			tar -xzf "$into/axe-core-$version.tgz" -C "$into"
			cp "$into/package/axe.min.js" build/cache/
		else
			echo "deps: axe-core@$version is another file than the one that is pinned: not used" >&2
		fi
	fi
	rm -rf "$into"
}
[[ ${1:-} = --check ]] || fetch_axe

if [[ ${1:-} = --check ]]; then
	((${#missing[@]} + ${#missing_users[@]} == 0)) && exit 0
	((${#missing[@]} == 0)) || echo "missing packages: ${missing[*]}"
	((${#missing_users[@]} == 0)) || echo "missing users: ${missing_users[*]}"
	exit 1
fi
((${#missing[@]} + ${#missing_users[@]})) || exit 0

if ((EUID != 0)); then
	echo "deps: missing: ${missing[*]} ${missing_users[*]}; run 'make deps' as root" >&2
	exit 1
fi
for u in "${missing_users[@]}"; do
	groups=()
	[[ $u != twinvm ]] || groups=(--groups twinvm-vm)
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
		"${groups[@]}" "$u" || exit 1
	echo "deps: made the system user $u"
done
((${#missing[@]})) || exit 0
command -v apt-get >/dev/null || {
	echo "deps: no apt-get here; install by hand what matches: ${missing[*]}" >&2
	exit 1
}

mkdir -p build
log=build/deps.log
say_why() {
	echo "deps: $1 failed; the last lines of $log:" >&2
	tail -n 15 "$log" >&2
	exit 1
}
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
: >"$log"
# Fresh lists only when the ones here cannot name what we want.
if ! apt-get -s -qq install --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
	apt-get -qq -o Acquire::Retries=3 update >>"$log" 2>&1 || say_why "apt-get update"
fi
install=(apt-get -y -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends)
# Some packages bring services: these must not run because of our tests, now or after a boot.
policy=/usr/sbin/policy-rc.d
made_policy=''
with_services=()
for p in etcd-server libvirt-daemon-system prometheus; do
	[[ " ${missing[*]} " != *" $p "* ]] || with_services+=("$p")
done
if [[ ! -e $policy ]]; then
	made_policy=1
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
no_new_service() {
	local p file name
	for p in "${with_services[@]}"; do
		for file in $(dpkg -L "$p" 2>/dev/null | grep -E '^(/usr)?/lib/systemd/system/[^/@]+$|^/etc/init\.d/[^/]+$'); do
			name=${file##*/}
			if [[ $file = /etc/init.d/* ]]; then
				update-rc.d "$name" disable || true
			elif command -v systemctl >/dev/null; then
				systemctl --quiet disable "$name" || true
			fi
		done
	done >>"$log" 2>&1
}
trap 'no_new_service; [[ -z $made_policy ]] || rm -f "$policy"' EXIT
"${install[@]}" "${missing[@]}" >>"$log" 2>&1 || {
	# Stale lists name files that the archive no longer has: fetch them once more.
	apt-get -qq -o Acquire::Retries=3 update >>"$log" 2>&1 || say_why "apt-get update"
	"${install[@]}" "${missing[@]}" >>"$log" 2>&1 || say_why "apt-get install"
}
