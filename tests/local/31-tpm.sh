#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM with a TPM, which swtpm emulates: what the guest has measured is there after a power cut and after a planned switch, and it
# measures on. The standby has a swtpm of its own, with few rights, which lives as long as its QEMU. A host without swtpm is
# refused as a backup.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER=${PAIR_ARBITER:-file}
PAIR_CALM=1
. tests/lib/pair.sh

VM_UID=$(id -u twinvm-vm) || fail "no user twinvm-vm: run 'make deps'"
PCR=/sys/class/tpm/tpm0/pcr-sha256/11

in_guest() { # COMMAND: sets PRINTED to its line
	PRINTED=$(host_run client timeout 60 bash -c \
		"exec 3<>/dev/tcp/$GUEST_IP/7002 && echo '$1' >&3 && read -r x <&3 && echo \"\$x\"") || fail "the guest's shell: $1"
}
# measure LETTER: PCR 11 is extended (TPM2_PCR_Extend, a password session without one); sets VALUE to what it has then
measure() {
	local before=$VALUE digest
	digest=$(printf "%32s" "" | tr ' ' "$1")
	in_guest 'printf "\200\002\000\000\000\101\000\000\001\202\000\000\000\013\000\000\000\011\100\000\000\011\000\000\000\000\000\000\000\000\001\000\013'"$digest"'" >/dev/tpm0; cat '$PCR
	VALUE=$PRINTED
	[[ $VALUE =~ ^[0-9A-F]{64}$ && $VALUE != "$before" ]] || fail "the TPM has not measured: '$VALUE', before: '$before'"
}
# keeps WHAT: the TPM has what it had
keeps() {
	in_guest "cat $PCR"
	[[ $PRINTED = "$VALUE" ]] || fail "$1: the TPM has '$PRINTED', not '$VALUE'"
}
# swtpms HOST N: N of twinvm run there, none of which has rights
swtpms() {
	local pid n=0
	for pid in $(procs_of "$1" "^swtpm socket --tpm2 --tpmstate dir=/run"); do
		n=$((n + 1))
		grep -q "^Uid:.$VM_UID.$VM_UID" "/proc/$pid/status" && grep -q "^CapEff:.0*$" "/proc/$pid/status" ||
			fail "swtpm $pid on $1 has rights: $(<"/proc/$pid/status")"
	done
	((n == $2))
}
answers() { in_guest "cat $PCR" && [[ -n $PRINTED ]]; }

pair_up
mkdir "$PAIR_DIR/tpm"
host_spawn hostA "$PAIR_DIR/swtpm.log" swtpm socket --tpm2 --tpmstate "dir=$PAIR_DIR/tpm" --ctrl "type=unixio,path=$PAIR_DIR/tpm.sock"
await "$AWAIT_S" "swtpm" test -S "$PAIR_DIR/tpm.sock"
GUEST_EXTRA=twinvm.shell=1 guest_start hostA vm1 -chardev "socket,id=chrtpm,path=$PAIR_DIR/tpm.sock" \
	-tpmdev emulator,id=tpm0,chardev=chrtpm -device "${TPM_DEVICE:-tpm-crb},tpmdev=tpm0"
VALUE=
measure a

step "a backup without swtpm"
host_run hostB mount --bind /dev/null /usr/bin/swtpm
tw_refuses hostA 1 "TPM, and hostB has no swtpm.*apt install swtpm" protect vm1 --to hostB
host_run hostB umount /usr/bin/swtpm

step "protected, and a power cut"
protect vm1
await_pair hostA hostB vm1
swtpms hostB 1 || fail "hostB has no swtpm of its own"
measure b
await_epochs hostA vm1 10
keeps "while it is protected"
host_power_cut hostA
await "$AWAIT_S" "the guest on hostB" answers
keeps "after the power cut"
measure c

step "protected again, and a planned switch"
host_back hostA
await_pair hostB hostA vm1
swtpms hostA 1 && swtpms hostB 1 || fail "not one swtpm on each host"
measure d
await_epochs hostB vm1 3
tw_must hostB failover vm1
await "$AWAIT_S" "the guest on hostA" answers
keeps "after the planned switch"
measure e
await_pair hostA hostB vm1
swtpms hostA 1 || fail "hostA has no swtpm"
await "$AWAIT_S" "the old swtpm on hostB to end" swtpms hostB 1

step "unprotected"
tw_must hostA unprotect vm1
await "$AWAIT_S" "the standby's swtpm to end" swtpms hostB 0
keeps "unprotected"
