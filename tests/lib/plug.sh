# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that can be given devices while it runs, and shows that it uses them. Source it after pair.sh.
#
#   plug_start HOST [ARGS...]    vm1: with free ports, memory slots, buses, a shell (guest_sh) and a human monitor
#   plug HOST LINE...            lines for that monitor; each must be obeyed
#   guest_sh COMMAND             prints what the guest's shell prints
#   await_guest WHAT COMMAND     until the guest's shell finds it true
#   bus_is_free HOST ID          is no device of that id in the VM?
#   plug_all HOST                one device of each kind; see what used_all looks at
#   used_all WHAT                the guest uses each of them: what it wrote to the disks before is still there
#   unplug_all HOST              takes each away again, and waits for the guest

PLUG_MAC=52:54:00:77:01:02

plug_start() {
	local host=$1 i ports=()
	shift
	for i in 1 2 3 4 5 6; do
		ports+=(-device "pcie-root-port,id=rp$i,chassis=$i")
	done
	# The last -m counts, and the last -smp.
	GUEST_EXTRA="twinvm.shell=1 twinvm.plug=1 ${GUEST_EXTRA:-}" guest_start "$host" vm1 -m 512,slots=4,maxmem=2G -smp 1,maxcpus=2 \
		"${ports[@]}" -device qemu-xhci,id=xhci -device virtio-scsi-pci,id=scsi0 -device virtio-serial-pci,id=vs0 \
		-chardev "socket,id=hmp,path=$PAIR_DIR/vm1.hmp,server=on,wait=off" -mon chardev=hmp,mode=readline "$@"
	PLUG_HMP=$PAIR_DIR/vm1.hmp
}

plug() {
	local host=$1 line
	for line in "${@:2}"; do
		host_run "$host" python3 tests/tools/hmp.py "$PLUG_HMP" "$line" >"$PAIR_DIR/plug" || fail "no monitor of vm1 on $host"
		! grep -vE '^(OK)?$' "$PAIR_DIR/plug" || fail "$line: $(<"$PAIR_DIR/plug")"
	done
}

guest_sh() {
	# shellcheck disable=SC2016 # that shell's
	host_run client timeout 20 bash -c 'exec 3<>/dev/tcp/$0/7002 && printf "%s\nexit\n" "$1" >&3 && cat <&3' "$GUEST_IP" "$1"
}
_guest_true() { [[ $(guest_sh "{ $1; } >/dev/null 2>&1 && echo yes") = yes ]]; }
await_guest() { await "$AWAIT_S" "$1" _guest_true "$2"; }
bus_is_free() {
	local tree # a reader that ends early would end the writer, which looks like nothing found
	tree=$(host_run "$1" python3 tests/tools/hmp.py "$PLUG_HMP" "info qtree") && [[ $tree = *"bus: "* && $tree != *"\"$2\""* ]]
}

# Images, a tap, and the lines for plug_all's devices.
plug_prepare() {
	local f
	for f in vb sd us; do
		truncate -s 16M "$PAIR_DIR/$f.raw"
	done
	host_tap "$1" tap-late
	host_run client ip addr add 10.79.0.100/24 dev cl0 2>/dev/null || true
}

plug_all() {
	plug "$1" \
		"drive_add 0 if=none,id=vb,file=$PAIR_DIR/vb.raw,format=raw" "device_add virtio-blk-pci,drive=vb,bus=rp1,id=vb1" \
		"drive_add -n 0 driver=raw,node-name=sd,file.driver=file,file.filename=$PAIR_DIR/sd.raw" \
		"device_add scsi-hd,drive=sd,bus=scsi0.0,id=sd1" \
		"netdev_add tap,id=late0,ifname=tap-late,script=no,downscript=no" \
		"device_add virtio-net-pci,netdev=late0,bus=rp2,id=nic1,mac=$PLUG_MAC" \
		"netdev_add user,id=late1" "device_add virtio-net-pci,netdev=late1,bus=rp3" \
		"device_add qemu64-x86_64-cpu,id=cpu1,socket-id=0,core-id=1,thread-id=0" \
		"object_add memory-backend-ram,id=mem1,size=128M" "device_add pc-dimm,memdev=mem1,id=dimm1" \
		"device_add usb-tablet,bus=xhci.0,id=tablet1" \
		"drive_add 0 if=none,id=us,file=$PAIR_DIR/us.raw,format=raw" "device_add usb-storage,bus=xhci.0,drive=us,id=us1" \
		"object_add rng-random,id=rng1,filename=/dev/urandom" "device_add virtio-rng-pci,rng=rng1,bus=rp4,id=r1" \
		"chardev-add null,id=port1" "device_add virtserialport,bus=vs0.0,chardev=port1,name=org.twinvm.late,id=vp1" \
		"chardev-add null,id=com1" "device_add pci-serial,bus=rp5,chardev=com1,id=com"
}

# Once: brings up what the guest does not bring up by itself, and writes the first contents.
use_all() {
	await_guest "the guest to see its new devices" \
		'test -e /dev/vda && test -e /dev/sda && test -e /sys/class/net/eth2 && test -e /sys/devices/system/cpu/cpu1 && test -e /dev/vport0p1 -o -e /dev/vport1p1 -o -e /dev/vport2p1'
	guest_sh 'echo 1 >/sys/devices/system/cpu/cpu1/online
		for m in /sys/devices/system/memory/memory*; do grep -q offline $m/state && echo online_movable >$m/state; done
		echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
		ip addr add 10.79.0.2/24 dev eth1; ip link set eth1 up
		dd if=/dev/urandom of=/tmp/fresh bs=64k count=256 2>/dev/null
		for d in vda sda; do dd if=/tmp/fresh of=/dev/$d bs=1M conv=fsync 2>/dev/null; done
		cat /tmp/fresh >/tmp/kept; md5sum </tmp/fresh >/tmp/sum'
	used_all "at first"
}

used_all() {
	local out
	# /tmp/kept lies in memory that was plugged in: the only movable zone.
	out=$(guest_sh 'echo 3 >/proc/sys/vm/drop_caches
		for f in /dev/vda /dev/sda /tmp/kept; do [ "$(md5sum <$f)" = "$(cat /tmp/sum)" ] || echo "contents of $f"; done
		taskset 2 true || echo "CPU 1"
		grep -q "^Node 0, zone *Movable" /proc/zoneinfo || echo memory
		for c in /sys/bus/pci/devices/*/config; do [ "$(od -An -tx2 -N2 $c)" != " ffff" ] || echo "$c"; done
		dd if=/dev/urandom of=/tmp/fresh bs=64k count=256 2>/dev/null
		for f in /dev/vda /dev/sda /tmp/kept; do dd if=/tmp/fresh of=$f bs=1M conv=notrunc,fsync 2>/dev/null; done
		md5sum </tmp/fresh >/tmp/sum; echo end')
	[[ $out = end ]] || fail "$1: not as it was in the guest: $out"
	# shellcheck disable=SC2016 # that shell's
	host_run client timeout 20 bash -c 'exec 3<>/dev/tcp/10.79.0.2/7 && echo hello >&3 && read -r -t 15 x <&3 && [[ $x = hello ]]' ||
		fail "$1: the NIC that was plugged in does not answer"
	step "the guest uses its devices: $1"
}
