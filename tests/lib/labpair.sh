# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two lab hosts with a daemon each, a Redis guest under KVM on one of them and a client outside: what the lab's
# tests have in common. Source it; what pair.sh offers works on lab hosts too.
#
#   labpair_up                hostA, hostB and client, their daemons; the arbiter is a folder both hosts see, or
#                             (LAB_ARBITER=etcd) an etcd cluster of three on the client network
#   guest_start HOST NAME     the Redis guest with KVM on a tap in br0; waits until its Redis answers
#   protect NAME              from hostA to hostB, until it is protected
#   guest_runs_on HOST        does a VM's vCPU run there? (KVM exits are counted, no program is believed)
#   one_runs HOST             exactly one VM runs, and it is on HOST
#   reads_committed NAME N    waits for N more committed epochs on hostA
#   run_id                    of this life of the guest's Redis
#   first_page PID PATTERN    on hostA: of the process's largest mapping whose line in its maps matches, in pages
#   present_pfn PID FIRST COUNT   the page frame of the first of these pages that is there, in hex
#   guest_pfn PID             one of a QEMU's largest mapping, which is the guest's memory
#   client_*                  as in client.sh
#
# Software emulation on a busy machine is some twenty times slower than a host, so heartbeats are that much
# slower, too: LAB_HEARTBEAT_MS (1000). Every time-out of the daemons is a multiple of it.

# shellcheck source=tests/lib/pair.sh
. "$(dirname "${BASH_SOURCE[0]}")/pair.sh"
# shellcheck source=tests/lib/lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
# shellcheck source=tests/lib/etcd.sh
. "$(dirname "${BASH_SOURCE[0]}")/etcd.sh"

PAIR_CONF="heartbeat_ms = ${LAB_HEARTBEAT_MS:-1000}
${PAIR_CONF:-}"
GUEST_ACCEL=kvm
GUEST_NETDEV=${GUEST_NETDEV:-}
AWAIT_S=300
CLIENT_OPTIONS=(--timeout-ms 90000 --thin --pause-us 2000)

labpair_up() {
	step "booting hostA and hostB, kernel ${LAB_KERNEL:-6.12}"
	if [[ ${LAB_ARBITER:-} = etcd ]]; then
		lab_up hostA hostB client arbiter
		ETCD_NET=client etcd_up arbiter
		PAIR_ARBITER=$ETCD_URL
	else
		lab_up hostA hostB client
		mkdir "$HOSTS_DIR/arbiter"
		PAIR_ARBITER=file://$HOSTS_DIR/arbiter
	fi
	PAIR_DIR=$HOSTS_DIR
	chmod 711 "$PAIR_DIR" # for the users that sinks and standbys run as
	certs_make "$PAIR_DIR/certs" hostA hostB
	pair_conf hostA
	pair_conf hostB
	daemon_start hostA
	daemon_start hostB
	step "both hosts are up, their daemons answer"
}

run_id() {
	host_run client timeout 60 bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'INFO server\r\n' >&3 &&
		while read -r line <&3; do [[ \$line != run_id:* ]] || { echo \"\${line#run_id:}\"; break; }; done" | tr -d '\r'
}
present_pfn() {
	local word
	while read -r word; do
		(((0x$word >> 63 & 1) == 0)) || {
			printf '0x%x\n' $((0x$word & 0x7fffffffffffff))
			return
		}
	done < <(host_run hostA sh -c "$LAB_BUSYBOX dd if=/proc/$1/pagemap bs=8 skip=$2 count=$3 2>/dev/null |
		$LAB_BUSYBOX od -An -v -t x8 -w8" | tr -d ' ')
	fail "process $1 has no page there"
}
first_page() {
	host_run hostA cat "/proc/$1/maps" | python3 -c '
import re, sys
ranges = [[int(x, 16) for x in l.split()[0].split("-")] for l in sys.stdin if re.search(sys.argv[1], l)]
print(max(ranges, key=lambda r: r[1] - r[0])[0] // 4096)' "$2"
}
guest_pfn() { present_pfn "$1" $(($(first_page "$1" .) + 8192)) 2048; }

# The logs of the hosts' own /run are fetched while they live; $HOSTS_DIR is seen by all.
at_exit() {
	local host keep
	keep=$LAB_B/lab-logs/$(basename "$0" .sh)
	[[ -n $PAIR_DIR ]] || PAIR_DIR=$HOSTS_DIR
	[[ -n $PAIR_DIR ]] || return 0
	rm -rf "$keep"
	mkdir -p "$keep"
	if (($1 != 0 && $1 != 77)); then
		for host in "${!LAB_PID[@]}"; do
			_lab_alive "$host" || continue
			timeout 20 "$NSINIT" run "${HOST_INIT[switch]}" "$LAB_AGENT" run "10.79.0.${HOST_NO[$host]}" $LAB_AGENT_PORT \
				sh -c 'dmesg; ps w; head -c 20000 /run/twinvm/*/*.log /run/twinvm/*.log' >"$keep/$host.run" 2>&1 </dev/null || true
		done
	fi
	cp "$PAIR_DIR"/*.{log,console,qemu,json} "$keep/" 2>/dev/null || true
	(($1 != 0 && $1 != 77)) || return 0
	for host in "$keep"/*; do
		echo "---- $host"
		tail -n 30 "$host"
	done
}

# The serial port and QMP are the host's own files: a UNIX socket cannot be on a shared folder.
_guest_is_ready() { host_run "$1" grep -saq "GUEST READY" "/run/$2-serial.log"; }
guest_start() {
	local host=$1 name=$2 queues=${GUEST_QUEUES:-}
	shift 2
	host_tap "$host" "tap-$name" ${queues:+multi_queue}
	GUEST_QMP[$name]=/run/$name.qmp
	guest_command "$name" "tap-$name" "${GUEST_QMP[$name]}" "/run/$name-serial.log" "${GUEST_MACHINE:-q35}"
	host_spawn "$host" "$PAIR_DIR/$name-qemu.log" "${GUEST_COMMAND[@]}" "$@"
	GUEST_PID[$name]=$SPAWNED_PID
	await 240 "the guest $name to boot" _guest_is_ready "$host" "$name" || {
		host_run "$host" tail -n 20 "/run/$name-serial.log"
		fail "the guest does not boot"
	}
	step "the guest $name runs on $host under KVM, ${GUEST_SMP:-1} vCPU${GUEST_NETDEV/,/, }"
}

reads_committed() { await_epochs hostA "$@"; }
protect() {
	tw_must hostA protect "$1" --to hostB
	await_state "$AWAIT_S" hostA "$1" protected
	step "$1 is protected, its output held by $(vm_field hostA "$1" ".get('output_held_by', 'relay')")"
}

# KVM's own count of exits of all VMs of a host, twice: a VM that is stopped has none.
_kvm_exits() { host_run "$1" cat /sys/kernel/debug/kvm/exits; }
guest_runs_on() {
	local before
	before=$(_kvm_exits "$1") || return 1
	host_run "$1" "$LAB_BUSYBOX" ping -c 2 127.0.0.1 >/dev/null # a second
	(($(_kvm_exits "$1") > before))
}
one_runs() {
	local host other=hostA
	[[ $1 = hostA ]] && other=hostB
	guest_runs_on "$1" || fail "no VM runs on $1"
	host=$other
	[[ -z ${LAB_PID[$host]:-} ]] || ! guest_runs_on "$host" || fail "a VM runs on $host, too"
	step "exactly one VM runs, on $1"
}

# Where every fault starts from: a protected VM under a client's work.
labpair_working() {
	labpair_up
	guest_start hostA vm1
	client_start
	protect vm1
	client_more 300 20
	reads_committed vm1 "${1:-10}"
}
# After it: the client's work continues, and nothing was lost.
labpair_goes_on() {
	client_more 300 20
	step "the client's work continues"
	client_ends
}
# Which host runs the VM? Sets RUNNER. A primary that was left behind may run on, silent, until it has asked the
# arbiter; what it must never do is speak, and that the client would tell.
_just_one() {
	RUNNER=
	! guest_runs_on hostA || RUNNER=hostA
	! guest_runs_on hostB || RUNNER=$RUNNER${RUNNER:+ and }hostB
	[[ $RUNNER = host? ]]
}
one_runs_somewhere() {
	await 90 "exactly one VM to run" _just_one || fail "the VM runs on: ${RUNNER:-no host}"
	step "exactly one VM runs, on $RUNNER"
}
