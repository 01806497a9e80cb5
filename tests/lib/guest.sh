# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test guest (tests/guest) as VM and, its redis-server, as a program of this machine.
# shellcheck disable=SC2034 # variables for the scripts

GUEST_DIR=${B:-build}/guest
GUEST_KERNEL=$GUEST_DIR/vmlinuz
GUEST_INITRD=$GUEST_DIR/initramfs.gz

# memmap=… for programs that write guest memory from outside: 64 MiB at 256 MiB that the guest never uses
GUEST_RESERVE_ADDR=$((256 << 20)) GUEST_RESERVE_BYTES=$((64 << 20))
# shellcheck disable=SC2016 # no variable
GUEST_RESERVE='memmap=64M$0x10000000'

# kvm only where it runs a real Linux guest: /dev/kvm existing proves nothing.
guest_accel() {
	if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
		echo kvm
	else
		echo tcg
	fi
}

# guest_append [WORD...]: the kernel command line, with the address on the client network: 10.77.0.GUEST_NO (2)
guest_append() {
	echo "$(<"$GUEST_DIR/cmdline") twinvm.ip=10.77.0.${GUEST_NO:-2}/24 $*"
}

# guest_command NAME TAP QMP_SOCKET CONSOLE_LOG [MACHINE]: sets GUEST_COMMAND, what an operator would type. From the
# environment: GUEST_ACCEL (else what this machine can do), GUEST_SMP, GUEST_NETDEV (",vhost=on"), GUEST_NIC (",mq=on")
guest_command() {
	# shellcheck disable=SC2086 # GUEST_EXTRA is words
	GUEST_COMMAND=(qemu-system-x86_64 -name "$1" -M "${5:-q35}" -accel "${GUEST_ACCEL:-$(guest_accel)}"
		-m 512 -smp "${GUEST_SMP:-1}" -nodefaults -display none -no-reboot
		-kernel "$GUEST_KERNEL" -initrd "$GUEST_INITRD"
		-append "$(guest_append ${GUEST_EXTRA:-})"
		-netdev "tap,id=net0,ifname=$2,script=no,downscript=no${GUEST_NETDEV:-}"
		-device "virtio-net-pci,netdev=net0,mac=$(printf "52:54:00:77:00:%02x" "${GUEST_NO:-2}"),romfile=${GUEST_NIC:-}"
		-serial "file:$4" -qmp "unix:$3,server=on,wait=off")
}

# guest_disk IMAGE MIB: an ext4 file system for twinvm.disk=
guest_disk() {
	truncate -s "$2M" "$1"
	mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$1"
}

guest_ready() {
	! grep -aqE 'GUEST FAILED|Kernel panic' "$1" 2>/dev/null || return 2
	grep -aq 'GUEST READY' "$1" 2>/dev/null
}

# The guest's redis-server, run by the unpacked tree's own loader.
guest_redis_command() {
	local root=$PWD/$GUEST_DIR/packages
	[[ $GUEST_DIR != /* ]] || root=$GUEST_DIR/packages
	REDIS_COMMAND=("$root/lib64/ld-linux-x86-64.so.2" --inhibit-cache --library-path
		"$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu"
		"$root/usr/bin/redis-server" --save '' --appendonly no --logfile '')
}
