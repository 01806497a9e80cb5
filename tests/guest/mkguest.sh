#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the test guest from Debian's packages only: BUILD/guest/vmlinuz, BUILD/guest/initramfs.gz
# (kernel, busybox, redis-server with the libraries it needs, three small programs for tests) and BUILD/guest/cmdline, the kernel command
# line to begin with. The packages are unpacked, never
# installed; they stay in BUILD/cache/debs, so that only the first run needs the archive. The same
# inputs give the same bytes, and nothing is done when no input has changed.
# usage: mkguest.sh [BUILD]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m "${1:-build}")
debs=$build/cache/debs
guest=$build/guest
root=$guest/packages # everything unpacked; tests run this redis-server on the host, too
tree=$guest/tree     # what goes into the initramfs

kernel_meta=linux-image-cloud-amd64
packages=(
	busybox-static redis-server redis-tools
	libc6 libatomic1 libjemalloc2 liblzf1 libssl3 libsystemd0 libstdc++6 libgcc-s1
	libcap2 libgcrypt20 libgpg-error0 liblzma5 libzstd1 liblz4-1
)
modules=(virtio_pci virtio_net virtio_blk virtio_balloon crc32c_generic ext4)
more_modules=(virtio_scsi sd_mod virtio_console) # loaded with twinvm.plug=1
# Why each of these:
#   tsc=reliable     no watchdog that distrusts the TSC when the machine is busy and falls back to the
#                    slow HPET, nor when the VM continues on another host
#   no_timer_check   the boot's IRQ 0 test counts ticks in real time and panics on a busy machine
#   rcu…, nowatch…   no complaints about a VM that was paused
#   mitigations=off  TCG has no speculation to be saved from
cmdline="console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check nowatchdog"
cmdline+=" rcupdate.rcu_cpu_stall_suppress=1 mitigations=off nokaslr"

die() {
	echo "mkguest: $*" >&2
	exit 1
}

# Downloads what the cache does not have yet; "list" is written last, so it names a complete set.
fetch() {
	[[ -e $debs/list ]] && (cd "$debs" && xargs -r ls <list >/dev/null 2>&1) && return
	mkdir -p "$debs"
	local kernel
	kernel=$(kernel_package)
	if [[ -z $kernel ]]; then
		((EUID == 0)) || die "apt knows no $kernel_meta; run 'apt-get update' as root"
		apt-get -qq update || die "apt-get update failed"
		kernel=$(kernel_package)
		[[ -n $kernel ]] || die "no package $kernel_meta in this machine's sources"
	fi
	echo "mkguest: fetching $kernel and ${#packages[@]} packages"
	rm -f "$debs"/*.deb
	download "$kernel" "${packages[@]}" || {
		((EUID == 0)) || die "download failed; run 'apt-get update' as root and try again"
		apt-get -qq update || die "apt-get update failed"
		download "$(kernel_package)" "${packages[@]}" || die "download failed"
	}
	(cd "$debs" && ls ./*.deb >list)
}
kernel_package() {
	apt-cache depends "$kernel_meta" 2>/dev/null | awk '/Depends: linux-image/{print $2; exit}'
}
download() {
	(cd "$debs" && apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3 download "$@")
}

inputs_hash() {
	(cd "$here" && cat mkguest.sh rc inittab redis.conf verify.c verify_pattern.h diskbench.c clockcheck.c workload.c && cat "$debs/list") | sha256sum
}

# The libraries a program needs, found by the unpacked tree's own loader in that tree alone.
copy_program() {
	local program=$1 loader=$root/lib64/ld-linux-x86-64.so.2 line lib
	install -D -m 755 "$(realpath "$root/usr/bin/$program")" "$tree/usr/bin/$program"
	while read -r line; do
		[[ $line = *"not found"* ]] && die "$program needs ${line%% *}: name its package here"
		lib=$(awk '$2 == "=>" {print $3}' <<<"$line")
		[[ -n $lib && $line != /* ]] || continue
		[[ $lib = "$root"/* ]] || die "$program needs ${line%% *}: name its package here"
		install -D -m 644 "$(realpath "$lib")" "$tree/lib/x86_64-linux-gnu/${line%% *}"
	done < <("$loader" --inhibit-cache --library-path \
		"$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu" \
		--list "$(realpath "$root/usr/bin/$program")")
	install -D -m 755 "$(realpath "$loader")" "$tree/lib64/ld-linux-x86-64.so.2"
}

unpack() {
	rm -rf "$root"
	mkdir -p "$root"
	local deb
	while read -r deb; do
		dpkg -x "$debs/$deb" "$root"
	done <"$debs/list"
	rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
}

make_tree() {
	rm -rf "$tree"
	mkdir -p "$tree"/{bin,sbin,usr/bin,lib,lib64,etc,proc,sys,dev,tmp,root,www,modules}
	install -m 755 "$root/bin/busybox" "$tree/bin/busybox"
	local applet file m
	while read -r applet; do
		[[ $applet = busybox ]] || ln -s busybox "$tree/bin/$applet"
	done < <("$root/bin/busybox" --list)
	ln -s bin/busybox "$tree/init"
	install -m 755 "$here/rc" "$tree/etc/rc"
	install -m 644 "$here/inittab" "$here/redis.conf" "$tree/etc/"
	copy_program redis-server
	# The programs that are not Debian's: they test disks and clocks from inside, or work; a guest has no compiler.
	for m in verify diskbench clockcheck workload; do
		${CC:-cc} -O2 -static -pthread -std=gnu11 -D_GNU_SOURCE -o "$tree/bin/$m" "$here/$m.c"
	done
	for m in "${modules[@]}"; do
		add_module "$m" order
	done
	for m in "${more_modules[@]}"; do
		add_module "$m" more
	done
}

# A module after the ones it depends on: /etc/rc loads them in the order of modules/order, then of modules/more.
add_module() {
	local m=$1 list=$2 file dep
	[[ ! -e $tree/modules/$m.ko ]] || return 0
	file=$(find "$root/lib/modules" -name "$m.ko")
	if [[ -z $file ]]; then
		grep -q "/$m.ko$" "$root"/lib/modules/*/modules.builtin && return
		die "the kernel has no module $m, or a compressed one"
	fi
	for dep in $(modinfo -F depends "$file" | tr , ' '); do
		add_module "$dep" "$list"
	done
	install -m 644 "$file" "$tree/modules/"
	echo "$m.ko" >>"$tree/modules/$list"
}

pack() {
	find "$tree" -exec touch -h -d @0 {} +
	(cd "$tree" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
		cpio -0 -o -H newc -R 0:0 --reproducible --quiet) | gzip -n -1 >"$guest/initramfs.tmp"
	mv "$guest/initramfs.tmp" "$guest/initramfs.gz"
}

mkdir -p "$guest"
exec 9>"$guest/lock"
flock 9 # two tests may ask for the guest at once
fetch
hash=$(inputs_hash)
if [[ -e $guest/initramfs.gz && $(cat "$guest/inputs" 2>/dev/null) = "$hash" ]]; then
	exit 0
fi
rm -f "$guest/inputs"
unpack
make_tree
pack
cp "$root"/boot/vmlinuz-* "$guest/vmlinuz"
echo "$cmdline" >"$guest/cmdline"
echo "$hash" >"$guest/inputs"
echo "mkguest: $guest/vmlinuz, $guest/initramfs.gz ($(du -h "$guest/initramfs.gz" | cut -f1))"
