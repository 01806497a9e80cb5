# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "Hosts" made of namespaces, for bash tests; source it, as root, with the tools built (make tools).
#
#   hosts_up hostA hostB client      makes them; they and all that runs in them end with the script
#   hosts_add arb                    one more of them, at any time
#   host_run hostA CMD...            runs a command in a host, in the foreground
#   host_spawn hostA LOG CMD...      in the background; sets SPAWNED_PID (a real pid: kill -9 works on
#                                    the program) and SPAWNED_JOB (what `wait` takes)
#   host_tap hostA tap0              a tap device in the host's bridge, for a guest
#   host_power_cut hostA             the links go down, then everything in it is killed at once
#   host_boot hostA                  the same host again after a power cut, with its /var/lib
#   host_link hostA down|up [NET]    pulls and plugs cables; NET: client, repl or all (default)
#   host_shape hostA RATE|off [NET]  limits a link in both directions (default repl), e.g. 10mbit
#   host_cut_off hostA arb           the two receive nothing of each other any more, on both networks, without
#   host_join hostA arb              a word to either; everything else works. And repaired again
#   host_deafen hostA hostB          one way only: hostB does not hear hostA any more
#   host_hear hostA hostB            until now
#   host_stick hostA hostB           TCP from hostA to hostB gets lost, on the replication network; datagrams pass
#   host_unstick hostA hostB         until now
#   host_narrow hostA BYTES          its replication link drops packets that are larger, both ways, without a message
#   host_widen hostA                 until now
#   host_far hostA MS                each frame on its replication link takes that long, both ways, from now on
#   host_freeze hostA, host_thaw     it hangs, and comes back
#   host_url hostA                   its address on the replication network as it stands before a port: [V6] or a V4 one
#   host_path hostA PATH             where this machine sees a file of a host, e.g. of its /var/lib
#   hosts_down                       called at exit; TEST_KEEP=1 in the environment keeps a failed script's folders
#
# Each host has its own network, processes, mounts and name. Its /run, /var/lib and /dev/shm are
# private, everything else is shared with this machine. Two networks, each a bridge in a namespace of
# its own, so that either can be cut alone:
#   client network 10.77.0.0/24: hosts 10.77.0.11, .12, … on br0, with the guests' taps (the guest is
#                                10.77.0.2 wherever it runs); the host named "client" is 10.77.0.100
#   replication    10.78.0.0/24: hosts 10.78.0.11, .12, … on repl0; with HOSTS_IPV6=1 there is no IPv4 on it, and the
#                                hosts are fd78::11, ::12, … and have the link-local addresses that the kernel gives them
# Nothing is left behind whatever ends the script: the kernel removes a host with its init, which
# dies with the script. Several scripts can run at once. Do not call hosts_up in a subshell.

HOSTS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
NSINIT=${NSINIT:-$HOSTS_ROOT/${B:-build}/tools/nsinit}
# shellcheck source=tests/lib/await.sh
. "$HOSTS_ROOT/tests/lib/await.sh"
# shellcheck source=tests/lib/verdict.sh
. "$HOSTS_ROOT/tests/lib/verdict.sh"

# shellcheck disable=SC2034 # for the scripts
GUEST_IP=10.77.0.2
declare -A HOST_INIT=()  # name -> pid of its init; empty after a power cut
declare -A HOST_OUTER=() # name -> pid of the process that waits for it
declare -A HOST_NO=() HOST_ADDR=() HOST_REPL_ADDR=()
HOSTS_DIR=
HOSTS_NEXT_NO=11
HOSTS_STARTED=0

_hosts_die() {
	echo "hosts: $*" >&2
	exit 1
}
_host_init() {
	[[ -n ${HOST_INIT[$1]:-} ]] || _hosts_die "no running host $1"
}
# ip commands on stdin, run in a host's network namespace
_host_ip() {
	nsenter -t "${HOST_INIT[$1]}" -n ip -batch - || _hosts_die "setting up the network of $1"
}

# Starts NSINIT with the arguments given, which prints a pid first; sets REPLY to it, JOB to the job.
_hosts_start() {
	# One of its own each time: whoever was started before may not have let go of the last one yet, and when it
	# does, the reader would take that for the end.
	local fifo=$HOSTS_DIR/fifo-$((++HOSTS_STARTED))
	mkfifo "$fifo"
	"$NSINIT" "$@" >"$fifo" &
	JOB=$!
	REPLY=
	read -r REPLY <"$fifo" || true
	rm -f "$fifo"
	[[ $REPLY = [0-9]* ]] || _hosts_die "nsinit $1 $2 failed"
}

_host_start() {
	local name=$1 state=$HOSTS_DIR/state-$1
	mkdir -p "$state"
	_hosts_start up "$name" --state "$state" --keep "$HOSTS_ROOT"
	HOST_INIT[$name]=$REPLY
	HOST_OUTER[$name]=$JOB
}

# Cables from a host to the switches, and its own devices.
_host_wire() {
	local name=$1 no=${HOST_NO[$1]} pid=${HOST_INIT[$1]}
	local mac
	mac=$(printf '52:54:77:00:00:%02x' "$no")
	_host_ip switch <<-END
		link add c-$no type veth peer name cl0 netns $pid
		link set c-$no master brc up
	END
	if [[ $name = client ]]; then
		_host_ip "$name" <<-END
			link set lo up
			link set cl0 address $mac up
			addr add ${HOST_ADDR[$name]}/24 dev cl0
		END
		return
	fi
	_host_ip switch <<-END
		link add r-$no type veth peer name repl0 netns $pid
		link set r-$no master brr up
	END
	[[ ${HOST_REPL_ADDR[$name]} != *:* ]] || # nsinit has switched it off
		nsenter -t "$pid" -n sh -c "echo 0 >/proc/sys/net/ipv6/conf/repl0/disable_ipv6"
	_host_ip "$name" <<-END
		link set lo up
		link add br0 type bridge stp_state 0 forward_delay 0
		link set br0 address $mac up
		link set cl0 master br0 up
		addr add ${HOST_ADDR[$name]}/24 dev br0
		link set repl0 address ${mac/52:54:77/52:54:78} up
		addr add ${HOST_REPL_ADDR[$name]}/$([[ ${HOST_REPL_ADDR[$name]} = *:* ]] && echo "64 nodad" || echo 24) dev repl0
	END
}

hosts_add() {
	local name=$1
	if [[ $name = client ]]; then
		HOST_NO[$name]=100
	else
		HOST_NO[$name]=$HOSTS_NEXT_NO
		HOSTS_NEXT_NO=$((HOSTS_NEXT_NO + 1))
	fi
	HOST_ADDR[$name]=10.77.0.${HOST_NO[$name]}
	HOST_REPL_ADDR[$name]=10.78.0.${HOST_NO[$name]}
	[[ -z ${HOSTS_IPV6:-} ]] || HOST_REPL_ADDR[$name]=fd78::${HOST_NO[$name]}
	_host_start "$name"
	_host_wire "$name"
}

hosts_up() {
	local name
	((EUID == 0)) || _hosts_die "making namespaces needs root"
	[[ -x $NSINIT ]] || _hosts_die "no $NSINIT: run 'make tools'"
	[[ -c /dev/net/tun ]] || _hosts_die "no /dev/net/tun: load the module tun"
	HOSTS_DIR=$(mktemp -d /tmp/twinvm-hosts.XXXXXX)
	trap hosts_down EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	_host_start switch
	_host_ip switch <<-END
		link add brc type bridge stp_state 0 forward_delay 0
		link set brc up
		link add brr type bridge stp_state 0 forward_delay 0
		link set brr up
	END
	for name in "$@"; do
		hosts_add "$name"
	done
}

# A script that has something of its own to do at exit defines at_exit.
hosts_down() {
	local status=$? name
	trap '' HUP INT TERM
	trap - EXIT
	if declare -F at_exit >/dev/null; then
		at_exit "$status" || true
	fi
	! keeps_folder "$status" || keep_hosts
	for name in "${!HOST_INIT[@]}"; do
		[[ -z ${HOST_INIT[$name]} ]] || kill -9 "${HOST_INIT[$name]}" 2>/dev/null || true
	done
	for name in "${!HOST_OUTER[@]}"; do
		wait "${HOST_OUTER[$name]}" 2>/dev/null || true
	done
	[[ -z $HOSTS_DIR ]] || keeps_folder "$status" || rm -rf "$HOSTS_DIR"
	exit "$status"
}
# With TEST_KEEP=1 a script that failed leaves its folders: is this such an end?
keeps_folder() {
	[[ -n ${TEST_KEEP:-} && $1 != 0 && $1 != 77 ]]
}
# What each host has under its own /run/twinvm goes with it (files up to 16 MiB); /var/lib is there as state-HOST.
keep_hosts() {
	local name run
	for name in "${!HOST_INIT[@]}"; do
		run=/proc/${HOST_INIT[$name]:-0}/root/run/twinvm
		[[ -d $run ]] || continue
		mkdir -p "$HOSTS_DIR/run-$name"
		(cd "$run" && find . -type f -size -16M -exec cp --parents {} "$HOSTS_DIR/run-$name/" \;) || true
	done
	echo "kept: $HOSTS_DIR"
}

host_run() {
	local name=$1
	shift
	_host_init "$name"
	"$NSINIT" run "${HOST_INIT[$name]}" "$@"
}

host_url() {
	local addr=${HOST_REPL_ADDR[$1]}
	[[ $addr != *:* ]] && echo "$addr" || echo "[$addr]"
}

host_path() {
	_host_init "$1"
	echo "/proc/${HOST_INIT[$1]}/root$2"
}

host_spawn() {
	local name=$1 log=$2
	shift 2
	_host_init "$name"
	_hosts_start run "${HOST_INIT[$name]}" --log "$log" "$@"
	# shellcheck disable=SC2034 # for the caller
	SPAWNED_PID=$REPLY SPAWNED_JOB=$JOB
}

host_tap() {
	_host_init "$1"
	_host_ip "$1" <<-END
		tuntap add dev $2 mode tap
		link set $2 master br0 up
	END
}

# The switch's ports of a host: _host_ports hostA client|repl|all
_host_ports() {
	case $2 in
	client) echo "c-${HOST_NO[$1]}" ;;
	repl) echo "r-${HOST_NO[$1]}" ;;
	all)
		echo "c-${HOST_NO[$1]}"
		[[ $1 = client ]] || echo "r-${HOST_NO[$1]}"
		;;
	*) _hosts_die "no network called $2" ;;
	esac
}

host_link() {
	local port
	for port in $(_host_ports "$1" "${3:-all}"); do
		echo "link set $port $2"
	done | _host_ip switch
}

# What one sends to the other is dropped without an error that a program could see (that is why it is an
# address of nobody and not a blackhole route: sendto fails with those).
_host_cut() { # OP FROM TO
	local addr dev
	for addr in "${HOST_ADDR[$3]}" "${HOST_REPL_ADDR[$3]}"; do
		dev=br0
		[[ $2 != client ]] || dev=cl0
		[[ $addr != 10.78.* && $addr != *:* ]] || dev=repl0
		[[ $dev != repl0 || $2 != client ]] || continue
		if [[ $1 = cut ]]; then
			echo "neigh replace $addr lladdr 02:00:00:00:00:01 nud permanent dev $dev"
		else
			echo "neigh del $addr dev $dev"
		fi
	done | _host_ip "$2"
}
host_cut_off() {
	_host_init "$1"
	_host_init "$2"
	_host_cut cut "$1" "$2"
	_host_cut cut "$2" "$1"
}
host_deafen() {
	_host_init "$1"
	_host_init "$2"
	_host_cut cut "$1" "$2"
}
host_hear() {
	_host_init "$1"
	_host_init "$2"
	_host_cut join "$1" "$2"
}
# As above, for one protocol: by a rule that routes it to the address of nobody.
host_stick() {
	_host_init "$1"
	_host_ip "$1" <<-END
		neigh replace 10.78.0.250 lladdr 02:00:00:00:00:01 nud permanent dev repl0
		route replace ${HOST_REPL_ADDR[$2]} via 10.78.0.250 dev repl0 table 250
		rule add ipproto tcp to ${HOST_REPL_ADDR[$2]} lookup 250
	END
}
host_unstick() {
	_host_init "$1"
	_host_ip "$1" <<-END
		rule del ipproto tcp to ${HOST_REPL_ADDR[$2]} lookup 250
	END
}
# A bucket smaller than a packet never lets it pass; what was to be segmented later is looked at segment by segment.
host_narrow() {
	local what=(root tbf rate 1gbit burst $(($2 + 14)) limit 4mb)
	_host_init "$1"
	nsenter -t "${HOST_INIT[switch]}" -n tc qdisc replace dev "$(_host_ports "$1" repl)" "${what[@]}"
	nsenter -t "${HOST_INIT[$1]}" -n tc qdisc replace dev repl0 "${what[@]}"
}
host_widen() { host_shape "$1" off; }
# Between its cable and the switch's bridge.
host_far() {
	local no=${HOST_NO[$1]} log=$HOSTS_DIR/far-$1
	_host_ip switch <<-END
		link set r-$no nomaster
		link add d-$no type veth peer name e-$no
		link set d-$no up
		link set e-$no master brr up
	END
	host_spawn switch "$log" python3 "$HOSTS_ROOT/tests/tools/delay.py" "$2" "r-$no" "d-$no"
	await "$AWAIT_S" "frames to pass" grep -q passes "$log"
}
host_join() {
	_host_init "$1"
	_host_init "$2"
	_host_cut join "$1" "$2"
	_host_cut join "$2" "$1"
}

host_shape() {
	local name=$1 rate=$2 net=${3:-repl} port dev=repl0 what=(replace)
	_host_init "$name"
	[[ $net = client ]] && dev=cl0
	port=$(_host_ports "$name" "$net")
	if [[ $rate = off ]]; then
		nsenter -t "${HOST_INIT[switch]}" -n tc qdisc del dev "$port" root
		nsenter -t "${HOST_INIT[$name]}" -n tc qdisc del dev "$dev" root
		return
	fi
	what=(root tbf rate "$rate" burst 32kb latency 50ms)
	nsenter -t "${HOST_INIT[switch]}" -n tc qdisc replace dev "$port" "${what[@]}"
	nsenter -t "${HOST_INIT[$name]}" -n tc qdisc replace dev "$dev" "${what[@]}"
}

# No packet and no reset gives it away: the cables go first.
host_power_cut() {
	_host_init "$1"
	host_link "$1" down
	kill -9 "${HOST_INIT[$1]}"
	HOST_INIT[$1]=
}

host_boot() {
	[[ -z ${HOST_INIT[$1]:-} ]] || _hosts_die "$1 runs already"
	wait "${HOST_OUTER[$1]}" 2>/dev/null || true
	# The dead host's namespace may live on for a minute in connections that nobody answers any more: its cables
	# are taken away here.
	local port
	for port in $(_host_ports "$1" all); do
		nsenter -t "${HOST_INIT[switch]}" -n ip link del "$port" 2>/dev/null || true
	done
	_host_start "$1"
	_host_wire "$1"
}

host_freeze() {
	_host_init "$1"
	"$NSINIT" freeze "${HOST_INIT[$1]}"
}
host_thaw() {
	_host_init "$1"
	"$NSINIT" thaw "${HOST_INIT[$1]}"
}
