#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whoever reaches the web server's port does what can be done wrong there, beside a protected VM: all is refused or served, the
# VM stays protected and its epochs are committed, and the process needs no more memory and descriptors afterwards. It is
# stopped and killed: the daemon replaces it, and streams are opened anew. Then TLS, on an address of the network.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
token=the-dashboard-tests-token
CERTS_SAN=IP:10.77.0.12

web() { procs_of hostA "^twinvmd web"; }
has_web() { [[ -n $(web) && $(web) != "${1:-}" ]]; }
health() { host_run hostA curl -s -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:7891/healthz; }
serves() { [[ $(health) = 200 ]]; }
fds() { find "/proc/$1/fd" -type l 2>/dev/null | wc -l; }
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
few_fds() { (($(fds "$1") <= $2)); }
# How long the daemon waits before it starts the next one.
pause_s() { sed -n 's/.*(signal 9); the next one in \([0-9]*\) s$/\1/p' "$PAIR_DIR/hostA.log" | tail -n 1; }
# unharmed WHAT: the VM is protected, epochs are committed, and the same process serves
unharmed() {
	field_is hostA vm1 "['state']" protected || fail "$1: $(tw hostA status)"
	await_epochs hostA vm1 3
	field_is hostA vm1 "['state']" protected || fail "$1: $(tw hostA status)"
	[[ $(web) = "$pid" ]] || fail "$1: the web server has ended: $(tail -n 3 "$PAIR_DIR/hostA.log")"
}
# load NAME OPTION...: begins; load_end NAME FILTER: ends it, what it counted fulfils the filter
declare -A LOAD=()
load() {
	host_spawn hostA "$PAIR_DIR/$1.load" "$PAIR_B/tools/http_load" 127.0.0.1 7891 "${@:2}"
	LOAD[$1]=$SPAWNED_PID
	await "$AWAIT_S" "the load $1 to begin" grep -q ready "$PAIR_DIR/$1.load"
}
load_end() {
	kill -TERM "${LOAD[$1]}"
	await "$AWAIT_S" "the load $1 to end" grep -q '^{' "$PAIR_DIR/$1.load"
	[[ $(grep '^{' "$PAIR_DIR/$1.load" | jq "$2") = true ]] || fail "$1: not $2: $(<"$PAIR_DIR/$1.load")"
	echo "$1: $(grep '^{' "$PAIR_DIR/$1.load")"
}

pair_up
install -m 600 /dev/null "$PAIR_DIR/token"
echo "$token" >"$PAIR_DIR/token"
for host in hostA hostB; do
	echo "dashboard_token_file = $PAIR_DIR/token" >>"$PAIR_DIR/$host.conf"
done
printf '%s\n' "dashboard = ${HOST_ADDR[hostB]}:7891" "dashboard_tls = yes" >>"$PAIR_DIR/hostB.conf"
kill -HUP "${DAEMON_PID[hostA]}" "${DAEMON_PID[hostB]}"
qemu_start hostA vm1 -M q35 -m 64 -nodefaults -display none
protect vm1
await_pair hostA hostB vm1
await "$AWAIT_S" "the web server" serves
await "$AWAIT_S" "hostB's with TLS" logged hostB "dashboard on https://"
pid=$(web)
fds=$(fds "$pid") rss=$(rss_kib "$pid")

step "requests that are refused"
# Slow ones are there all the time, for a byte now and then.
host_spawn hostA "$PAIR_DIR/slow" python3 tests/tools/bad_http.py 127.0.0.1 7891 "$token" slow 20
slow=$SPAWNED_JOB
await "$AWAIT_S" "slow requests" grep -q begun "$PAIR_DIR/slow"
# And at the port with TLS, some of which say nothing at all.
host_spawn client "$PAIR_DIR/slow-tls" python3 tests/tools/bad_http.py "${HOST_ADDR[hostB]}" 7891 "$token" slow 20
host_run hostA python3 tests/tools/bad_http.py 127.0.0.1 7891 "$token" >"$PAIR_DIR/bad" || fail "$(grep WRONG "$PAIR_DIR/bad")"
unharmed "bad requests"
[[ $(host_run hostB "$PAIR_B/twinvm" events vm1 --json | jq '[.[] | select(.kind == "unprotect-asked")] | length') = 0 ]] ||
	fail "a command was taken"

step "200 streams, 1,000 requests a second, and as many as there can be"
load much rate=1000 streams=200 token=$token
load wrong from=11 rate=100 token=0000000000000000
load history from=12 rate=100 path=/api/history/x token=$token
await_epochs hostA vm1 20
(($(fds "$pid") <= 600)) || fail "$(fds "$pid") descriptors"
unharmed "load"
load_end history '.ok > 0 and .other == 0'
load_end wrong '.ok == 0 and .sent > 0'
load_end much '.ok > 100 and .other == 0 and .messages > 200'
load flood from=1 rate=100000 streams=300 token=$token
unharmed "a flood"
load_end flood '.ok > 1000 and .other == 0 and .streams_refused >= 100'
await "$AWAIT_S" "slow requests to be ended" grep -q "ended 20" "$PAIR_DIR/slow"
wait "$slow" || fail "slow requests"
await "$AWAIT_S" "connections to be closed" few_fds "$pid" "$fds"
(($(rss_kib "$pid") < rss + 32768)) || fail "memory: $(rss_kib "$pid") KiB, $rss before"
unharmed "after all of them"
echo "descriptors $fds, $(fds "$pid") after; memory $rss KiB, $(rss_kib "$pid") after"

step "the web server hangs: it is replaced, and streams are opened anew"
load pages rate=10 streams=20 token=$token
kill -STOP "$pid"
await_epochs hostA vm1 20
tw_must hostA status vm1
await "$AWAIT_S" "another web server" has_web "$pid"
logged hostA "has taken no snapshot" || fail "why: $(tail "$PAIR_DIR/hostA.log")"
await "$AWAIT_S" "the next one" serves
pid=$(web)
has_streams() { (($(fds "$pid") >= 28)); }
await "$AWAIT_S" "streams" has_streams
unharmed "after a hang"

step "it is killed: replaced, later than the last time, and streams are opened anew"
pause=$(pause_s)
kill -KILL "$pid"
longer() { (($(pause_s) > pause)); }
await "$AWAIT_S" "a longer pause than $pause s" longer
await "$AWAIT_S" "the next one" serves
pid=$(web)
await "$AWAIT_S" "streams" has_streams
unharmed "after a kill"
load_end pages '.ok > 0 and .other == 0 and .reopened >= 40'

step "TLS and the token on an address of the network"
url=https://${HOST_ADDR[hostB]}:7891
# answers WANT ARG...: curl from the client's host; its exit status and the answer's
answers() {
	local got
	got=$(host_run client curl -s -m 20 -o /dev/null -w '%{http_code}' "${@:2}") && got="0 $got" || got="$? $got"
	# shellcheck disable=SC2053 # a pattern
	[[ $got = $1 ]] || fail "curl ${*:2}: '$got', not '$1'"
}
ca=(--cacert "$PAIR_DIR/certs/ca.crt")
[[ ${HOST_ADDR[hostB]} = "${CERTS_SAN#IP:}" ]] || fail "hostB's address is ${HOST_ADDR[hostB]}"
await "$AWAIT_S" "connections without a handshake to be ended" grep -q "ended 20" "$PAIR_DIR/slow-tls"
answers "0 200" "${ca[@]}" "$url/healthz"
answers "0 200" "${ca[@]}" -H "Authorization: Bearer $token" "$url/metrics"
answers "0 401" "${ca[@]}" "$url/metrics"
answers "0 401" "${ca[@]}" -H "Authorization: Bearer x$token" "$url/metrics"
answers "0 303" "${ca[@]}" "$url/"
answers "0 403" "${ca[@]}" -H "Host: evil.example" -H "Authorization: Bearer $token" "$url/metrics"
answers "0 403" "${ca[@]}" -H "Origin: http://${HOST_ADDR[hostB]}:7891" -H "Authorization: Bearer $token" \
	-H "Content-Type: application/json" -d '{}' "$url/api/act"
answers "60 000" "$url/healthz"
certs_make "$PAIR_DIR/others" hostB
answers "60 000" --cacert "$PAIR_DIR/others/ca.crt" "$url/healthz"
answers "[1-9]* 000" "${ca[@]}" --tls-max 1.1 "$url/healthz"
answers "[1-9]* 000" "http://${HOST_ADDR[hostB]}:7891/healthz"
login=$(host_run client curl -s "${ca[@]}" -D - -o /dev/null -d "token=$token" -H "Origin: $url" "$url/login")
grep -qi '^set-cookie: twinvm=.*HttpOnly; SameSite=Strict;.*Secure' <<<"$login" || fail "the cookie: $login"
unharmed "TLS"
