#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The lab itself: two hosts with a kernel each, in which KVM runs a guest; cables, a freeze, a machine check, a
# panic and a power cut do what they say, and what was synced to a host's disk is there after it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

pings() { host_run "$1" "$LAB_BUSYBOX" ping -c 1 -W 2 -q "$2" >/dev/null 2>&1; }
dots() { host_run hostA grep -sq '....' /run/dots; }
plain() { host_run "$1" true 2>/dev/null; }

step "booting two hosts"
lab_up hostA hostB client
PAIR_DIR=$HOSTS_DIR
step "they are up: $(host_run hostA uname -r)"
[[ $(host_run hostA hostname) = hostA && $(host_run hostB hostname) = hostB ]] || fail "names"
[[ $(host_run hostA sh -c 'echo out; echo err >&2; exit 7' 2>"$HOSTS_DIR/err" || echo $?) = "out
7" && $(<"$HOSTS_DIR/err") = err ]] || fail "output and exit status of commands"

# -bios: the tiny guest writes memory and dots for ever
host_spawn hostA "$HOSTS_DIR/tiny.log" qemu-system-x86_64 -M pc -accel kvm -m 16 -nodefaults -display none \
	-bios "$LAB_B/lab/tiny.bin" -serial file:/run/dots
await 60 "a guest to run under KVM" dots
guest_runs_on hostA || fail "KVM counts no exits"
host_kill hostA TERM "$SPAWNED_PID"
! guest_runs_on hostB || fail "exits are counted where no VM runs"
step "a guest ran under /dev/kvm"

host_run hostA bash -ec 'ip link add plug0 type ifb; ip tuntap add dev t0 mode tap; ip link set plug0 up
	tc qdisc add dev t0 clsact; tc filter add dev t0 ingress matchall action mirred egress redirect dev plug0
	tc qdisc add dev plug0 root plug; tc qdisc show dev plug0 | grep -q "qdisc plug"
	tc qdisc del dev plug0 root; ip link del plug0; ip link del t0' || fail "sch_plug, ifb, act_mirred"
step "sch_plug, ifb and redirection are there"

pings client 10.77.0.12 && pings hostA 10.78.0.12 || fail "the networks"
host_link hostA down repl
! pings hostA 10.78.0.12 || fail "the replication cable is not out"
pings client 10.77.0.11 || fail "pulling one cable pulled the other"
host_link hostA down client
! pings client 10.77.0.11 || fail "the client cable is not out"
plain hostA || fail "the management network was cut"
host_link hostA up
await 20 "the cables to be in again" pings hostA 10.78.0.12
await 20 "the cables to be in again" pings client 10.77.0.11
step "cables"

host_freeze hostB
! pings hostA 10.78.0.12 || fail "a frozen host answers"
host_thaw hostB
await 20 "the host to come back" pings hostA 10.78.0.12
step "a freeze"

host_run hostA bash -c 'echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval
	echo 1 >/sys/kernel/tracing/events/mce/mce_record/enable'
host_mce hostA "0 8 0x9c00000000000150 0x0 0x12345000 0x8c" >/dev/null
seen_mce() { host_run hostA grep -q mce_record /sys/kernel/tracing/trace; }
await 30 "the machine check to be recorded" seen_mce
step "a corrected machine check"

host_panic hostB
! pings hostA 10.78.0.12 || fail "a host whose kernel panicked answers"
step "a panic"

host_run hostA sh -c 'echo kept >/var/lib/kept; sync; echo lost >/var/lib/lost; echo lost >/tmp/lost'
host_power_cut hostA
! pings client 10.77.0.11 || fail "a dead host answers"
host_boot hostA
host_wait hostA
[[ $(host_run hostA cat /var/lib/kept) = kept ]] || fail "what was synced is lost"
host_run hostA test ! -e /tmp/lost || fail "memory survived a power cut"
step "a power cut, and the same host again"
