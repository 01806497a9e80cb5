#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A domain whose only monitor libvirt has: found by name, id and UUID, protected through libvirt's passthrough, an epoch in
# one command. libvirtd restarted, killed and hung while it is protected, the process between us and libvirtd killed
# at any moment: the VM runs on, and is protected again. Then a power cut: the backup runs it, nothing is lost.
# KILLS=2, ROUNDS=20: how often that process is killed, and others get in the way
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/libvirt.sh

KILLS=${KILLS:-2}

bridges() { procs_of hostA "twinvm-libvirt qmp"; }
no_bridge() { [[ -z $(bridges) ]]; }
# The VM runs, whatever has ended, and epochs follow each other again.
again() {
	goes_on "$1"
	await_pair hostA hostB vm1
	await_epochs hostA vm1 5
	goes_on "$1, protected again"
	lv_is hostA vm1 "*" || fail "libvirt does not know vm1"
	[[ $(lv_pid hostA vm1) = "${GUEST_PID[vm1]}" ]] || fail "$1: QEMU is another one"
}

PAIR_ARBITER="file" pair_up
lv_up hostA

# Events through libvirt, in order with the answers, while libvirtd has much to do; epochs with another program's commands.
lv_qmp_dir hostA vm2
_lv_kernel hostA
lv_disk hostA vm2
lv_xml vm2 mac=none "$LV_QMP" >"$PAIR_DIR/vm2.xml"
vsh_must hostA create "$PAIR_DIR/vm2.xml"
tool=$(realpath "${B:-build}/tools/hv_libvirt")
host_spawn hostA "$PAIR_DIR/busy.log" bash -c 'while :; do virsh -q -c qemu:///system domstats; virsh -q -c qemu:///system dumpxml vm2; done'
busy=$SPAWNED_PID job=$SPAWNED_JOB
host_run hostA "$tool" order vm2 "${ROUNDS:-60}" || fail "events and answers"
host_run hostA "$tool" torn vm2 "${ROUNDS:-20}" || fail "epochs with another program's commands"
kill "$busy"
wait "$job" 2>/dev/null || true
vsh_must hostA destroy vm2
lv_domain hostA vm1
uuid=$(vsh hostA domuuid vm1 | tr -d '[:space:]')
id=$(vsh hostA domid vm1 | tr -d '[:space:]')

# libvirtd does not answer: the sentence has the remedy. Nothing is left.
lv_stop hostA
tw_refuses hostA 1 "libvirt does not answer.*qemu:commandline" protect "$uuid" --to hostB
lv_start hostA

for word in "$uuid" "$id" vm1; do
	protect "$word"
	await_pair hostA hostB vm1
	await_epochs hostA vm1 3
	tw_refuses hostA 1 "already protected" protect "$word" --to hostB
	! logged hostA "an epoch takes three commands" || fail "$(grep 'three commands' "$PAIR_DIR/hostA.log")"
	[[ $word = vm1 ]] || tw_must hostA unprotect "$word"
	[[ $word = vm1 ]] || await 20 "its process to end" no_bridge
done
tw_must hostA unprotect vm1
echo 'lock_manager = "lockd"' >>"$PAIR_DIR/lv-hostA/etc/qemu.conf"
tw_refuses hostA 3 "lock_manager is \"lockd\".*leases" protect vm1 --to hostB
sed -i '/^lock_manager/d' "$PAIR_DIR/lv-hostA/etc/qemu.conf"
protect vm1
await_pair hostA hostB vm1
step "found by name, id and UUID; an epoch is one command"
client_start

lv_restart hostA
again "libvirtd was restarted"
lv_stop hostA KILL
goes_on "libvirtd is dead"
lv_start hostA
again "libvirtd was killed"
lv_hang hostA
goes_on "libvirtd hangs"
lv_wake hostA
again "libvirtd hung"
step "libvirtd restarted, killed and hung: the VM runs on, protected again"

for ((n = 0; n < KILLS; n++)); do
	pid=$(bridges | head -n 1)
	[[ -n $pid ]] || fail "nothing speaks with libvirt"
	# At no fixed moment of an epoch: after some more of them, which take what they take.
	client_more "$AWAIT_S" $((RANDOM % 7 + 1))
	kill -KILL "$pid"
	again "the process between us and libvirt was killed"
done
step "$KILLS kills of the process in between: the VM runs on, protected again"

acked=$(client_acked)
client_cut
host_power_cut hostA
await_primary hostB vm1
GUEST_PID[vm1]=
client_more "$AWAIT_S" 20
echo "answers before and after: $acked, $(client_acked)"
client_ends
