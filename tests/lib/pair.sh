# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two hosts with a daemon each, and VMs on them: what the local tests have in common. Source it.
#
#   pair_up                          hostA, hostB (or PAIR_HOSTS) and client; certificates, configuration, daemons
#   QEMU_BIN[HOST]=DIR               set it before: the folder of that host's QEMU, if it is not this machine's own
#   daemon_start HOST                starts twinvmd there (again); DAEMON_PID[HOST]
#   tw HOST ARGS...                  twinvm in a host
#   guest_start HOST NAME [ARGS...]  a Redis guest on a tap; QEMU's real pid in GUEST_PID[NAME], its QMP
#                                    socket in GUEST_QMP[NAME]; waits until Redis answers. GUEST_ENV: variables
#                                    for QEMU
#   vm_state HOST NAME               state of status --json, "none" when it is not known there
#   vm_field HOST NAME JQ            one field of status --json
#   await_state SECONDS HOST NAME S  waits for a state
#   guest_answers                    does the guest's Redis answer the client?
#   procs_of HOST PATTERN            real pids of twinvmd processes in a host whose arguments match

PAIR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PAIR_B=$PAIR_ROOT/${B:-build}
# shellcheck source=tests/lib/hosts.sh
. "$PAIR_ROOT/tests/lib/hosts.sh"
# shellcheck source=tests/lib/certs.sh
. "$PAIR_ROOT/tests/lib/certs.sh"
# shellcheck source=tests/lib/guest.sh
. "$PAIR_ROOT/tests/lib/guest.sh"

declare -A DAEMON_PID=() DAEMON_JOB=() GUEST_PID=() GUEST_QMP=() QEMU_BIN=()
PAIR_DIR=

# Lines for the configuration of every host come from PAIR_CONF.
PAIR_CONF=${PAIR_CONF:-}
PAIR_HOSTS=${PAIR_HOSTS:-hostA hostB}

pair_conf() {
	local host=$1 other
	cat >"$PAIR_DIR/$host.conf" <<-END
		host = $host
		listen = 0.0.0.0:7890
		address = ${HOST_REPL_ADDR[$host]}:7890
		ca = $PAIR_DIR/certs/ca.crt
		cert = $PAIR_DIR/certs/$host.crt
		key = $PAIR_DIR/certs/$host.key
		bridge = br0
		arbiter = ${PAIR_ARBITER:-none}
		$PAIR_CONF
	END
	for other in $PAIR_HOSTS; do
		[[ $other = "$host" ]] || echo "peer.$other = ${HOST_REPL_ADDR[$other]}:7890" >>"$PAIR_DIR/$host.conf"
	done
}

# Sets HOST_ENV to the words before a command that may start a QEMU in a host.
_host_env() {
	HOST_ENV=()
	[[ -z ${QEMU_BIN[$1]:-} ]] || HOST_ENV=(env "PATH=${QEMU_BIN[$1]}:$PATH")
}

daemon_start() {
	_host_env "$1"
	host_spawn "$1" "$PAIR_DIR/$1.log" "${HOST_ENV[@]}" "$PAIR_B/twinvmd" --config "$PAIR_DIR/$1.conf"
	DAEMON_PID[$1]=$SPAWNED_PID
	DAEMON_JOB[$1]=$SPAWNED_JOB
	await 10 "twinvmd on $1" tw "$1" status >/dev/null
}

pair_up() {
	PAIR_DIR=$(mktemp -d /tmp/twinvm-pair.XXXXXX)
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
	[[ -z $PAIR_DIR || -n ${PAIR_KEEP:-} ]] || rm -rf "$PAIR_DIR"
}

tw() {
	local host=$1
	shift
	host_run "$host" "$PAIR_B/twinvm" "$@" 2>&1
}

guest_start() {
	local host=$1 name=$2 GUEST_NAME=$2
	shift 2
	host_tap "$host" "tap-$name"
	GUEST_QMP[$name]=$PAIR_DIR/$name.qmp
	guest_command "$name" "tap-$name" "${GUEST_QMP[$name]}" "$PAIR_DIR/$name-serial.log" "${GUEST_MACHINE:-q35}"
	_host_env "$host"
	# shellcheck disable=SC2086 # words
	host_spawn "$host" "$PAIR_DIR/$name-qemu.log" "${HOST_ENV[@]}" ${GUEST_ENV:+env $GUEST_ENV} "${GUEST_COMMAND[@]}" "$@"
	GUEST_PID[$name]=$SPAWNED_PID
	await 120 "the guest $name to boot" grep -saq "GUEST READY" "$PAIR_DIR/$name-serial.log"
}

guest_answers() {
	host_run client timeout 5 bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'PING\r\n' >&3 && read -t 4 -r x <&3 && [[ \$x == +PONG* ]]" 2>/dev/null
}

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
_state_is() {
	[[ $(vm_state "$1" "$2") = "$3" ]]
}
await_state() {
	await "$1" "$3 to be $4 on $2" _state_is "$2" "$3" "$4"
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
