#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A libvirt domain with real KVM, on hosts with a kernel and control groups of their own. It is protected by its name, its
# host's power is cut in the middle of a client's work, libvirt on the other host shows it running, shuts it down and starts
# it from its disk. The old host comes back, its libvirt starts nothing; it is the backup, then the VM's home again.
# time limit: 1800
set -euo pipefail
cd "$(dirname "$0")/../.."
LAB_MORE=libvirt
. tests/lib/labpair.sh
. tests/lib/libvirt.sh

in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
counter() {
	host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'GET twinvm:counter\r\n' >&3 && read -r _ <&3 && read -r x <&3 && echo \"\${x%%\$'\r'}\""
}
shows() { # HOST STATE: in virsh's list of all domains
	vsh "$1" list --all | grep -qE " web +$2\$"
}
must_show() {
	await "$AWAIT_S" "virsh list on $1 to show web $2" shows "$@" || fail "$(vsh "$1" list --all)"
	step "virsh list on $1: $(vsh "$1" list --all | xargs)"
}
libvirt_up() { # HOST
	lv_up "$1"
	step "libvirt on $1 answers, $(vsh "$1" version --daemon | sed -n 's/^Running against daemon: //p')"
}
under_kvm() { # HOST
	vsh_must "$1" qemu-monitor-command web --hmp 'info kvm'
	[[ $PRINTED = *"kvm support: enabled"* ]] || fail "web on $1: $PRINTED"
	guest_runs_on "$1" || fail "no vCPU runs on $1"
	host_run "$1" grep -q "/machine/qemu-.*-web" "/proc/$(lv_pid "$1" web)/cgroup" || fail "web is in no control group of libvirt's on $1"
}

labpair_up
for host in hostA hostB; do
	libvirt_up "$host"
	lv_hook "$host"
done
GUEST_EXTRA=twinvm.shell=1 lv_domain hostA web
under_kvm hostA
vsh_must hostA autostart web
step "the domain runs on hostA under KVM, in libvirt's control group"

client_start
protect web
await_pair hostA hostB web
must_show hostB paused
client_more 300 20
reads_committed web 10
client_cut
host_power_cut hostA
step "hostA's power was cut after $(client_acked) acknowledged writes"
labpair_goes_on
must_show hostB running
under_kvm hostB

before=$(counter)
vsh_must hostB shutdown web
in_guest "sync; poweroff -f"
must_show hostB "shut off"
await_state "$AWAIT_S" hostB web none
vsh_must hostB start web
await 240 "the guest to answer after a cold start" guest_answers
[[ $before = [1-9]* && $(counter) = "$before" ]] || fail "the counter was $before, and is $(counter)"
under_kvm hostB
step "a cold start on hostB under KVM, with the disk as it was: $before"

host_boot hostA
host_wait hostA
libvirt_up hostA
daemon_start hostA
must_show hostA "shut off"
tw_must hostB protect web --to hostA
await_pair hostB hostA web
must_show hostA paused
client_start
client_more 300 20
tw_must hostB failover web
await_pair hostA hostB web
labpair_goes_on
must_show hostA running
must_show hostB paused
under_kvm hostA
one_runs hostA
