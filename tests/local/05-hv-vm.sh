#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# hv against real QEMUs of several shapes: make tools first. Needs root (ptrace, tap).
set -u
cd "$(dirname "$0")/../.." || exit 1
tools=${B:-build}/tools probe=hv_probe_vm net=hv_probe_net kill=hv_probe_kill
q=qemu-system-x86_64
failed=0

try() { # NAME TOOL ARGS...
	local name=$1 out
	shift
	if out=$(timeout 180 "$tools/$1" "${@:2}" 2>&1); then
		echo "ok      $name"
	else
		echo "FAILED  $name: $*"
		echo "$out" | tail -14
		failed=1
	fi
}
skip() { echo "skipped $1: $2"; }

command -v $q >/dev/null || { skip "everything" "no $q"; exit 77; }
try "default machine" $probe -b $q -m 512
try "default machine, two steps" $probe -2 -b $q -m 512
try "default machine, three commands an epoch" $probe -3 -n 10 -b $q -m 512
empty=$(mktemp -d)
try "a root folder without /proc: three commands" $probe -c -n 10 $q -M q35 -nodefaults -m 128 -chroot "$empty"
rmdir "$empty"
try "q35, SeaBIOS" $probe -n 5 $q -M q35 -nodefaults -m 512
try "q35, two processors" $probe -n 10 -b $q -M q35 -nodefaults -m 256 -smp 2
try "microvm" $probe -n 5 $q -M microvm -m 128 -nodefaults
try "shared memory file" $probe -n 5 -b $q -M pc,memory-backend=m0 -m 256 -nodefaults \
	-object memory-backend-memfd,id=m0,size=256M,share=on
try "shared memory file that somebody else filled" $probe -w -n 5 -b $q -M pc,memory-backend=m0 -m 384 -nodefaults \
	-object memory-backend-memfd,id=m0,size=384M,share=on
try "shared memory file, balloon" $probe -n 5 -b $q -M pc,memory-backend=m0 -m 256 -nodefaults \
	-object memory-backend-memfd,id=m0,size=256M,share=on -device virtio-balloon-pci
try "shared memory file, balloon, two steps" $probe -2 -n 5 -b $q -M pc,memory-backend=m0 -m 256 -nodefaults \
	-object memory-backend-memfd,id=m0,size=256M,share=on -device virtio-balloon-pci
try "memory backend, balloon" $probe -n 5 -b $q -M q35,memory-backend=m0 -m 256 -nodefaults \
	-object memory-backend-ram,id=m0,size=256M -device virtio-balloon-pci
try "one NUMA node with a memory backend" $probe -n 5 -b $q -M pc -m 256,slots=4,maxmem=1G -nodefaults \
	-object memory-backend-ram,id=ram-node0,size=256M -numa node,nodeid=0,cpus=0,memdev=ram-node0
try "two NUMA nodes with a memory backend each" $probe -n 5 -b $q -M q35 -m 256 -smp 2 -nodefaults \
	-object memory-backend-ram,id=n0,size=128M -object memory-backend-memfd,id=n1,size=128M \
	-numa node,cpus=0,memdev=n0 -numa node,cpus=1,memdev=n1
try "100 times attach and detach" $probe -a 100 -b $q -M q35 -nodefaults -m 512
try "100 kills" $kill -b 100 $q -m 512
try "60 kills, three commands an epoch" $kill -3 -b 60 $q -m 512
try "network: no option at all" $net user $q -m 256
try "network: virtio on user, hostfwd" $net user $q -M q35 -nodefaults -m 256 \
	-netdev user,id=n0,hostfwd=tcp:127.0.0.1:0-:7 -device virtio-net-pci,netdev=n0
try "network: virtio on user, 40 kills" $kill -N 40 $q -M q35 -nodefaults -m 256 \
	-netdev user,id=n0 -device virtio-net-pci,netdev=n0
try "network: -nic" $net user $q -M q35 -nodefaults -m 256 -nic user,model=e1000

if unshare -n true 2>/dev/null && [ -c /dev/net/tun ]; then
	export tools q
	for nic in virtio-net-pci e1000 e1000e; do
		if out=$(nic=$nic timeout 180 unshare -n bash -c '
			ip link set lo up && ip tuntap add dev tvtap0 mode tap &&
			ip link set tvtap0 up && sysctl -qw net.ipv6.conf.tvtap0.disable_ipv6=1 &&
			exec "$tools/hv_probe_net" tvtap0 $q -M q35 -nodefaults -m 256 \
			-netdev tap,id=n0,ifname=tvtap0,script=no,downscript=no \
			-device $nic,netdev=n0' 2>&1); then
			echo "ok      network: $nic on tap"
		else
			echo "FAILED  network: $nic on tap"
			echo "$out" | tail -5
			failed=1
		fi
	done
else
	skip "network: tap" "no network namespaces or no /dev/net/tun"
fi
if [ -w /dev/kvm ]; then
	try "KVM, two steps" $probe -n 10 -b $q -accel kvm -m 128 -nodefaults
else
	skip "KVM" "no /dev/kvm"
fi
exit $failed
