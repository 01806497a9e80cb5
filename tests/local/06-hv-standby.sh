#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Promotes standbys of many kinds of QEMU. Run from the top after `make tools`; as root.
# With a guest (make guest) also sees that a Linux continues where it was.
set -u
cd "$(dirname "$0")/../.." || exit 1
tools=${B:-build}/tools
q=${QEMU:-qemu-system-x86_64}
guest=${GUEST:-${B:-build}/guest}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

run() { # promote|refuse|reap ARGS...
	echo "== $*"
	what=$1
	shift
	timeout 600 "$tools/hv_standby_$what" "$@" || { echo "FAILED: $what $*"; failed=1; }
}

run promote $q -M q35 -nodefaults -display none -m 256
run promote -l $q -m 256 -display none
run promote -r 2 $q -M q35 -m 256 -display none
run promote $q -M q35 -smp 2 -nographic
run promote $q -M q35 -smp 2 -nographic -serial "file:$tmp/s1"
run promote $q -M q35 -nodefaults -m 256 -display none -netdev user,id=n \
	-device virtio-net-pci,netdev=n,romfile=
run promote $q -M pc,memory-backend=mem0 -m 256 -display none \
	-object memory-backend-memfd,id=mem0,size=256M
run promote $q -M pc-q35-4.0,memory-backend=mem0 -m 256 -display none \
	-object memory-backend-memfd,id=mem0,size=256M
run promote $q -M pc -m 256,slots=4,maxmem=1G -display none \
	-object memory-backend-ram,id=n0,size=256M -numa node,cpus=0,memdev=n0
run promote -r 2 $q -M q35 -m 256 -smp 2 -display none -object memory-backend-ram,id=n0,size=128M \
	-object memory-backend-memfd,id=n1,size=128M -numa node,cpus=0,memdev=n0 -numa node,cpus=1,memdev=n1
run promote $q -M microvm -m 256 -display none -nodefaults
vga=qxl # a package of its own in newer Debians
$q -device qxl-vga,help 2>/dev/null | grep -q vram_size || vga=std
run promote $q -M q35 -m 300 -vnc none -vga $vga -usb -device usb-tablet -audiodev none,id=a \
	-device intel-hda -device hda-duplex,audiodev=a -device virtio-serial \
	-chardev socket,id=c,path="$tmp/c.sock",server=on,wait=off -device virtserialport,chardev=c
# What was plugged in while it ran, and what was unplugged; the promoted VM is protected with it, too.
ports=
for i in 1 2 3 4 5; do ports="$ports -device pcie-root-port,id=rp$i,chassis=$i"; done
run promote -r 2 -p "object_add memory-backend-ram,id=mem1,size=64M" -p "device_add pc-dimm,memdev=mem1,id=dimm1" \
	-p "device_add qemu64-x86_64-cpu,id=cpu1,socket-id=0,core-id=1,thread-id=0" -p "device_add usb-tablet,bus=xhci.0,id=tab1" \
	-p "object_add rng-random,id=rng1,filename=/dev/urandom" -p "device_add virtio-rng-pci,rng=rng1,bus=rp4,id=r1" \
	-p "netdev_add user,id=n1" -p "device_add virtio-net-pci,netdev=n1,bus=rp2,id=nic1,mac=52:54:00:00:00:99" \
	-p "netdev_add user,id=n2,net=10.9.0.0/24,restrict=on" -p "device_add e1000e,netdev=n2,bus=rp3" \
	-p "chardev-add socket,id=c1,path=$tmp/c1.sock,server=on,wait=off" \
	-p "device_add virtserialport,bus=vs0.0,chardev=c1,name=org.x,id=vsp" \
	-p "chardev-add null,id=c2" -p "device_add pci-serial,bus=rp5,chardev=c2,id=ps" \
	$q -M q35 -nodefaults -display none -m 256,slots=4,maxmem=1G -smp 1,maxcpus=4 $ports -device qemu-xhci,id=xhci \
	-device virtio-serial-pci,id=vs0
run promote -r 2 -p "device_del k" -p "device_del p1" -p "device_add usb-hub,bus=xhci.0,id=hub,port=3" \
	-p "device_add usb-mouse,bus=xhci.0,port=3.2,id=m" -p "device_add usb-kbd" \
	$q -M q35 -nodefaults -display none -m 256 -device qemu-xhci,id=xhci -device virtio-serial -device usb-kbd,id=k \
	-device usb-tablet -device virtserialport,id=p1 -device virtserialport,id=p2
run promote -r 2 -p "device_add virtio-scsi-pci,id=late,bus=pci.1,addr=4" -p "device_add pci-bridge,id=br2,chassis_nr=5" \
	-p "device_add virtio-rng-pci,bus=br2,addr=1" -p "device_add e1000" \
	$q -M pc -m 128 -device pci-bridge,id=pci.1,chassis_nr=1 -device virtio-rng-pci -display none -nographic
run refuse $q -M q35 -m 256 -display none
run reap $q -M q35 -m 256 -display none -serial "file:$tmp/s2"

# In a network of its own, so that no tap or bridge stays behind.
bridge="ip link set lo up && ip link add tvtbr type bridge && ip link set tvtbr up && exec"
net() { unshare -n sh -c "$bridge \"\$@\"" sh "$@"; }
if unshare -n sh -c "$bridge true" 2>/dev/null; then
	echo "== tap and bridge"
	net timeout 600 "$tools/hv_standby_promote" -b tvtbr $q -M q35 -m 256 -display none \
		-netdev tap,id=n,ifname=tvp0,script=no,downscript=no \
		-device virtio-net-pci,netdev=n,romfile= || { echo FAILED; failed=1; }
else
	echo "== tap and bridge: SKIPPED, no bridge can be made here"
fi
if [ -e "$guest/vmlinuz" ]; then
	run promote -r 2 -s "$tmp/ser" $q -M q35 -m 512 -smp 2 -display none -serial "file:$tmp/ser" \
		-kernel "$guest/vmlinuz" -initrd "$guest/initramfs.gz" \
		-append "console=ttyS0 twinvm.tick=1 twinvm.load=dirty:2000" \
		-netdev user,id=n -device virtio-net-pci,netdev=n,romfile=
else
	echo "== a Linux guest: SKIPPED, $guest is not there (make guest)"
fi
exit $failed
