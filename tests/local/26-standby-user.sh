#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A standby, and the VM that it becomes, runs as standby_user: no root, no capability, in a sandbox, away from other VMs' files.
# Disks, taps and protection anew work so, after a power cut and a planned switch.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

VM_UID=$(id -u twinvm-vm) || fail "no user twinvm-vm: run 'make deps'"

# status PID KEY
status() { awk -v key="$2:" '$1 == key { sub(/^[^\t]*\t/, ""); print }' "/proc/$1/status"; }
# confined HOST N WHAT: N QEMUs with the user of standbys run there, and each has no rights
confined() {
	local pid n=0 set
	for pid in $(procs_of "$1" 'qemu-system.*tv-qmp'); do
		n=$((n + 1))
		[[ $(status "$pid" Uid) = "$VM_UID"$'\t'"$VM_UID"$'\t'"$VM_UID"$'\t'"$VM_UID" ]] ||
			fail "$3: QEMU $pid on $1 has the users $(status "$pid" Uid)"
		[[ " $(status "$pid" Groups) " != *" 0 "* ]] || fail "$3: QEMU $pid on $1 is in root's group"
		for set in CapInh CapPrm CapEff CapBnd CapAmb; do
			[[ $(status "$pid" $set) = 0000000000000000 ]] || fail "$3: QEMU $pid on $1: $set $(status "$pid" $set)"
		done
		[[ $(status "$pid" NoNewPrivs) = 1 ]] || fail "$3: QEMU $pid on $1 can get new privileges"
		[[ $(status "$pid" Seccomp) = 2 ]] || fail "$3: QEMU $pid on $1 has no sandbox"
	done
	((n == $2)) || fail "$3: $n QEMUs of twinvm on $1, not $2"
	for pid in $(procs_of "$1" qemu-system); do
		[[ $1 = hostA && ${GUEST_PID[vm1]:-}${GUEST_PID[vm2]:-} = *$pid* ]] || [[ $(status "$pid" Uid) = $VM_UID* ]] ||
			fail "$3: $1 has a QEMU of user $(status "$pid" Uid)"
	done
	echo "$3: $n QEMUs on $1 without rights"
}
# qmp HOST VMID COMMAND [JSON]: of a VM that came to HOST and is not protected
qmp() { host_run "$1" python3 tests/tools/qmp.py "/run/twinvm/$2/standby.qmp" "${@:3}"; }
node() { printf '{"driver": "file", "node-name": "try%d", "filename": "%s", "read-only": %s, "locking": "off"}' "$RANDOM" "$1" "$2"; }

# ---- refused, and named ----
pair_up
guest_start_disk hostA vm1
cp "$PAIR_DIR/hostB.conf" "$PAIR_DIR/hostB.saved"
echo "standby_user = nobody-of-that-name" >>"$PAIR_DIR/hostB.conf"
kill -HUP "${DAEMON_PID[hostB]}"
tw_refuses hostA 1 "hostB has no user nobody-of-that-name.*standby_user.*useradd --system" protect vm1 --to hostB
echo "standby_user = root" >>"$PAIR_DIR/hostB.conf"
kill -HUP "${DAEMON_PID[hostB]}"
await "$AWAIT_S" "the configuration to be refused" logged hostB "standby_user must name a user other than root"
cp "$PAIR_DIR/hostB.saved" "$PAIR_DIR/hostB.conf"
kill -HUP "${DAEMON_PID[hostB]}"
step "without the user, and with root as that user: $PRINTED"

# ---- protected ----
truncate -s 16M "$PAIR_DIR/vm2.raw"
qemu_start hostA vm2 -M q35 -m 64 -nodefaults -display none -drive "file=$PAIR_DIR/vm2.raw,format=raw,if=none,id=d0" \
	-device virtio-blk-pci,drive=d0
for kind in cgroup2:none: cgroup:memory:memory cgroup:pids:pids; do # what of control groups this machine has
	IFS=: read -r type name options <<<"$kind"
	dir=/run/cg-$name
	host_run hostB mkdir -p "$dir"
	host_run hostB mount -t "$type" ${options:+-o "$options"} "$name" "$dir" 2>/dev/null || true
done
protect vm1 --arbiter "file://$PAIR_DIR/arbiter"
protect vm2 --arbiter "file://$PAIR_DIR/arbiter"
await_pair hostA hostB vm1
await_pair hostA hostB vm2
confined hostB 2 "while protected"
client_start
id1=$(vm_field hostA vm1 "['id']") id2=$(vm_field hostA vm2 "['id']")
pid=$(procs_of hostB "qemu-system.*vm1.*tv-qmp")
grep -qE "/twinvm/$id1\$" "/proc/$pid/cgroup" || logged hostB "no limits of memory" || fail "neither limits nor a word: $(<"/proc/$pid/cgroup")"
step "limits: $(grep -E "/twinvm/" "/proc/$pid/cgroup" | tr '\n' ' ')"

# ---- a power cut ----
host_power_cut hostA
GUEST_PID=()
goes_on "on hostB"
await_primary hostB vm1
await_primary hostB vm2
confined hostB 2 "after a power cut"

# ---- what it can open ----
tw_must hostB unprotect vm2
await_state 20 hostB vm2 none
disks=/var/lib/twinvm/disks
qmp hostB "$id2" blockdev-add "$(node "$disks/$id2-0.raw" false)" >/dev/null || fail "vm2 cannot open its own image"
qmp hostB "$id2" blockdev-add "$(node /etc/passwd true)" >/dev/null || fail "vm2 can open nothing: this test would prove nothing"
for file in "$disks/$id1-0.raw" "/run/twinvm/$id1/vm/vm1-serial.log" /etc/shadow "$PAIR_DIR/certs/hostB.key"; do
	! out=$(qmp hostB "$id2" blockdev-add "$(node "$file" true)" 2>&1) || fail "vm2 can open $file"
	[[ $out = *"Permission denied"* ]] || fail "$file: $out"
done
step "of vm1's files vm2's QEMU opens none"

# ---- protected again, and a planned switch ----
host_back hostA
await_pair hostB hostA vm1
confined hostA 1 "protected again"
tw_must hostB failover vm1
goes_on "on hostA after a planned switch"
await_primary hostA vm1
await_pair hostA hostB vm1
confined hostA 1 "after a planned switch"
confined hostB 2 "after a planned switch"
tw_must hostA failover vm1
goes_on "back on hostB"
await_pair hostB hostA vm1
confined hostA 1 "switched back"
client_ends
