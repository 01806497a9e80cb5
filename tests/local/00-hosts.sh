#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The harness itself: hosts see each other and nothing else, links cut, power cuts and freezes do what
# they say, and nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/certs.sh

busybox=build/guest/packages/bin/busybox
[[ -x $busybox ]] || fail "no $busybox: run 'make guest'"
pings() { host_run "$1" "$busybox" ping -c 1 -W 1 -q "$2" >/dev/null 2>&1; }
in_host() { [[ $(readlink "/proc/$1/ns/pid" 2>/dev/null) = "$2" ]]; }
state_of() { awk '{sub(/.*\) /, ""); print $1}' "/proc/$1/stat"; }

start=${EPOCHREALTIME/./}
hosts_up hostA hostB client
took=$((${EPOCHREALTIME/./} - start))
echo "three hosts up in $((took / 1000)) ms"

[[ $(host_run hostA hostname) = hostA ]] || fail "host name"
host_run hostA touch /run/only-here /var/lib/only-here /dev/shm/only-here
for f in /run /var/lib /dev/shm; do
	host_run hostB test ! -e "$f/only-here" || fail "$f is shared between hosts"
	[[ ! -e $f/only-here ]] || fail "$f is shared with this machine"
done
[[ $(host_run hostA ls /sys/class/net | xargs) = "br0 cl0 lo repl0" ]] || fail "/sys shows other devices"
host_run hostA test -e "$PWD/tests/lib/hosts.sh" || fail "the repository is not visible"
[[ $(host_run hostA sh -c 'kill -TERM $$' && echo 0 || echo $?) = 143 ]] || fail "exit status"

for ip in 10.77.0.11 10.77.0.12; do
	pings client $ip || fail "the client does not reach $ip"
done
pings hostA 10.78.0.12 || fail "hostA does not reach hostB"
! pings client 10.78.0.11 || fail "the client reaches the replication network"
host_link hostA down repl
! pings hostA 10.78.0.12 || fail "the replication link is not cut"
pings client 10.77.0.11 || fail "cutting replication cut the client, too"
host_link hostA up repl
await 5 "the link to come back" pings hostA 10.78.0.12
host_shape hostA 1mbit
# 128 KiB at 1 Mbit/s take a second, less what the burst lets through
host_spawn hostA "$HOSTS_DIR/log" "$busybox" nc -l -p 9 -e /bin/sh -c "cat >$HOSTS_DIR/received"
job=$SPAWNED_JOB
await 5 "a listener on hostA" host_run hostA "$busybox" grep -qs ":0009 0*:0000 0A" /proc/net/tcp /proc/net/tcp6
start=${EPOCHREALTIME/./}
head -c 131072 /dev/zero | host_run hostB "$busybox" nc 10.78.0.11 9
wait "$job"
took=$(((${EPOCHREALTIME/./} - start) / 1000))
[[ $(stat -c %s "$HOSTS_DIR/received") = 131072 ]] || fail "bytes were lost on the slow link"
((took > 500)) || fail "128 KiB took $took ms at 1 Mbit/s"
host_shape hostA off
host_tap hostA tap0

log=$HOSTS_DIR/log
host_spawn hostA "$log" bash -c 'trap "echo got; exit 7" USR1; echo up; while :; do read -t 1 <> <(:); done'
pid=$SPAWNED_PID job=$SPAWNED_JOB
await 5 "the program to start" grep -q up "$log"
in_host "$pid" "$(readlink "/proc/${HOST_INIT[hostA]}/ns/pid")" || fail "SPAWNED_PID is not the program"
kill -USR1 "$pid"
status=0
wait "$job" || status=$?
[[ $status = 7 ]] || fail "status of a spawned program is $status, not 7"

host_spawn hostA "$log" sh -c 'sleep 1000 & sleep 1000'
pid=$SPAWNED_PID
# A shell that waits in vfork for a child that was stopped before its exec cannot be stopped itself.
two_sleeps() { (($(host_run hostA sh -c 'grep -alc "^sleep" /proc/[0-9]*/cmdline 2>/dev/null | wc -l') >= 2)); }
await 10 "both programs to run" two_sleeps
host_freeze hostA
[[ $(state_of "$pid") = T ]] || fail "not frozen"
host_thaw hostA
[[ $(state_of "$pid") != T ]] || fail "not thawed"

ns=$(readlink "/proc/${HOST_INIT[hostA]}/ns/pid")
host_power_cut hostA
wait "${HOST_OUTER[hostA]}" || true
for p in /proc/[0-9]*; do
	! in_host "${p#/proc/}" "$ns" || fail "process ${p#/proc/} outlived the power cut"
done
! pings client 10.77.0.11 || fail "hostA answers after the power cut"
host_boot hostA
await 5 "hostA to be back" pings client 10.77.0.11
host_run hostA test -e /var/lib/only-here || fail "the disk did not outlive the power cut"
host_run hostA test ! -e /run/only-here || fail "/run outlived the power cut"

certs_make "$HOSTS_DIR/certs" hostA hostB
for h in hostA hostB; do
	openssl verify -CAfile "$HOSTS_DIR/certs/ca.crt" "$HOSTS_DIR/certs/$h.crt" >/dev/null || fail "certificate of $h"
	openssl x509 -in "$HOSTS_DIR/certs/$h.crt" -noout -checkhost "$h" | grep -q "does match" || fail "name in $h.crt"
done

# What a script leaves behind when it is killed without a chance to clean up.
# shellcheck disable=SC2016 # the inner shell's variables
env -u HOSTS_DIR bash -c '. tests/lib/hosts.sh; hosts_up hostX; echo "${HOST_INIT[hostX]} $HOSTS_DIR"; kill -9 $$' \
	>"$HOSTS_DIR/killed" 2>/dev/null || true
read -r orphan dir <"$HOSTS_DIR/killed"
await 5 "the killed script's host to end" test ! -e "/proc/$orphan"
rm -rf "$dir"
