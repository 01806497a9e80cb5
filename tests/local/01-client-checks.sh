#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# redis_client is the witness of all that follows: here each thing it must notice is done to a real
# redis-server, and it must notice it, and nothing when nothing was done.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/guest.sh

at_exit() {
	(($1 == 0)) || tail -n 5 "$HOSTS_DIR/report" "$HOSTS_DIR/redis.log" 2>/dev/null
}
[[ -x build/guest/packages/bin/busybox ]] || fail "no guest: run 'make guest'"
hosts_up box
guest_redis_command

redis_start() {
	host_spawn box "$HOSTS_DIR/redis.log" "${REDIS_COMMAND[@]}"
	redis_pid=$SPAWNED_PID
	await 10 "redis to start" redis PING
}
redis() {
	host_run box bash -c "exec 3<>/dev/tcp/127.0.0.1/6379 && printf '%s\r\n' '$*' >&3 && read -t 5 -u 3 r && [[ \$r != -* ]]" 2>/dev/null
}
# What is done to the server besides commands.
hang_a_while() {
	kill -STOP "$redis_pid"
	kill -USR1 "$client_pid"
	let_pass 0.4
	kill -CONT "$redis_pid"
}
hang_for_good() {
	kill -STOP "$redis_pid"
	await 10 "the client to give up" ended "$client_pid"
	kill -CONT "$redis_pid"
}
die_for_good() {
	kill -9 "$redis_pid"
	await 20 "the client to give up" ended "$client_pid"
}
restart() {
	kill -9 "$redis_pid"
	await 10 "the old server to be gone" ended "$redis_pid" # it holds the port until then
	redis_start
}
# Not lib/client.sh: here the client is what is tested, and faults may end it.
# experiment "FAULT" [CLIENT OPTION...]: starts the client, does FAULT in the middle of its work, lets
# it work on, stops it; sets status
experiment() {
	local fault record=$HOSTS_DIR/record lines
	read -ra fault <<<"$1"
	shift
	rm -f "$record" "$HOSTS_DIR/report"
	host_spawn box "$HOSTS_DIR/client.log" build/tools/redis_client --host 127.0.0.1 \
		--out "$HOSTS_DIR/report" --record "$record" --pause-us 100 "$@"
	client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
	await 10 "the client to work" has_lines 300
	"${fault[@]}"
	lines=$(wc -l <"$record")
	await 10 "the client to work on" has_lines_or_end $((lines + 300))
	kill -TERM "$client_pid" 2>/dev/null || true
	status=0
	wait "$client_job" || status=$?
}
has_lines() { [[ -e $HOSTS_DIR/record ]] && (($(wc -l <"$HOSTS_DIR/record") >= $1)); }
ended() { ! kill -0 "$1" 2>/dev/null; }
has_lines_or_end() { has_lines "$1" || ended "$client_pid"; }
# expect WHAT STATUS JQ_CONDITION
expect() {
	[[ $status = "$2" ]] || fail "$1: exit status $status, not $2"
	jq -e "$3" "$HOSTS_DIR/report" >/dev/null || fail "$1: not $3"
	echo "ok: $1"
}

redis_start
experiment :
expect "nothing wrong" 0 '.lost_writes == 0 and .phantom_reads == 0 and .connection_survived and
	.acked_writes >= 600 and .outage_ms == null and .final_counter + .final_length == .acked_writes'
experiment 'redis DECR twinvm:counter'
expect "a lost increment" 1 '.lost_writes == 1 and .phantom_reads == 0'
experiment 'redis INCRBY twinvm:counter 5'
expect "a counter too large" 1 '.lost_writes == 0 and .phantom_reads == 5'
experiment 'redis LPOP twinvm:list'
expect "a lost element" 1 '.lost_writes == 1 and .phantom_reads == 0'
experiment 'redis RPUSH twinvm:list 1'
expect "an element twice" 1 '.lost_writes == 0 and .phantom_reads == 1'
experiment 'redis RPUSH twinvm:list 999999999'
expect "an element never sent" 1 '.lost_writes == 0 and .phantom_reads == 1'
experiment 'redis LSET twinvm:list 3 nonsense'
expect "an element changed" 1 '.lost_writes == 1 and .phantom_reads == 1'
experiment 'redis LMOVE twinvm:list twinvm:list LEFT RIGHT'
expect "an element out of order" 1 '.phantom_reads >= 1'
experiment 'redis FLUSHALL'
expect "everything lost" 1 '.lost_writes >= 300'
experiment 'redis CLIENT KILL TYPE normal SKIPME yes'
expect "the connection reset" 1 '.connection_survived == false and .lost_writes == 0 and .phantom_reads == 0'
experiment hang_a_while
expect "an outage" 0 '.connection_survived and .outage_ms > 350 and .outage_ms < 5000 and .acked_after_outage > 0'
experiment hang_for_good --timeout-ms 300
expect "no answer any more" 1 '.connection_survived == false and .lost_writes == null'
experiment die_for_good
expect "the server died" 1 '.connection_survived == false and .lost_writes == null'
redis_start
experiment restart
expect "the server died and came back empty" 1 '.connection_survived == false and .lost_writes != 0'
