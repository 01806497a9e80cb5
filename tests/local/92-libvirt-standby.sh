#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The standby of a domain is a domain of the backup's libvirt, and becomes an ordinary one: beside no other of its name; gone
# with its sink, and without a trace in the end; a power cut while the backup's libvirtd is dead; suspend and resume there; protected back onto the old host, where the domain is still defined; a planned switch home, and a cold
# start.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/libvirt.sh

is_paused() { lv_is "$1" web "paused (*)"; }
is_running() { lv_is "$1" web "running (*)"; }
taps_of() { host_run "$1" sh -c 'ls /sys/class/net' | grep -E '^(vnet|tv)' || true; }
# Of the standby nothing is left on the host.
is_clean() {
	[[ -z $(vsh "$1" list --all --name) && -z $(taps_of "$1") && -z $(procs_of "$1" qemu-system) ]] &&
		[[ ! -e $(host_path "$1" /var/lib/libvirt/qemu)/domain-web ]]
}
must_be_down() {
	local tap
	for tap in $(taps_of "$1"); do
		[[ $(host_run "$1" cat "/sys/class/net/$tap/flags") = 0x*[02468ace] ]] || fail "$tap on $1 is up before the promotion"
	done
	[[ -n ${tap:-} ]] || fail "no tap on $1"
}

pair_up
lv_up hostA
lv_up hostB
lv_qmp_dir hostA web
lv_domain hostA web "$LV_QMP"

vsh hostA dumpxml --inactive web | sed "s#<uuid>........#<uuid>00000000#; s#52:54:00#52:54:01#" >"$PAIR_DIR/other.xml"
vsh_must hostB define "$PAIR_DIR/other.xml"
tw_refuses hostA 3 "hostB.*is not the VM web.*rename it or undefine it" protect web --to hostB
vsh_must hostB undefine web
# The same name and UUID, and nothing on hostB shows that this is the VM: a peer's word is not enough.
vsh hostA dumpxml --inactive web >"$PAIR_DIR/same.xml"
vsh_must hostB define "$PAIR_DIR/same.xml"
tw_refuses hostA 3 "hostB.*does not know it as a VM of twinvm's.*virsh undefine web" protect web --to hostB
[[ $(vsh hostB dumpxml --inactive web) != *urn:twinvm* ]] || fail "the definition on hostB was replaced"
vsh_must hostB undefine web
protect web
await_pair hostA hostB web
is_paused hostB || fail "the standby on hostB: $(vsh hostB list --all); $(grep -i libvirt "$PAIR_DIR/hostB.log" | tail -n 3)"
must_be_down hostB
[[ $(ps -o user:20= -p "$(lv_pid hostB web)") = libvirt-qemu ]] || fail "the standby's user"
vsh_must hostB dumpxml web
old=$(lv_pid hostB web)
# shellcheck disable=SC2046 # pids
kill -9 $(procs_of hostB "twinvmd replicate sink")
is_another() { [[ -n $(lv_pid hostB web) && $(lv_pid hostB web) != "$old" ]]; }
await "$AWAIT_S" "another standby" is_another
await_pair hostA hostB web
is_paused hostB || fail "the second standby on hostB: $(vsh hostB list --all)"
lv_stop hostB
tw_must hostA unprotect web
await_state "$AWAIT_S" hostB web none
lv_start hostB
await "$AWAIT_S" "nothing to be left on hostB" is_clean hostB
step "the standby is a domain, and goes without a trace, also while libvirtd is away"

protect web
await_pair hostA hostB web
client_start
lv_stop hostB KILL
host_power_cut hostA
client_cut
goes_on "after the power cut, without libvirtd"
await_primary hostB web
lv_start hostB
is_running hostB || fail "after the promotion libvirt says: $(lv_state hostB web)"
step "promoted without libvirtd, which finds it running"

vsh_must hostB suspend web
is_paused hostB || fail "suspended: $(lv_state hostB web)"
vsh_must hostB resume web
goes_on "after suspend and resume"

# The old host still has its definition.
host_boot hostA
lv_up hostA
daemon_start hostA
await_pair hostB hostA web
is_paused hostA || fail "the standby on hostA: $(vsh hostA list --all)"
must_be_down hostA
tw_must hostB failover web
goes_on "at home"
await_pair hostA hostB web
await "$AWAIT_S" "libvirt to call it running at home" is_running hostA # between two epochs
is_paused hostB || fail "the standby on hostB, once more: $(vsh hostB list --all)"
client_ends
step "protected back onto the old host, and a planned switch home"

tw_must hostA unprotect web
await "$AWAIT_S" "nothing to be left on hostB" is_clean hostB
vsh_must hostA destroy web
vsh_must hostA start web
await "$AWAIT_S" "the guest to answer after a cold start" guest_answers
! grep -q "defer" <<<"$(vsh hostA dumpxml web)" || fail "the definition waits for a state"
echo "the standby is a domain of libvirt, before and after"
