# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# VMs as Proxmox VE 8 starts them, and its tools. Source it after pair.sh, as root.
# shellcheck disable=SC2034,SC2004 # variables of pair.sh
#
#   pve_up                   hostA as a node: its folder, and qmeventd, to which every VM connects
#   pve_start ID NAME [ARG]...  a VM with the test guest in it, as `qm showcmd` shows one (without what only Proxmox VE's QEMU
#                            has: -id, pc+pve0), and with ARGs as from `args:`; waits until the guest answers
#   pve_start_bare ID NAME [ARG]...  the same without a guest
#   pve_qm ID COMMAND [JSON] one command as qm gives it
#   pve_tools_start ID       a client that asks as qm does, ten times a second, from now on
#   pve_asked N              waits until it has asked N times more
#   pve_count WHAT           since the last count: prints how it went. Fails when more than PVE_MAY_FAIL (0) questions failed,
#                            or one of them by a time-out
#   pve_nothing_left DIR     no socket of a monitor lies there that nobody serves

_PVE_COUNTED=0

pve_up() {
	host_run hostA mkdir -p /run/qemu-server
	cat >"$PAIR_DIR/qmeventd.py" <<-'END'
		import socket, threading
		s = socket.socket(socket.AF_UNIX)
		s.bind("/run/qmeventd.sock")
		s.listen(8)
		def serve(c):
		  c.sendall(b'{"execute":"qmp_capabilities"}\n')
		  while c.recv(4096): pass
		while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
	END
	host_spawn hostA "$PAIR_DIR/qmeventd.log" python3 "$PAIR_DIR/qmeventd.py"
	await "$AWAIT_S" "qmeventd" test -S "$(host_path hostA /run/qmeventd.sock)"
}

pve_start_bare() {
	local id=$1 name=$2 run=/run/qemu-server
	shift 2
	host_run hostA ip link show "tap${id}i0" >/dev/null 2>&1 || host_tap hostA "tap${id}i0"
	qemu-img create -q -f raw "$PAIR_DIR/vm-$id-disk-0.raw" 64M
	host_spawn hostA "$PAIR_DIR/$name-qemu.log" qemu-system-x86_64 -name "$name,debug-threads=on" -no-shutdown \
		-chardev "socket,id=qmp,path=/var$run/$id.qmp,server=on,wait=off" -mon chardev=qmp,mode=control \
		-chardev "socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5" -mon chardev=qmp-event,mode=control \
		-pidfile "/var$run/$id.pid" -smbios type=1,uuid=a72029d4-c893-49c1-a9f3-cf50378eda30 -smp 1,sockets=1,cores=1,maxcpus=1 \
		-nodefaults -boot menu=on,strict=on,reboot-timeout=1000 -vnc "unix:/var$run/$id.vnc,password=on" -cpu qemu64,enforce -m 512 \
		-object iothread,id=iothread-virtioscsi0 -device pci-bridge,id=pci.1,chassis_nr=1,bus=pci.0,addr=0x1e \
		-device pci-bridge,id=pci.3,chassis_nr=3,bus=pci.0,addr=0x5 \
		-device vmgenid,guid=8a062fe1-5c54-4382-8ef8-e0dc13e274f8 -device piix3-usb-uhci,id=uhci,bus=pci.0,addr=0x1.0x2 \
		-device usb-tablet,id=tablet,bus=uhci.0,port=1 -device VGA,id=vga,bus=pci.0,addr=0x2 \
		-chardev "socket,path=/var$run/$id.qga,server=on,wait=off,id=qga0" -device virtio-serial,id=qga0,bus=pci.0,addr=0x8 \
		-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0 \
		-device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on \
		-device virtio-scsi-pci,id=virtioscsi0,bus=pci.3,addr=0x1,iothread=iothread-virtioscsi0 \
		-drive "file=$PAIR_DIR/vm-$id-disk-0.raw,if=none,id=drive-scsi0,discard=on,format=raw,cache=none,aio=threads,detect-zeroes=unmap" \
		-device scsi-hd,bus=virtioscsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,bootindex=100 \
		-netdev "type=tap,id=net0,ifname=tap${id}i0,script=no,downscript=no" \
		-device virtio-net-pci,mac=52:54:00:77:00:02,netdev=net0,bus=pci.0,addr=0x12,id=net0,rx_queue_size=1024,tx_queue_size=256 \
		-machine type=pc "$@"
	GUEST_PID[$name]=$SPAWNED_PID
	await "$AWAIT_S" "QMP of $name" test -S "$(host_path hostA "$run/$id.qmp")"
}
pve_start() {
	local name=$2
	pve_start_bare "$@" -kernel "$PAIR_ROOT/$GUEST_KERNEL" -initrd "$PAIR_ROOT/$GUEST_INITRD" -append "$(guest_append)"
	await 120 "the guest $name to boot: $(tail -n 1 "$PAIR_DIR/$name-qemu.log")" guest_answers
}

pve_qm() { host_run hostA python3 tests/tools/qm.py "/var/run/qemu-server/$1.qmp" "${@:2}"; }

pve_tools_start() {
	host_spawn hostA "$PAIR_DIR/tools.log" python3 tests/tools/qm.py "/var/run/qemu-server/$1.qmp" every 100 "$PAIR_DIR/tools"
	_PVE_COUNTED=0
	await "$AWAIT_S" "the tools to ask" test -s "$PAIR_DIR/tools"
}
_pve_past() { (($(wc -l <"$PAIR_DIR/tools") >= $1)); }
pve_asked() { await "$AWAIT_S" "the tools to ask $1 times" _pve_past $(($(wc -l <"$PAIR_DIR/tools") + $1)); }
pve_count() {
	local words
	words=$(python3 tests/tools/qm.py count "$PAIR_DIR/tools" "$_PVE_COUNTED" 2>"$PAIR_DIR/failed")
	_PVE_COUNTED=$(wc -l <"$PAIR_DIR/tools")
	echo "qm, $1: $words"
	if (($(wc -l <"$PAIR_DIR/failed") > ${PVE_MAY_FAIL:-0})) || grep -qi "timeout\|timed out" "$PAIR_DIR/failed"; then
		fail "qm's questions, $1: $(<"$PAIR_DIR/failed")"
	fi
}
pve_nothing_left() { [[ -z $(find "$1" -name '*.qmp*') ]]; }
