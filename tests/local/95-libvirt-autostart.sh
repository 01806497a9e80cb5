#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# libvirt's start hook. A protected domain with autostart; its host loses power and comes back: libvirt does not start what the
# other host runs, with twinvmd up or not, and says why, as status does. Nor on the backup while the primary runs it, nor a
# standby's definition that was left there. After a planned switch home, and the end of protection, it may be started; a domain
# that twinvm does not know always may.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/libvirt.sh

start_fails() { # HOST PATTERN
	local words
	! words=$(vsh "$1" start vm1) || fail "vm1 was started on $1"
	grep -qE -- "$2" <<<"$words" || fail "$1: '$words' does not match '$2'"
}

PAIR_ARBITER="file" pair_up
lv_up hostA
lv_up hostB
lv_hook hostA
lv_hook hostB

# ---- a domain that twinvm does not know ----
lv_xml other mac=none disk= memory=64 >"$PAIR_DIR/other.xml"
_lv_kernel hostA
vsh_must hostA define "$PAIR_DIR/other.xml"
vsh_must hostA start other
vsh_must hostA destroy other
daemon_stop hostA
vsh_must hostA start other
vsh_must hostA destroy other
daemon_start hostA
step "a domain that twinvm does not know starts, with twinvmd or without"

# ---- a protected one ----
lv_domain hostA vm1
vsh_must hostA autostart vm1
protect vm1
await_pair hostA hostB vm1
client_start
vsh hostB define "$PAIR_DIR/vm1.xml" >/dev/null || true # the standby may be a domain of this name
start_fails hostB "vm1 runs on hostA|already active"
host_power_cut hostA
await_state 60 hostB vm1 alone
goes_on "on hostB"
host_boot hostA
lv_up hostA
lv_is hostA vm1 "shut off*" || fail "libvirt has started vm1 at boot: $(lv_state hostA vm1)"
start_fails hostA "twinvmd does not answer: vm1 was protected by hostB"
daemon_start hostA
await_pair hostB hostA vm1
start_fails hostA "vm1 runs on hostB|already active"
step "it does not start where it does not run, and the reason is named"

# ---- home again ----
tw_must hostB failover vm1
await_pair hostA hostB vm1
goes_on "home again"
start_fails hostA "vm1 runs on hostA already|already active"
client_ends
# hostB's libvirtd is away until whoever waits for it has given up: the standby's definition is left.
lv_stop hostB
tw_must hostA unprotect vm1
await_state "$AWAIT_S" hostB vm1 none
waits_for_libvirtd() { procs_of hostB "twinvm-libvirt end " | grep -q .; }
await "$AWAIT_S" "a process to wait for hostB's libvirtd" waits_for_libvirtd
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostB "twinvm-libvirt end ")
lv_start hostB
vsh_must hostB dumpxml --inactive vm1
[[ $PRINTED = *urn:twinvm:libvirt:1* ]] || fail "no definition of the standby is left on hostB"
start_fails hostB "copy that twinvm made on hostB .*never took over: hostA ran the VM .*virsh undefine vm1"
daemon_stop hostB
start_fails hostB "twinvmd does not answer: .*copy that twinvm made on hostB"
daemon_start hostB
vsh_must hostB undefine vm1
step "nor does the definition of a standby that was left"
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostA qemu-system)
await "$AWAIT_S" "the VM's end" no_procs hostA qemu-system
await "$AWAIT_S" "libvirt to see that" lv_is hostA vm1 "shut off*"
may_start() { vsh hostA start vm1 >"$PAIR_DIR/words"; }
await "$AWAIT_S" "vm1 to be started" may_start
await "$AWAIT_S" "vm1 to run" lv_is hostA vm1 "running*"
step "after the end of protection it may"
