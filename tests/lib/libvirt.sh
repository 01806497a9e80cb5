# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvirt in the hosts of pair.sh, real libvirtd and virtlogd, and domains on them. Source it after pair.sh; or after
# labpair.sh, for lab hosts that have LAB_MORE=libvirt (pids are then the lab host's).
#
#   lv_up HOST [LINE]...       after pair_up or host_boot: both daemons run there. LINE: of qemu.conf, the first time. Other
#                              hosts reach it as qemu+tcp://HOST/system.
#                              LV_PID[HOST] is libvirtd's real pid. What is defined outlives a power cut
#   lv_stop HOST [SIGNAL]      ends libvirtd (TERM); its QEMUs live on
#   lv_start HOST              starts it again, and waits until it answers; lv_restart HOST: both
#   lv_hang HOST, lv_wake HOST it is stopped (SIGSTOP), and continues
#   lv_hook HOST               installs twinvm's start hook there, as `make install` does; libvirtd is restarted
#   vsh HOST ARGS...           virsh there, stdout and stderr as one
#   vsh_must HOST ARGS...      fails with its output unless it succeeds; sets PRINTED
#   lv_state HOST NAME         one line: "running (booted)"; lv_is HOST NAME PATTERN: does it match, as == of bash does?
#   lv_pid HOST NAME           real pid of the domain's QEMU; nothing when there is none
#   lv_disk HOST NAME          makes its disk, 64 MiB with an ext4 file system: qcow2, $LV_IMAGES/NAME.qcow2
#   lv_xml NAME [WORD]...      prints a domain; WORDs as in tools/libvirt_xml.py. Kernel and disk are set
#   lv_qmp_dir HOST NAME       makes the folder of its second monitor; LV_QMP then is a WORD for lv_xml
#   lv_define HOST NAME [WORD]...   makes disk and kernel, and defines it. GUEST_EXTRA, GUEST_NO as in guest.sh
#   lv_domain HOST NAME [WORD]...   defines it, starts it, waits until its Redis answers; GUEST_PID[NAME], and
#                              GUEST_QMP[NAME] when a word is qmp=PATH
#
# Each host has its own /etc/libvirt, /var/lib/libvirt, /run/libvirt, /var/log/libvirt and /var/cache/libvirt: nothing of
# this machine's libvirt is read or touched. No control groups (theirs are the machine's; a lab host has its own), no
# AppArmor profiles (they would be loaded into the machine's kernel). Logs: $PAIR_DIR/libvirtd-HOST.log, $PAIR_DIR/lv-HOST/log/qemu/NAME.log.

# shellcheck disable=SC2034 # for the scripts
LV_IMAGES=/var/lib/libvirt/images
LV_QMP=
declare -A LV_PID=() LV_JOB=()

_lv_lab() { declare -F is_lab >/dev/null && is_lab "$1"; }
_lv_accel() { echo "${GUEST_ACCEL:-$(guest_accel)}"; }

# What a host has before its first start. Names are there since each start of a domain asks for the host's own.
_lv_files() {
	local host=$1 d=$PAIR_DIR/lv-$1 no=${HOST_NO[$1]} other
	shift
	mkdir -p "$d"/{etc/hooks,log,cache}
	{
		printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$host"
		for other in $PAIR_HOSTS; do
			[[ $other = "$host" ]] || echo "${HOST_REPL_ADDR[$other]} $other"
		done
	} >"$d/hosts"
	# Hosts share the machine's id, and libvirt does not migrate from a host to the same host.
	cat >"$d/etc/libvirtd.conf" <<-END
		auth_unix_ro = "none"
		auth_unix_rw = "none"
		listen_tls = 0
		listen_tcp = 1
		auth_tcp = "none"
		log_outputs = "3:file:$PAIR_DIR/libvirtd-$host.log"
		host_uuid = "$(printf '7a1e0c5e-6b1d-4c52-9d4f-0000000000%02d' "$no")"
	END
	printf '%s\n' 'security_driver = "none"' "$@" >"$d/etc/qemu.conf"
}

# A /dev without kvm: one that QEMU opens with root's rights and libvirt cannot as libvirt-qemu makes libvirt ask QEMU what
# it can do each time, for seconds. A file bound over it would stand in the way of the /dev that libvirt makes for each QEMU, and
# so would what is mounted in the old one.
_lv_no_kvm() {
	# shellcheck disable=SC2016 # for that shell
	host_run "$1" sh -c 'cd /dev && mkdir /run/dev && mount -t tmpfs -o mode=755,nosuid tmpfs /run/dev &&
		find . -xdev ! -name kvm -print0 | cpio -0pdm --quiet /run/dev &&
		for d in pts shm; do mount --rbind $d /run/dev/$d || exit; done &&
		umount -Rl /dev && cd / && mount --move /run/dev /dev && rmdir /run/dev' || fail "/dev on $1"
}

lv_up() {
	local host=$1 d=$PAIR_DIR/lv-$1 what
	[[ -d $d ]] || _lv_files "$@"
	for what in etc:/etc/libvirt log:/var/log/libvirt cache:/var/cache/libvirt hosts:/etc/hosts; do
		host_run "$host" mount --bind "$d/${what%%:*}" "${what#*:}"
	done
	if _lv_lab "$host"; then
		host_run "$host" mount -t cgroup2 cgroup2 /sys/fs/cgroup
	else
		[[ ! -e /dev/kvm || $(_lv_accel) = kvm ]] || _lv_no_kvm "$host"
		host_run "$host" sh -c 'umount -l /sys # lazily: twinvmd has some of it open
			umount -R /sys/fs/cgroup 2>/dev/null
			mount -t sysfs -o nosuid,nodev,noexec sysfs /sys' || fail "/sys on $host"
	fi
	# shellcheck disable=SC2016 # for that shell
	host_run "$host" sh -c 'install -d -m 711 /var/lib/libvirt "$0" && install -d -m 750 -o libvirt-qemu -g libvirt-qemu /var/lib/libvirt/qemu' \
		"$LV_IMAGES" || fail "libvirt's folders on $host"
	host_spawn "$host" "$PAIR_DIR/virtlogd-$host.log" /usr/sbin/virtlogd
	lv_start "$host"
}
lv_start() {
	host_spawn "$1" "$PAIR_DIR/libvirtd-$1.log" /usr/sbin/libvirtd --listen
	LV_PID[$1]=$SPAWNED_PID LV_JOB[$1]=$SPAWNED_JOB
	await "$AWAIT_S" "libvirtd on $1" _lv_answers "$1"
}
_lv_answers() { vsh "$1" list >/dev/null; }
lv_kill() {
	if _lv_lab "$1"; then
		host_kill "$1" "$2" "${LV_PID[$1]}"
	else
		kill "-$2" "${LV_PID[$1]}"
	fi
}
_lv_has_ended() { ! lv_kill "$1" 0 2>/dev/null; }
lv_stop() {
	lv_kill "$1" "${2:-TERM}"
	if _lv_lab "$1"; then
		await "$AWAIT_S" "libvirtd on $1 to end" _lv_has_ended "$1"
	else
		wait "${LV_JOB[$1]}" 2>/dev/null || true
	fi
}
lv_restart() {
	lv_stop "$1"
	lv_start "$1"
}
lv_hang() { lv_kill "$1" STOP; }
lv_wake() { lv_kill "$1" CONT; }

lv_hook() {
	local to=$PAIR_DIR/lv-$1/etc/hooks/qemu.d
	mkdir -p "$to"
	sed "s|@SBINDIR@|$PAIR_B|; s|/etc/twinvm/twinvmd.conf|$PAIR_DIR/$1.conf|" docs/libvirt-hook.sh >"$to/twinvm"
	chmod 755 "$to/twinvm"
	lv_restart "$1"
}

vsh() {
	local host=$1
	shift
	host_run "$host" virsh -q -c qemu:///system "$@" 2>&1
}
vsh_must() {
	PRINTED=$(vsh "$@") || fail "virsh ${*:2} on $1: $PRINTED"
}
lv_state() { vsh "$1" domstate --reason "$2"; }
# shellcheck disable=SC2053 # a pattern
lv_is() { [[ $(lv_state "$1" "$2") = $3 ]]; }
lv_pid() {
	local line="^/usr/bin/qemu-system-x86_64 -name guest=$2,"
	if _lv_lab "$1"; then
		host_run "$1" pgrep -f "$line" || true
	else
		procs_of "$1" "$line"
	fi
}

# Kernel and disk of a guest, readable for libvirt's QEMU.
_lv_kernel() {
	host_run "$1" test -e "$LV_IMAGES/vmlinuz" ||
		host_run "$1" cp "$PAIR_ROOT/$GUEST_KERNEL" "$PAIR_ROOT/$GUEST_INITRD" "$LV_IMAGES/" || fail "the guest's kernel on $1"
}
lv_disk() {
	local image=$PAIR_DIR/lv-$2
	guest_disk "$image.raw" 64
	qemu-img convert -f raw -O qcow2 "$image.raw" "$image.qcow2"
	host_run "$1" cp "$image.qcow2" "$LV_IMAGES/$2.qcow2" || fail "the disk of $2 on $1"
	rm "$image".{raw,qcow2}
}
lv_qmp_dir() {
	# shellcheck disable=SC2034 # for the scripts
	LV_QMP=qmp=/var/lib/libvirt/qemu/domain-$2/monitor.sock
	host_run "$1" install -d -m 750 -o libvirt-qemu -g libvirt-qemu "/var/lib/libvirt/qemu/domain-$2"
}
lv_xml() {
	local type=qemu
	[[ $(_lv_accel) != kvm ]] || type=kvm
	# shellcheck disable=SC2086 # GUEST_EXTRA is words
	python3 "$HOSTS_ROOT/tests/tools/libvirt_xml.py" "$1" type=$type kernel="$LV_IMAGES/vmlinuz" initrd="$LV_IMAGES/initramfs.gz" \
		cmdline="$(guest_append twinvm.disk=/dev/vda ${GUEST_EXTRA:-})" disk="$LV_IMAGES/$1.qcow2" \
		mac="$(printf '52:54:00:77:00:%02x' "${GUEST_NO:-2}")" "${@:2}"
}
lv_define() {
	_lv_kernel "$1"
	host_run "$1" test -e "$LV_IMAGES/$2.qcow2" || lv_disk "$1" "$2"
	lv_xml "${@:2}" >"$PAIR_DIR/$2.xml"
	vsh_must "$1" define "$PAIR_DIR/$2.xml"
}
lv_domain() {
	local host=$1 name=$2 word
	for word in "${@:3}"; do
		[[ $word = qmp=* ]] || continue
		GUEST_QMP["$name"]=${word#qmp=}
		_lv_lab "$host" || GUEST_QMP["$name"]=$(host_path "$host" "${word#qmp=}")
	done
	lv_define "$@"
	vsh_must "$host" start "$name"
	GUEST_PID["$name"]=$(lv_pid "$host" "$name")
	await 240 "the guest $name to answer" guest_answers
}
