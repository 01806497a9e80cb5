#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes what lab hosts boot from Debian's packages and this machine's own programs:
#   BUILD/lab/vmlinuz-6.12, initrd-6.12.gz, and the same for 6.1 (Debian 12's default kernel)
#   BUILD/lab/root.ext4, one read-only image for all hosts and both kernels
#   BUILD/lab/tiny.bin, the smallest guest
#   BUILD/lab/libvirt.ext4, when asked for: what libvirt needs besides, for the hosts of tests that say LAB_MORE=libvirt
# Kernel packages are only unpacked, never installed; they stay in BUILD/cache/lab. Nothing is done when no
# input has changed. twinvm itself is not in the image: hosts see the build folder (lib/lab.sh).
# usage: mklab.sh [BUILD [libvirt]]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m "${1:-build}")
cache=$build/cache/lab
lab=$build/lab
tree=$lab/tree

declare -A kernel_meta=([6.12]=linux-image-6.12-amd64 [6.1]=linux-image-amd64)
boot_modules=(virtio_pci virtio_blk crc32c_generic ext4 overlay)
host_modules=(virtio_net 9p 9pnet_virtio tun bridge veth sch_plug ifb act_mirred cls_matchall sch_ingress
	sch_netem kvm-amd vhost_net mce-inject hwpoison-inject)
programs=(bash qemu-system-x86_64 qemu-img ip tc bridge kmod setpriv nbdkit gdb strace)
optional=(nbdkit gdb strace) # taken along where they are installed
arch_lib=/usr/lib/x86_64-linux-gnu
data=(/usr/share/qemu /usr/share/seabios "$arch_lib"/qemu/accel-tcg-x86_64.so)
# The display modules are for the domain of tests/tools/libvirt_xml.py.
libvirt_programs=(libvirtd virtlogd virsh install pgrep)
libvirt_data=(/usr/share/libvirt/cpu_map "$arch_lib"/libvirt/connection-driver/libvirt_driver_qemu.so
	"$arch_lib"/libvirt/storage-file/libvirt_storage_file_fs.so
	"$arch_lib"/qemu/hw-display-virtio-{gpu,gpu-pci,vga}.so)

die() {
	echo "mklab: $*" >&2
	exit 1
}

download() { # VERSION: the package's file name on stdout
	local package
	package=$(apt-cache depends "${kernel_meta[$1]}" 2>/dev/null | awk '/Depends: linux-image/{print $2; exit}')
	[[ -n $package ]] || return 1
	(cd "$cache" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$package" &&
		ls "${package}"_*.deb | tail -n 1)
}
fetch() {
	local v file
	mkdir -p "$cache"
	for v in "${!kernel_meta[@]}"; do
		[[ ! -e $cache/kernel-$v || ! -e $cache/$(<"$cache/kernel-$v") ]] || continue
		file=$(download "$v") || {
			((EUID != 0)) || apt-get -qq update || die "apt-get update failed"
			file=$(download "$v") || die "no package ${kernel_meta[$v]}: run 'apt-get update' as root and try again"
		}
		echo "$file" >"$cache/kernel-$v"
	done
}

stat_programs() {
	local p
	for p; do
		! command -v "$p" >/dev/null || stat -L -c '%n %s %Y' "$(command -v "$p")"
	done
}
inputs_hash() {
	{
		cat "$here"/{mklab.sh,init,rc,tiny.S} "$cache"/kernel-*
		# Which libraries our own programs need; where they are loaded to differs each time.
		ldd "$build"/twinvmd "$build"/twinvm "$build"/tools/labagent | sed 's/ (0x.*//'
		stat_programs "${programs[@]}"
	} 2>/dev/null | sha256sum
}
libvirt_hash() {
	{
		cat "$here"/mklab.sh
		ldd "$build"/twinvm-libvirt | sed 's/ (0x.*//'
		stat_programs "${libvirt_programs[@]}"
		stat -L -c '%n %s %Y' "${libvirt_data[@]}"
	} 2>/dev/null | sha256sum
}

# A program and the libraries it needs, at their own paths.
copy_program() {
	local file lib
	file=$(command -v "$1") || {
		[[ " ${optional[*]} " = *" $1 "* ]] && return
		die "no $1 on this machine: run 'make deps' as root"
	}
	install -D -m 755 "$(realpath "$file")" "$tree$file"
	copy_libraries "$file"
}
copy_libraries() {
	local lib
	while read -r lib; do
		[[ -e $tree$lib ]] || install -D -m 755 "$(realpath "$lib")" "$tree$lib"
	done < <(ldd "$1" 2>/dev/null | grep -oE '(/usr)?/lib[^ ]+')
}

# Files of modules with what they depend on, in loading order.
module_files() { # VERSION MODULE...
	local dir=$lab/kernel-$1 release m
	release=$(ls "$dir/lib/modules")
	shift
	for m; do
		modprobe -d "$dir" -S "$release" --show-depends "$m" 2>/dev/null | awk '/^insmod/{print $2}' ||
			die "the kernel $release has no module $m"
	done | awk '!seen[$0]++'
}
copy_module() { # FILE TARGET_FOLDER: uncompressed
	mkdir -p "$2"
	case $1 in
	*.xz) xz -dc "$1" >"$2/$(basename "$1" .xz)" ;;
	*) cp "$1" "$2/" ;;
	esac
}

make_initrd() { # VERSION
	local t=$lab/initrd-tree file
	rm -rf "$t"
	mkdir -p "$t"/{bin,modules,proc,sys,dev,lower,more,overlay}
	install -m 755 "$busybox" "$t/bin/busybox"
	install -m 755 "$here/init" "$t/init"
	while read -r file; do
		copy_module "$file" "$t/modules"
		basename "$file" .xz >>"$t/modules/order"
	done < <(module_files "$1" "${boot_modules[@]}")
	(cd "$t" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$lab/initrd-$1.gz"
	rm -rf "$t"
}
make_kernel() { # VERSION
	local v=$1 dir=$lab/kernel-$1 release file
	rm -rf "$dir"
	mkdir -p "$dir"
	dpkg -x "$cache/$(<"$cache/kernel-$v")" "$dir"
	release=$(ls "$dir/lib/modules")
	depmod -b "$dir" "$release"
	cp "$dir/boot/vmlinuz-$release" "$lab/vmlinuz-$v"
	make_initrd "$v"
	while read -r file; do
		copy_module "$file" "$tree/lib/modules/$release"
	done < <(module_files "$v" "${host_modules[@]}")
	cp "$dir/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$tree/lib/modules/$release/"
	depmod -b "$tree" "$release"
	rm -rf "$dir"
}

empty_tree() {
	local p
	rm -rf "$tree"
	mkdir -p "$tree"/{usr/{bin,sbin,lib,lib64},etc}
	for p in bin sbin lib lib64; do
		ln -s "usr/$p" "$tree/$p"
	done
}
copy_data() { # FILE_OR_FOLDER...
	local p
	for p; do
		[[ -e $p ]] || continue
		mkdir -p "$tree${p%/*}"
		cp -rL "$p" "$tree$p"
		[[ $p != *.so ]] || copy_libraries "$p"
	done
}
# Users and groups: kvm's, which /dev/kvm belongs to; more lines of each.
write_users() { # PASSWD_LINES GROUP_LINES KVM_MEMBERS
	printf '%s\n' root:x:0:0:root:/root:/bin/bash twinvm:x:991:991::/nonexistent:/bin/false \
		twinvm-vm:x:992:992::/nonexistent:/bin/false ${1:+"$1"} >"$tree/etc/passwd"
	printf '%s\n' root:x:0: twinvm:x:991: twinvm-vm:x:992:twinvm "kvm:x:993:${3:-}" ${2:+"$2"} >"$tree/etc/group"
}
make_tree() {
	local applet p
	empty_tree
	mkdir -p "$tree"/{proc,sys,dev,run,tmp,root,var/lib,mnt}
	for p in "${programs[@]}"; do
		copy_program "$p"
	done
	for p in modprobe lsmod insmod rmmod depmod modinfo; do
		ln -sf /bin/kmod "$tree/usr/sbin/$p"
	done
	install -m 755 "$busybox" "$tree/usr/bin/busybox"
	while read -r applet; do
		[[ -e $tree/usr/bin/$applet || -e $tree/usr/sbin/$applet || -L $tree/usr/sbin/$applet ]] ||
			ln -s busybox "$tree/usr/bin/$applet"
	done < <("$busybox" --list)
	copy_data "${data[@]}"
	# What our own programs link to (tests/deps.sh installs it for building).
	for p in "$build"/twinvmd "$build"/twinvm "$build"/tools/labagent; do
		copy_libraries "$p"
	done
	install -m 755 "$here/rc" "$tree/etc/lab-rc"
	printf '%s\n' "${host_modules[@]}" >"$tree/etc/lab-modules"
	write_users
}
# Laid over the other tree by the hosts' init. Its users are the packages' own.
make_libvirt_tree() {
	local p
	empty_tree
	mkdir -p "$tree"/{etc/libvirt,var/{log,cache}/libvirt}
	for p in "${libvirt_programs[@]}"; do
		copy_program "$p"
	done
	copy_libraries "$build/twinvm-libvirt"
	copy_data "${libvirt_data[@]}"
	write_users libvirt-qemu:x:64055:993::/var/lib/libvirt:/bin/false \
		"$(printf '%s\n' libvirt-qemu:x:64055:libvirt-qemu libvirt:x:994:)" libvirt-qemu
	echo "hosts: files" >"$tree/etc/nsswitch.conf"
	touch "$tree/etc/hosts"
	ln -s ../run "$tree/var/run"
}
make_image() { # FILE: of the tree
	rm -f "$lab/image.tmp"
	mkfs.ext4 -q -F -O ^has_journal -m 0 -d "$tree" "$lab/image.tmp" "$(($(du -sm "$tree" | cut -f1) * 12 / 10 + 32))M"
	mv "$lab/image.tmp" "$1"
	rm -rf "$tree"
}
libvirt_image() {
	local hash
	hash=$(libvirt_hash)
	[[ ! -e $lab/libvirt.ext4 || $(cat "$lab/libvirt.inputs" 2>/dev/null) != "$hash" ]] || return 0
	[[ -x $build/twinvm-libvirt ]] || die "no $build/twinvm-libvirt: run 'make all'"
	rm -f "$lab/libvirt.inputs"
	make_libvirt_tree
	make_image "$lab/libvirt.ext4"
	echo "$hash" >"$lab/libvirt.inputs"
	echo "mklab: $lab/libvirt.ext4 ($(du -h "$lab/libvirt.ext4" | cut -f1))"
}

mkdir -p "$lab"
exec 9>"$lab/lock"
flock 9
[[ ${2:-} != libvirt ]] || libvirt_image
fetch
hash=$(inputs_hash)
if [[ -e $lab/root.ext4 && $(cat "$lab/inputs" 2>/dev/null) = "$hash" ]]; then
	exit 0
fi
[[ -x $build/twinvmd && -x $build/tools/labagent ]] || die "no $build/twinvmd or labagent: run 'make all tools'"
busybox=$build/guest/packages/bin/busybox
[[ -x $busybox ]] || die "no busybox in $build/guest: run 'make guest'"
rm -f "$lab/inputs"
make_tree
for v in "${!kernel_meta[@]}"; do
	make_kernel "$v"
done
as --32 -o "$lab/tiny.o" "$here/tiny.S"
ld -m elf_i386 -Ttext 0 --oformat binary -o "$lab/tiny.bin" "$lab/tiny.o"
make_image "$lab/root.ext4"
echo "$hash" >"$lab/inputs"
echo "mklab: $lab/root.ext4 ($(du -h "$lab/root.ext4" | cut -f1)), kernels ${!kernel_meta[*]}"
