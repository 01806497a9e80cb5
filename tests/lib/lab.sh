# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Lab hosts: whole machines under software emulation (QEMU TCG) with a Debian kernel of their own, real KVM
# through emulated AMD SVM, NICs whose cables can be pulled, and a death of their own. Source it as root, after
# tests/lab/mklab.sh; it brings hosts.sh with it, and its host_* functions then work for both kinds of host.
#
#   lab_up hostA hostB [client]      boots lab hosts side by side, and waits until they take commands; "client"
#          [arbiter]                 and "arbiter" are namespace hosts (their programs run at full speed)
#   host_run hostA CMD...            runs a command in a host (no input); 255: the host is not there
#   host_spawn hostA LOG CMD...      in the background; SPAWNED_PID is the program's pid inside the lab host
#   host_kill hostA SIGNAL PID...    signals to what host_spawn started
#   host_tap hostA tap0              a tap device in the host's bridge br0
#   host_power_cut hostA             SIGKILL of the machine: what its kernel had not written to disk is lost
#   host_boot hostA                  the same machine again, with its /var/lib; host_wait hostA when it is ready
#   host_link hostA down|up [NET]    pulls and plugs cables; NET: client, repl or all (default)
#   lab_part hostA hostB on|off      neither reaches the other on the client network, both still reach the rest
#   host_freeze hostA, host_thaw     the whole machine stands still, and comes back
#   host_panic hostA                 its kernel panics (and hangs, as Debian's does)
#   host_mce hostA 'ARGS'            HMP mce: a machine check, e.g. '0 8 0x9c00000000000150 0x0 0x12345000 0x8c'
#   host_hmp hostA COMMAND...        anything else for the human monitor of the host's QEMU
#   host_shell hostA                 an interactive shell there
#
# Environment, read by lab_up: LAB_KERNEL 6.12 or 6.1; LAB_MEM MiB and LAB_CPUS (1) of a host; LAB_MORE=libvirt: that
# image besides (mklab.sh), made here when it is not there.
# Networks, as in hosts.sh: client 10.77.0.0/24 on br0, replication 10.78.0.0/24 on repl0; besides them a
# management network 10.79.0.0/24 that carries only the harness' commands and is never cut.
# $HOSTS_DIR (logs, consoles: NAME.console) is a folder that all lab hosts see at the same path, and so is
# the project's own folder, read-only. The switch and the hosts' QEMUs run in a namespace host, so that the
# kernel ends them all when the script ends, however it does.

LAB_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_B=$LAB_ROOT/${B:-build}
# shellcheck source=tests/lib/hosts.sh
. "$LAB_ROOT/tests/lib/hosts.sh"

LAB_AGENT=$LAB_B/tools/labagent
LAB_AGENT_PORT=7799
# shellcheck disable=SC2034 # for the scripts
LAB_BUSYBOX=$LAB_B/guest/packages/bin/busybox # ping and the like, also where this machine has none
LAB_BOOT_S=${LAB_BOOT_S:-240} # a busy machine boots slowly
declare -A LAB_PID=()         # name -> pid of its QEMU; empty after a power cut

is_lab() { [[ -v LAB_PID[$1] ]]; }
_lab_running() {
	[[ -n ${LAB_PID[$1]:-} ]] || _hosts_die "no running lab host $1"
}

_lab_is_ns() { [[ $1 = client || $1 = arbiter ]]; }
lab_up() {
	local name no ns=() kernel=${LAB_KERNEL:-6.12}
	[[ -e $LAB_B/lab/root.ext4 ]] || _hosts_die "no $LAB_B/lab/root.ext4: run 'make lab-image'"
	[[ -z ${LAB_MORE:-} ]] || "$LAB_ROOT/tests/lab/mklab.sh" "$LAB_B" "$LAB_MORE" || _hosts_die "no image $LAB_MORE"
	for name; do
		! _lab_is_ns "$name" || ns+=("$name")
	done
	hosts_up "${ns[@]}"
	_host_ip switch <<-END
		link add brm type bridge stp_state 0 forward_delay 0
		link set brm up
		addr add 10.79.0.1/24 dev brm
	END
	for name; do
		! _lab_is_ns "$name" || continue
		no=$HOSTS_NEXT_NO
		HOSTS_NEXT_NO=$((no + 1))
		HOST_NO[$name]=$no
		HOST_ADDR[$name]=10.77.0.$no
		HOST_REPL_ADDR[$name]=10.78.0.$no
		LAB_PID[$name]=
		truncate -s 4G "$HOSTS_DIR/$name.disk"
		mkfs.ext4 -q -F -E lazy_itable_init=1,nodiscard "$HOSTS_DIR/$name.disk"
		_host_ip switch <<-END
			tuntap add dev c-$no mode tap
			link set c-$no master brc up
			tuntap add dev r-$no mode tap
			link set r-$no master brr up
			tuntap add dev m-$no mode tap
			link set m-$no master brm up
		END
		host_boot "$name" "$kernel"
	done
	for name in "${!LAB_PID[@]}"; do
		host_wait "$name"
	done
}

# multidevs=remap: without it inode numbers of two file systems collide.
_lab_share() { # TAG FOLDER: adds to QEMU's arguments, LAB_ARGS
	LAB_ARGS+=(-virtfs "local,path=$2,mount_tag=$1,security_model=none,multidevs=remap$([[ $1 != ro* ]] || echo ,readonly=on)")
}
_lab_nic() { # NETWORK TAP MAC: the NIC's id is the network's name
	LAB_ARGS+=(-netdev "tap,id=net-$1,ifname=$2,script=no,downscript=no"
		-device "virtio-net-pci,id=$1,netdev=net-$1,mac=$3,romfile=")
}

host_boot() { # NAME [KERNEL]
	local name=$1 kernel=${2:-${LAB_KERNEL:-6.12}} no=${HOST_NO[$1]} words mac
	is_lab "$name" || _hosts_die "host_boot is for lab hosts here"
	[[ -z ${LAB_PID[$name]} ]] || _hosts_die "$name runs already"
	mac=00:00:$(printf %02x "$no")
	# tsc=reliable, no_timer_check: a busy machine makes an emulated one look broken; so does it when the TSC is
	# measured against an emulated timer (the host's clock then runs too fast): it gets the value. panic=0: it hangs
	words="console=ttyS0 quiet panic=0 tsc=reliable tsc_early_khz=$("$LAB_AGENT" tsc) no_timer_check nowatchdog"
	words+=" mitigations=off nokaslr"
	words+=" rcupdate.rcu_cpu_stall_suppress=1 lab.name=$name lab.no=$no lab.agent=$LAB_AGENT"
	words+=" lab.share=ro0:$LAB_ROOT lab.share=rw0:$HOSTS_DIR ${LAB_MORE:+lab.more} ${LAB_APPEND:-}"
	# shellcheck disable=SC2054 # commas are QEMU's
	LAB_ARGS=(qemu-system-x86_64 -name "lab-$name" -M q35 -accel tcg,thread=multi -cpu max
		-smp "${LAB_CPUS:-1}" -m "${LAB_MEM:-3072}" -nodefaults -display none -no-reboot
		-kernel "$LAB_B/lab/vmlinuz-$kernel" -initrd "$LAB_B/lab/initrd-$kernel.gz" -append "$words"
		-drive "if=none,id=root,file=$LAB_B/lab/root.ext4,format=raw,readonly=on,file.locking=off"
		-device virtio-blk-pci,drive=root,addr=4
		-drive "if=none,id=own,file=$HOSTS_DIR/$name.disk,format=raw" -device virtio-blk-pci,drive=own,addr=5
		-chardev "file,id=console,path=$HOSTS_DIR/$name.console,append=on" -serial chardev:console
		-monitor "unix:$HOSTS_DIR/$name.mon,server=on,wait=off")
	[[ -z ${LAB_MORE:-} ]] ||
		LAB_ARGS+=(-drive "if=none,id=more,file=$LAB_B/lab/$LAB_MORE.ext4,format=raw,readonly=on,file.locking=off"
			-device "virtio-blk-pci,drive=more,addr=6")
	_lab_share ro0 "$LAB_ROOT"
	_lab_share rw0 "$HOSTS_DIR"
	_lab_nic client "c-$no" "52:54:77:$mac"
	_lab_nic repl "r-$no" "52:54:78:$mac"
	_lab_nic mgmt "m-$no" "52:54:79:$mac"
	_ns_spawn switch "$HOSTS_DIR/$name.qemu" "${LAB_ARGS[@]}"
	LAB_PID[$name]=$SPAWNED_PID
}

_lab_alive() { kill -0 "${LAB_PID[$1]}" 2>/dev/null; }
_lab_ready() {
	_lab_alive "$1" || _hosts_die "$1's QEMU ended: $(tail -n 3 "$HOSTS_DIR/$1.qemu")"
	! grep -asq 'lab: FAILED' "$HOSTS_DIR/$1.console" || _hosts_die "$1: $(grep -a 'lab: FAILED' "$HOSTS_DIR/$1.console")"
	host_run "$1" true 2>/dev/null
}
host_wait() {
	_lab_running "$1"
	await "$LAB_BOOT_S" "$1 to boot" _lab_ready "$1" || {
		tail -n 20 "$HOSTS_DIR/$1.console"
		exit 1
	}
}

_ns_run() {
	local name=$1
	shift
	_host_init "$name"
	"$NSINIT" run "${HOST_INIT[$name]}" "$@"
}
_ns_spawn() {
	local name=$1 log=$2
	shift 2
	_host_init "$name"
	_hosts_start run "${HOST_INIT[$name]}" --log "$log" "$@"
	SPAWNED_PID=$REPLY SPAWNED_JOB=$JOB
}
_lab_agent() { # NAME [--log FILE | --tty] COMMAND...
	local name=$1
	shift
	_lab_running "$name"
	_ns_run switch "$LAB_AGENT" run "10.79.0.${HOST_NO[$name]}" $LAB_AGENT_PORT "$@"
}

host_run() {
	if is_lab "$1"; then
		_lab_agent "$@"
	else
		_ns_run "$@"
	fi
}
host_spawn() {
	local name=$1 log=$2
	is_lab "$name" || {
		_ns_spawn "$@"
		return
	}
	shift 2
	SPAWNED_PID=$(_lab_agent "$name" --log "$log" "$@") || _hosts_die "$name does not start $1"
	SPAWNED_JOB=
}
host_kill() {
	local name=$1 signal=$2
	shift 2
	if is_lab "$name"; then
		host_run "$name" kill "-$signal" "$@"
	else
		kill "-$signal" "$@"
	fi
}
host_shell() { _lab_agent "$1" --tty bash -i; }

host_tap() {
	host_run "$1" ip tuntap add dev "$2" mode tap ${3:+"$3"}
	host_run "$1" ip link set "$2" master br0 up
}

host_hmp() {
	local name=$1
	shift
	_lab_running "$name"
	python3 "$LAB_ROOT/tests/tools/hmp.py" "$HOSTS_DIR/$name.mon" "$@"
}
# The NIC loses its carrier and nothing passes any more, in either direction.
host_link() {
	local name=$1 state=off nets=(client repl) net
	[[ $2 = down ]] || state=on
	[[ ${3:-all} = all ]] || nets=("$3")
	for net in "${nets[@]}"; do
		host_hmp "$name" "set_link $net $state" >/dev/null
	done
}
lab_part() {
	local name
	for name in "$1" "$2"; do
		_ns_run switch bridge link set dev "c-${HOST_NO[$name]}" isolated "$3"
	done
}
host_power_cut() {
	_lab_running "$1"
	kill -9 "${LAB_PID[$1]}"
	LAB_PID[$1]=
}
host_freeze() {
	_lab_running "$1"
	kill -STOP "${LAB_PID[$1]}"
}
host_thaw() {
	_lab_running "$1"
	kill -CONT "${LAB_PID[$1]}"
}
host_mce() { host_hmp "$1" "mce $2"; }
_lab_panicked() { grep -aq 'Kernel panic - not syncing' "$HOSTS_DIR/$1.console"; }
# Returns when the kernel has reported it; the command itself never comes back.
host_panic() {
	_lab_running "$1"
	_ns_spawn switch "$HOSTS_DIR/$1.panic" "$LAB_AGENT" run "10.79.0.${HOST_NO[$1]}" $LAB_AGENT_PORT \
		bash -c 'echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger'
	await 30 "the kernel of $1 to panic" _lab_panicked "$1"
}
