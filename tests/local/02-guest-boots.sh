#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test guest boots on both machine types, its Redis answers from outside, its options work.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/guest.sh

at_exit() {
	(($1 == 0)) || tail -n 20 "$console" 2>/dev/null
}
redis_pings() {
	[[ $(host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'PING\r\n' >&3 && read -t 5 -u 3 r && echo \$r" 2>/dev/null) = +PONG* ]]
}
echoes() {
	[[ $(host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/7 && echo hello >&3 && read -t 5 -u 3 r && echo \$r" 2>/dev/null) = hello ]]
}
ready_or_dead() { guest_ready "$console" || ! kill -0 "$qemu"; }

hosts_up hostA client
host_tap hostA tap0
for machine in q35 pc; do
	console=$HOSTS_DIR/console-$machine
	GUEST_EXTRA='twinvm.tick=1 twinvm.load=dirty:100:10000'
	[[ $machine = q35 ]] || GUEST_EXTRA="$GUEST_RESERVE"
	guest_command "guest-$machine" tap0 /run/guest.qmp "$console" "$machine"
	start=${EPOCHREALTIME/./}
	host_spawn hostA "$HOSTS_DIR/qemu.log" "${GUEST_COMMAND[@]}"
	qemu=$SPAWNED_PID job=$SPAWNED_JOB
	await 90 "$machine to boot" ready_or_dead
	guest_ready "$console" || fail "$machine: $(tail -n 3 "$HOSTS_DIR/qemu.log")"
	echo "$machine: ready after $(((${EPOCHREALTIME/./} - start) / 1000)) ms ($(guest_accel))"
	await 10 "Redis to answer from outside" redis_pings || fail "$machine: Redis"
	echoes || fail "$machine: the echo service"
	if [[ $machine = q35 ]]; then
		await 15 "the serial port's counter" grep -aq 'tick 3' "$console" || fail "tick"
	fi
	kill "$qemu"
	wait "$job" || true
done
