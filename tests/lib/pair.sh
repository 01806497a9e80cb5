# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two hosts with a daemon each, and VMs on them: what the local tests have in common. Source it.
#
#   pair_up                          hostA, hostB (or PAIR_HOSTS) and client; certificates, configuration, daemons
#   QEMU_BIN[HOST]=DIR               set it before: the folder of that host's QEMU, if it is not this machine's own
#   daemon_start HOST [VAR=VALUE]... starts twinvmd there (again), with these in its environment; DAEMON_PID[HOST]
#   daemon_stop HOST                 asks it to end, and waits for that; daemon_restart HOST [VAR=VALUE]... does both
#   arbiter_allow URL                VMs may use that arbiter on every host, besides the configured one; others are refused
#   host_back HOST                   after a power cut: boots it and starts its daemon
#   kill_side HOST                   SIGKILL of all of a backup's side: daemon, replicators, standbys
#   procs_of HOST PATTERN            real pids of processes in a host whose arguments match
#   has_procs, no_procs HOST PATTERN are there any?
#
#   tw HOST ARGS...                  twinvm in a host
#   tw_must HOST ARGS...             the same, fails with its output unless it succeeds; sets PRINTED
#   tw_refuses HOST STATUS PATTERN ARGS...  the same, fails unless it exits with STATUS and says one line that
#                                    matches (grep -E, any case); sets PRINTED
#   protect NAME [OPTION]...         from hostA to hostB
#   times_logged HOST PATTERN          how often it is in its daemon's log; logged HOST PATTERN [N]: N times or more (1)?
#
#   qemu_start HOST NAME ARGS...     a VM without a guest, with a QMP socket; GUEST_PID and GUEST_QMP as below
#   guest_start HOST NAME [ARGS...]  a Redis guest on a tap; QEMU's real pid in GUEST_PID[NAME], its QMP
#                                    socket in GUEST_QMP[NAME]; waits until Redis answers. GUEST_ENV: variables
#                                    for QEMU
#   guest_start_disk HOST NAME [ARGS...]  the same, its Redis keeps its data on a disk of 64 MiB, $PAIR_DIR/NAME.ext4
#   guest_answers                    does the guest's Redis answer the client?
#   guest_lives NAME WHAT            fails when its QEMU has died. GUEST_PID[NAME] empty: it runs elsewhere now
#   vm_traces NAME [paused]          what tools/vm_traces finds in a VM; fails when something of twinvm is in it
#   unchanged NAME BEFORE WHAT       nothing of twinvm is in it, and vm_traces prints the same as before
#   replica_of HOST                  the file of the only replica of a first disk there
#
#   vm_state HOST NAME               state of status --json, "none" when it is not known there
#   vm_field HOST NAME FIELD         one field of status --json, e.g. "['role']"
#   await_field SECONDS HOST NAME FIELD PATTERN   waits until it matches, as == of bash does: '@(alone|syncing)'
#   await_state SECONDS HOST NAME PATTERN         the same for the state
#   await_primary HOST NAME          HOST knows that it runs the VM, a moment after the VM answers
#   await_pair FROM TO NAME          FROM runs the VM, TO is its backup, and both know it
#   epochs_past HOST NAME N          has the VM more than N committed epochs? await_epochs HOST NAME N: N more
#
# The client that works in the VM: client.sh, which this one brings.

PAIR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PAIR_B=$PAIR_ROOT/${B:-build}
# shellcheck source=tests/lib/hosts.sh
. "$PAIR_ROOT/tests/lib/hosts.sh"
# shellcheck source=tests/lib/certs.sh
. "$PAIR_ROOT/tests/lib/certs.sh"
# shellcheck source=tests/lib/guest.sh
. "$PAIR_ROOT/tests/lib/guest.sh"
# shellcheck source=tests/lib/client.sh
. "$PAIR_ROOT/tests/lib/client.sh"

declare -A DAEMON_PID=() DAEMON_JOB=() GUEST_PID=() GUEST_QMP=() QEMU_BIN=()
PAIR_DIR=

# Lines for the configuration of every host come from PAIR_CONF. A test that is not about the loss of a host or of a link
# sets PAIR_CALM: a busy machine, which holds up one of its processes for 200 ms now and then, is no such loss.
PAIR_CONF=${PAIR_CONF:-}
PAIR_CALM=${PAIR_CALM:-}
PAIR_HOSTS=${PAIR_HOSTS:-hostA hostB}
# HOSTS_IPV6=1 (hosts.sh): the hosts reach each other by IPv6 alone.

pair_conf() {
	local host=$1 other any=0.0.0.0
	[[ -z ${HOSTS_IPV6:-} ]] || any='[::]'
	cat >"$PAIR_DIR/$host.conf" <<-END
		host = $host
		listen = $any:7890
		address = $(host_url "$host"):7890
		ca = $PAIR_DIR/certs/ca.crt
		cert = $PAIR_DIR/certs/$host.crt
		key = $PAIR_DIR/certs/$host.key
		bridge = br0
		arbiter = ${PAIR_ARBITER:-none}
		arbiters = file://$PAIR_DIR/arbiter
		media = $PAIR_B:$PAIR_DIR:/usr/share:/usr/lib
		qemu_path = ${QEMU_BIN[$host]:+${QEMU_BIN[$host]}:}/usr/bin
		$PAIR_CONF
		${PAIR_CALM:+heartbeat_ms = 300}
	END
	for other in $PAIR_HOSTS; do
		[[ $other = "$host" ]] || echo "peer.$other = $(host_url "$other"):7890" >>"$PAIR_DIR/$host.conf"
	done
}

arbiter_allow() {
	local host
	for host in $PAIR_HOSTS; do
		echo "arbiters = $1" >>"$PAIR_DIR/$host.conf"
	done
}

# Sets HOST_ENV to the words before a command that may start a QEMU in a host; VAR=VALUE may follow them.
_host_env() {
	HOST_ENV=(env)
	[[ -z ${QEMU_BIN[$1]:-} ]] || HOST_ENV+=("PATH=${QEMU_BIN[$1]}:$PATH")
}

# Sets UNIT_RIGHTS to the words before a daemon that give it the rights that the unit file leaves it, and no others.
_unit_rights() {
	local caps mask unit=$HOSTS_ROOT/docs/twinvmd.service
	caps=$(sed -n 's/^CapabilityBoundingSet=//p' "$unit" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
	mask=$(sed -n 's/^UMask=//p' "$unit")
	[[ -n $caps && -n $mask ]] && grep -q '^NoNewPrivileges=yes' "$unit" || fail "no capabilities or umask in $unit"
	# shellcheck disable=SC2016 # for that shell
	UNIT_RIGHTS=(bash -c 'umask "$0" && exec "$@"' "$mask" setpriv --no-new-privs "--bounding-set=-all,$caps")
}

daemon_start() {
	_host_env "$1"
	_unit_rights
	host_spawn "$1" "$PAIR_DIR/$1.log" "${HOST_ENV[@]}" "${@:2}" "${UNIT_RIGHTS[@]}" "$PAIR_B/twinvmd" --config "$PAIR_DIR/$1.conf"
	DAEMON_PID[$1]=$SPAWNED_PID
	DAEMON_JOB[$1]=$SPAWNED_JOB
	await "$AWAIT_S" "twinvmd on $1" tw "$1" status >/dev/null
}
daemon_stop() {
	kill -TERM "${DAEMON_PID[$1]}"
	wait "${DAEMON_JOB[$1]}" 2>/dev/null || true
}
daemon_restart() {
	daemon_stop "$1"
	daemon_start "$@"
}
host_back() {
	host_boot "$1"
	daemon_start "$1"
}

pair_up() {
	PAIR_DIR=$(mktemp -d /tmp/twinvm-pair.XXXXXX)
	chmod 711 "$PAIR_DIR" # for the users that sinks and standbys run as
	mkdir "$PAIR_DIR/arbiter"
	[[ ${PAIR_ARBITER:-} != file ]] || PAIR_ARBITER=file://$PAIR_DIR/arbiter
	local host
	# shellcheck disable=SC2086 # words
	hosts_up $PAIR_HOSTS client
	# shellcheck disable=SC2086
	certs_make "$PAIR_DIR/certs" $PAIR_HOSTS
	for host in $PAIR_HOSTS; do
		pair_conf "$host"
		daemon_start "$host"
	done
}

at_exit() {
	if (($1 != 0 && $1 != 77)) && [[ -n $PAIR_DIR ]]; then
		for log in "$PAIR_DIR"/*.log; do
			echo "---- $log"
			tail -n 40 "$log"
		done
	fi
	[[ -n $PAIR_DIR ]] || return 0
	if keeps_folder "$1"; then
		echo "kept: $PAIR_DIR"
	else
		rm -rf "$PAIR_DIR"
	fi
}

tw() {
	local host=$1
	shift
	host_run "$host" "$PAIR_B/twinvm" "$@" 2>&1
}

tw_must() {
	PRINTED=$(tw "$@") || fail "twinvm ${*:2} on $1: $PRINTED"
}
tw_refuses() {
	local host=$1 status=$2 pattern=$3 rc=0
	shift 3
	PRINTED=$(tw "$host" "$@") || rc=$?
	((rc == status)) || fail "twinvm $* on $host: exit status $rc, not $status: $PRINTED"
	[[ $(wc -l <<<"$PRINTED") -eq 1 ]] || fail "twinvm $* on $host: more than one line: $PRINTED"
	grep -qiE -- "$pattern" <<<"$PRINTED" || fail "twinvm $* on $host: '$PRINTED' does not match '$pattern'"
}
protect() {
	tw_must hostA protect "$1" --to hostB "${@:2}"
}
times_logged() { grep -c "$2" "$PAIR_DIR/$1.log" || true; }
logged() { (($(times_logged "$1" "$2") >= ${3:-1})); }

qemu_start() {
	local host=$1 name=$2
	shift 2
	GUEST_QMP[$name]=$PAIR_DIR/$name.qmp
	_host_env "$host"
	host_spawn "$host" "$PAIR_DIR/$name-qemu.log" "${HOST_ENV[@]}" qemu-system-x86_64 -name "$name" -accel tcg \
		-qmp "unix:${GUEST_QMP[$name]},server=on,wait=off" "$@"
	GUEST_PID[$name]=$SPAWNED_PID
	await "$AWAIT_S" "QMP of $name" test -S "${GUEST_QMP[$name]}"
}
guest_start() {
	local host=$1 name=$2 GUEST_NAME=$2
	shift 2
	host_tap "$host" "tap-$name"
	GUEST_QMP[$name]=$PAIR_DIR/$name.qmp
	guest_command "$name" "tap-$name" "${GUEST_QMP[$name]}" "$PAIR_DIR/$name-serial.log" "${GUEST_MACHINE:-q35}"
	_host_env "$host"
	# shellcheck disable=SC2086 # words
	host_spawn "$host" "$PAIR_DIR/$name-qemu.log" "${HOST_ENV[@]}" ${GUEST_ENV:-} "${GUEST_COMMAND[@]}" "$@"
	GUEST_PID[$name]=$SPAWNED_PID
	await 120 "the guest $name to boot" grep -saq "GUEST READY" "$PAIR_DIR/$name-serial.log"
}

guest_start_disk() {
	guest_disk "$PAIR_DIR/$2.ext4" 64
	GUEST_EXTRA="twinvm.disk=/dev/vda ${GUEST_EXTRA:-}" guest_start "$1" "$2" \
		-drive "file=$PAIR_DIR/$2.ext4,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0 "${@:3}"
}

guest_answers() {
	host_run client timeout 5 bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'PING\r\n' >&3 && read -t 4 -r x <&3 && [[ \$x == +PONG* ]]" 2>/dev/null
}

guest_lives() {
	[[ -z ${GUEST_PID[$1]} ]] || kill -0 "${GUEST_PID[$1]}" 2>/dev/null ||
		fail "QEMU of $1 has died: $2: $(tail -n 1 "$PAIR_DIR/$1-qemu.log")"
}
vm_traces() { "$PAIR_B/tools/vm_traces" "${GUEST_QMP[$1]}" "${@:2}"; }
unchanged() {
	local now
	now=$(vm_traces "$1") || fail "$3: left in $1: $now"
	[[ $now = "$2" ]] || fail "$3: $1 had '$2' and has '$now'"
}
replica_of() { echo "$(host_path "$1" /var/lib/twinvm/disks)"/*-0.raw; }

vm_field() {
	tw "$1" status "$2" --json 2>/dev/null | python3 -c "
import json,sys

try:
  s=json.load(sys.stdin)
  print(s$3)
except Exception: print('none')"
}
vm_state() {
	vm_field "$1" "$2" "['state']"
}
# shellcheck disable=SC2053 # a pattern
field_is() { [[ $(vm_field "$1" "$2" "$3") = $4 ]]; }
await_field() {
	await "$1" "$4 of $3 to be $5 on $2" field_is "$2" "$3" "$4" "$5"
}
await_state() {
	await_field "$1" "$2" "$3" "['state']" "$4"
}
await_primary() {
	await_field "$AWAIT_S" "$1" "$2" "['role']" primary
}
await_pair() {
	await_state "$AWAIT_S" "$1" "$3" protected
	await_state "$AWAIT_S" "$2" "$3" protected
	field_is "$1" "$3" "['peer']" "$2" || fail "$2 is not the backup of $3: $(tw "$1" status)"
	field_is "$2" "$3" "['role']" backup || fail "$2 is not the backup of $3: $(tw "$2" status)"
}
# The host that lost its power comes back, becomes the backup, and gets the VM by a planned switch.
planned_back() { # LOST OTHER VM
	host_back "$1"
	await_pair "$2" "$1" "$3"
	tw_must "$2" failover "$3"
	await_primary "$1" "$3"
}
epochs_past() {
	local n
	n=$(vm_field "$1" "$2" "['epoch_committed']")
	[[ $n = [0-9]* ]] && ((n > $3))
}
await_epochs() {
	local n
	n=$(vm_field "$1" "$2" "['epoch_committed']")
	[[ $n = [0-9]* ]] || fail "no status of $2 on $1: $n"
	await "$AWAIT_S" "$3 epochs of $2 to be committed" epochs_past "$1" "$2" $((n + $3 - 1))
}

# Descendants of a host's init, by the arguments.
procs_of() {
	local host=$1 pattern=$2 pid ns
	ns=$(readlink "/proc/${HOST_INIT[$host]}/ns/pid")
	for pid in $(pgrep -f -- "$pattern" || true); do
		[[ $(readlink "/proc/$pid/ns/pid" 2>/dev/null) = "$ns" ]] && echo "$pid"
	done
	return 0
}
has_procs() { [[ -n $(procs_of "$1" "$2") ]]; }
no_procs() { ! has_procs "$1" "$2"; }
_side_is_dead() { no_procs "$1" "twinvmd replicate" && no_procs "$1" qemu-system; }
kill_side() {
	# shellcheck disable=SC2046 # pids are words
	kill -9 "${DAEMON_PID[$1]}" $(procs_of "$1" "twinvmd replicate") $(procs_of "$1" qemu-system) 2>/dev/null || true
	wait "${DAEMON_JOB[$1]}" 2>/dev/null || true
	# What began while the lists were made; a monitor ends by itself when its sink has ended.
	await "$AWAIT_S" "the monitors of $1 to end" no_procs "$1" "^twinvmd monitor"
	# shellcheck disable=SC2046 # pids are words
	kill -9 $(procs_of "$1" "twinvmd replicate") $(procs_of "$1" qemu-system) 2>/dev/null || true
	await "$AWAIT_S" "the processes of $1 to end" _side_is_dead "$1"
}
