#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The package, on two Debian systems with systemd (debootstrap, systemd-nspawn): two builds in two folders are the same, bit by bit;
# it is installed, upgraded while a VM is protected, removed from the backup, installed again, removed from the primary, and purged.
# The VM is one process through all of it, protected through the upgrade, and nothing of twinvm is left that runs.
# time limit: 3600
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/verdict.sh
. tests/lib/await.sh
. tests/lib/certs.sh
B=${B:-build}
root=$PWD/$B/cache/package-root
dir=$(mktemp -d /tmp/twinvm-package.XXXXXX)
declare -A inner=() job=()
for program in debootstrap systemd-nspawn; do
	command -v $program >/dev/null || skip "$program is missing: apt install debootstrap systemd-container"
done

ends() {
	local host
	for host in "${!job[@]}"; do
		# Twice: it ends the system in it at once.
		kill -KILL "${inner[$host]:-}" "${job[$host]}" 2>/dev/null || true
		wait "${job[$host]}" 2>/dev/null || true
	done
	ip netns del twp-a 2>/dev/null || true
	ip netns del twp-b 2>/dev/null || true
	[[ -n ${TEST_KEEP:-} ]] && echo "kept: $dir" || rm -rf "$dir"
}
trap ends EXIT
trap 'exit 143' TERM INT

in_() { nsenter -t "${inner[$1]}" -m -p -n -i -u -C -r -w -- "${@:2}"; }
must() {
	PRINTED=$(in_ "$@" 2>&1) || fail "$*: $PRINTED"
}
up() { in_ "$1" systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; }
boot() { # HOST NETNS
	systemd-nspawn -q -D "$root" --register=no --keep-unit --volatile=overlay --machine="$1" --network-namespace-path="/run/netns/$2" \
		--capability=all --system-call-filter='@debug @system-service userfaultfd' --bind="$dir:/mnt" -b </dev/null >"$dir/$1.console" 2>&1 &
	job[$1]=$!
	await "$AWAIT_S" "process 1 of $1" grep -q . "/proc/${job[$1]}/task/${job[$1]}/children"
	inner[$1]=$(awk '{ print $1 }' "/proc/${job[$1]}/task/${job[$1]}/children")
	await "$AWAIT_S" "systemd on $1" up "$1"
}
field() { in_ "$1" twinvm status web --json 2>/dev/null | jq -r "$2"; }
is() { [[ $(field "$1" "$2") = "$3" ]]; }
committed() { (($(field hostA .epoch_committed) > $1)); }
nothing_runs() { ! in_ "$1" sh -c "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '" | grep -E 'twinvmd|twinvm monitor' >/dev/null; }
vm_lives() {
	[[ $(in_ hostA systemctl show -p MainPID --value web) = "$vm" && $(in_ hostA systemctl is-active web) = active ]] || fail "$1: the VM's process is another one"
	python3 "$dir/state.py" "/proc/${inner[hostA]}/root/run/web.monitor" | grep -qx running || fail "$1: the VM does not run"
}

step "two builds in two folders"
debian/build.sh "$dir/one" >"$dir/build.log" 2>&1 || fail "$(cat "$dir/build.log")"
debian/build.sh "$dir/the/other" >"$dir/build.log" 2>&1 || fail "$(cat "$dir/build.log")"
for deb in "$dir"/one/*.deb; do
	cmp "$deb" "$dir/the/other/$(basename "$deb")" || fail "$(basename "$deb") depends on where it is built"
done
deb=$(echo "$dir"/one/twinvm_*.deb)
cp "$deb" "$dir/old.deb"
# The newer one has the same programs: what is tried is what dpkg does.
dpkg-deb -R "$deb" "$dir/tree"
sed -i '/^Version: /s/$/+newer/' "$dir/tree/DEBIAN/control"
dpkg-deb --root-owner-group -b "$dir/tree" "$dir/new.deb" >/dev/null

step "a Debian 12 to install it on"
depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/ //g')
mirror=$(sed -nE 's/^URIs: *([^ ]+\/debian)\/? *$/\1/p; s/^deb ([^ ]+\/debian)\/? .*/\1/p' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null | head -n 1) || true
if [[ ! -e $root.made ]] || [[ $(cat "$root.made") != "$depends" ]]; then
	rm -rf "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase --include="$depends,systemd-sysv,dbus,iproute2,procps,qemu-system-x86" bookworm "$root" "$mirror" \
		>"$dir/debootstrap.log" 2>&1 || skip "debootstrap fails here: $(tail -n 1 "$dir/debootstrap.log")"
	echo "$depends" >"$root.made"
fi

step "two hosts"
certs_make "$dir/certs" hostA hostB
for n in a b; do
	ip netns add twp-$n
	ip -n twp-$n link set lo up
done
ip -n twp-a link add twp0 type veth peer name twp0 netns twp-b
ip -n twp-a addr add 10.91.0.1/24 dev twp0
ip -n twp-b addr add 10.91.0.2/24 dev twp0
ip -n twp-a link set twp0 up
ip -n twp-b link set twp0 up
# twinvm has the VM's QMP socket for itself: people look through another monitor.
cat >"$dir/state.py" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(60)
	s.connect(sys.argv[1])
	s.sendall(b"info status\n")
	got = b""
	while b"VM status: " not in got or not got.endswith(b"(qemu) "):
	    got += s.recv(4096)
	print("running" if b"VM status: running" in got else got)
END
boot hostA twp-a
boot hostB twp-b
for host in hostA hostB; do
	must $host dpkg -i /mnt/old.deb
	must $host sh -c 'twinvm --help && man=$(dpkg -L twinvm | grep -c /man/) && [ "$man" -ge 5 ] && getent passwd twinvm twinvm-vm'
	[[ $(in_ $host systemctl is-enabled twinvmd) = enabled ]] || fail "twinvmd is not enabled"
	[[ $(in_ $host systemctl is-active twinvmd) = inactive ]] || fail "twinvmd runs without a configuration"
done
for pair in "hostA 1 hostB 2" "hostB 2 hostA 1"; do
	read -r host n other m <<<"$pair"
	cat >"$dir/$host.conf" <<-END
		host = $host
		ca = /etc/twinvm/ca.crt
		cert = /etc/twinvm/$host.crt
		key = /etc/twinvm/$host.key
		listen = 10.91.0.$n:7890
		peer.$other = 10.91.0.$m:7890
		heartbeat_ms = 1000
		libvirt = no
	END
	must "$host" sh -c "cp /mnt/$host.conf /etc/twinvm/twinvmd.conf && cp /mnt/certs/ca.crt /mnt/certs/$host.* /etc/twinvm/ && systemctl start twinvmd"
done

step "a VM is protected"
must hostA systemd-run --unit=web qemu-system-x86_64 -name web -accel tcg -M q35 -m 64 -nodefaults -display none \
	-qmp unix:/run/web.qmp,server=on,wait=off -monitor unix:/run/web.monitor,server=on,wait=off
vm=$(in_ hostA systemctl show -p MainPID --value web)
await "$AWAIT_S" "the VM's monitor" in_ hostA test -S /run/web.qmp
must hostA twinvm protect web --to hostB
sources() { in_ hostA sh -c "grep -al 'replicate.sourc[e]' /proc/[0-9]*/cmdline 2>/dev/null" | sort; }

step "an upgrade of either host"
source_was=$(sources)
for host in hostA hostB; do
	daemon=$(in_ $host systemctl show -p MainPID --value twinvmd)
	must $host dpkg -i /mnt/new.deb
	[[ $(in_ $host systemctl show -p MainPID --value twinvmd) != "$daemon" ]] || fail "the daemon of $host is the old one"
	await "$AWAIT_S" "status on $host" in_ $host twinvm status >/dev/null
	await "$AWAIT_S" "web to be protected after the upgrade of $host" is hostA .state protected
	await "$AWAIT_S" "an epoch after the upgrade of $host" committed "$(field hostA .epoch_committed)"
	vm_lives "upgrade of $host"
done
[[ $(sources) = "$source_was" ]] || fail "the upgrade has ended a replicator"

step "removed from the backup"
must hostB dpkg -r twinvm
await "$AWAIT_S" "the end of twinvm on hostB" nothing_runs hostB
await "$AWAIT_S" "web to run alone" is hostA .state alone
vm_lives "removal from the backup"
must hostB dpkg -i /mnt/new.deb
await "$AWAIT_S" "web to be protected again" is hostA .state protected

step "removed from the primary"
must hostA dpkg -r twinvm
grep -q 'web is no longer protected' <<<"$PRINTED" || fail "$PRINTED"
vm_lives "removal from the primary"
await "$AWAIT_S" "the end of twinvm on hostA" nothing_runs hostA
[[ $(in_ hostB twinvm status --json) = '[]' ]] || fail "hostB: $(in_ hostB twinvm status)"

step "purged"
for host in hostA hostB; do
	must $host dpkg -P twinvm
	await "$AWAIT_S" "the end of twinvm on $host" nothing_runs $host
	must $host sh -c '! ls -d /etc/twinvm /var/lib/twinvm /etc/libvirt/hooks/qemu.d/twinvm 2>/dev/null'
done
vm_lives "purge"
