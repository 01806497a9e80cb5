#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that sleeps (S3) and wakes, by its own RTC alarm and by `system_wakeup`, and one that is reset: QEMU sends neither STOP nor
# RESUME for a sleep. Protection waits, and continues. A VM that sleeps is neither protected nor switched: the sentence names
# `system_wakeup`. Then a planned switch, and a power cut, after it woke up.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

hmp() { host_run hostA python3 tests/tools/hmp.py "$PAIR_DIR/vm1.hmp" "$1" >"$PAIR_DIR/hmp" || fail "$1: $(<"$PAIR_DIR/hmp")"; }
in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
run_state() { await_field "$AWAIT_S" hostA vm1 "['run_state']" "$1"; }
wakes_up() { # WHAT: epochs continue, output flows
	run_state running
	await_epochs hostA vm1 5
	goes_on "$1"
}

GUEST_MACHINE=pc # on q35 the firmware lets a guest suspend itself only once
PAIR_ARBITER='file' pair_up
GUEST_EXTRA="twinvm.shell=1" guest_start_disk hostA vm1 -monitor "unix:$PAIR_DIR/vm1.hmp,server=on,wait=off"
await "$AWAIT_S" "the guest to answer" guest_answers
in_guest "echo mem >/sys/power/state"
is_asleep() { hmp "info status" && grep -q suspended "$PAIR_DIR/hmp"; }
await "$AWAIT_S" "the guest to be suspended" is_asleep
tw_refuses hostA 3 "sleeps.*system_wakeup" protect vm1 --to hostB
hmp system_wakeup
await "$AWAIT_S" "the guest to answer again" guest_answers
protect vm1
client_start
step "a sleeping VM is not protected, and the sentence names the remedy"

# ---- by its own alarm ----
in_guest "echo +5 >/sys/class/rtc/rtc0/wakealarm; echo mem >/sys/power/state"
run_state suspended
wakes_up "after the guest's own alarm"
step "S3, and the guest's own alarm"

# ---- by an operator ----
in_guest "echo mem >/sys/power/state"
run_state suspended
field_is hostA vm1 "['state']" protected || fail "the session did not wait: $(tw hostA status)"
[[ $(vm_field hostA vm1 "['reason']") = *sleeps* ]] || fail "no reason: $(tw hostA status)"
tw_refuses hostA 3 "sleeps.*system_wakeup" failover vm1
hmp system_wakeup
wakes_up "after system_wakeup"
step "S3, and system_wakeup"

# ---- a planned switch and a power cut after that ----
tw_must hostA failover vm1
await_primary hostB vm1
await_pair hostB hostA vm1
goes_on "on hostB"
GUEST_PID[vm1]=
host_power_cut hostB
await_primary hostA vm1
goes_on "on hostA again"
client_ends
step "switched, and failed over, after it woke up"
