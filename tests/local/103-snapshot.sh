#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A snapshot of the last committed epoch, under a client that works on: a QEMU that is started from the files, on a host
# that sees nobody, has what was acknowledged when the order was given, and nothing that came later. Nothing is left of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1 PAIR_ARBITER=file
. tests/lib/pair.sh

snap=
# The last INCR that is acknowledged: the client sends INCR and RPUSH in turn.
counted() { echo $((($(client_acked) + 1) / 2)); }
# Is something of a still open in a process of hostB?
still_open() {
	local pid
	for pid in $(procs_of hostB "twinvmd replicate"); do
		find "/proc/$pid/fd" -lname '*twinvm-still*' 2>/dev/null | grep -q . && return 0
	done
	return 1
}
no_still() { ! still_open; }
no_folder() { ! compgen -G "$snap.*" >/dev/null; }
# In the host "other", whose cables are pulled.
ask_restored() {
	host_run other timeout 5 bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'GET twinvm:counter\r\n' >&3 &&
		read -t 4 -r x <&3 && read -t 4 -r x <&3 && echo \"\${x%\$'\r'}\"" 2>/dev/null
}
restored_answers() { VALUE=$(ask_restored) && [[ $VALUE = [0-9]* ]]; }
replica_is_disk() { cmp -s "$PAIR_DIR/vm1.ext4" "$(replica_of hostB)"; }

pair_up
snap=$PAIR_DIR/snap
guest_start_disk hostA vm1
protect vm1
client_start

step "what is refused, and a command that is stopped"
tw_refuses hostA 3 "committed epochs are on hostB: give the command there" snapshot vm1 --out "$snap"
tw_refuses hostB 1 "exists already" snapshot vm1 --out "$PAIR_DIR"
for signal in TERM KILL; do
	host_spawn hostB "$PAIR_DIR/stopped.log" "$PAIR_B/twinvm" snapshot vm1 --out "$snap"
	await "$AWAIT_S" "the epoch to be held still" still_open
	kill -"$signal" "$SPAWNED_PID"
	wait "$SPAWNED_JOB" || true
	await "$AWAIT_S" "the still to be given back after SIG$signal" no_still
	[[ $signal = KILL ]] || no_folder || fail "a folder is left after SIG$signal"
	rm -rf "$snap" "$snap".*
done
goes_on "after two snapshots that were stopped"

step "a snapshot"
low=$(counted)
tw_must hostB snapshot vm1 --out "$snap" --elf --json
high=$(counted)
epoch=$(jq -r .epoch <<<"$PRINTED")
await "$AWAIT_S" "later epochs" epochs_past hostB vm1 $((epoch + 2))
await_pair hostA hostB vm1
goes_on "after the snapshot"
await "$AWAIT_S" "the still to be given back" no_still
no_folder || fail "a folder is left beside $snap"
[[ $(stat -c %a "$snap") = 700 && -z $(find "$snap" -type f ! -perm 600) ]] || fail "others may read it: $(ls -la "$snap")"
(cd "$snap" && jq -r '.files[] | select(.name != "core.elf") | .sha256 + "  " + .name' manifest.json | sha256sum -c --quiet) || fail "hashes in the manifest"
[[ $(jq '.files | length' "$snap/manifest.json") = 5 ]] || fail "files: $(jq -c .files "$snap/manifest.json")"

step "a QEMU from the files, on a host without a cable"
hosts_add other
host_link other down
host_tap other tap-vm1
eval "words=($(tr -d '\0' <"$snap/command.txt"))"
for i in "${!words[@]}"; do
	case ${words[i]} in
	file=*vm1.ext4,format=raw,*) words[i]=file=$snap/disk-0.qcow2,format=qcow2,${words[i]#*,format=raw,} ;;
	unix:*vm1.qmp,*) words[i]=unix:$PAIR_DIR/other.qmp,server=on,wait=off ;;
	file:*vm1-serial.log) words[i]=file:$PAIR_DIR/other-serial.log ;;
	esac
done
host_spawn other "$PAIR_DIR/other-qemu.log" "${words[@]}" -incoming "exec:cat $snap/memory.qemu"
await "$AWAIT_S" "the VM from the files to answer" restored_answers
((VALUE >= low && VALUE <= high + 1)) || fail "the counter was $low to $high when the epoch was taken, and is $VALUE there"
echo "epoch $epoch: the counter is $VALUE there; acknowledged were $low before and $high after"
kill -9 "$SPAWNED_PID"

step "the replica is what it would be without"
kill -STOP "${CLIENT_PID[client]}"
await "$AWAIT_S" "the replica to be the VM's disk" replica_is_disk
kill -CONT "${CLIENT_PID[client]}"

step "the ELF core has the kernel"
kernel=$(grep -aom1 'Linux version [0-9][^ ]*' "$PAIR_DIR/vm1-serial.log" || true)
python3 - "$snap/core.elf" "${kernel:-Linux version }" <<'END' || fail "no kernel's version in the core"
import mmap, struct, sys
f = open(sys.argv[1], "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
assert m[:6] == b"\x7fELF\x02\x01"
phoff, = struct.unpack_from("<Q", m, 32)
n, = struct.unpack_from("<H", m, 56)
ph = [struct.unpack_from("<IIQQQQQQ", m, phoff + 56 * i) for i in range(n)]
loads = [p for p in ph if p[0] == 1]
assert sum(p[5] for p in loads) == 512 << 20, loads
assert any(m.find(sys.argv[2].encode(), p[2], p[2] + p[5]) >= 0 for p in loads)
notes = [p for p in ph if p[0] == 4]
assert m.find(b"CORE\0", notes[0][2], notes[0][2] + notes[0][5]) >= 0
END

step "a failover comes first: the epoch that is held still is given up, and its holder is not asked"
host_spawn hostB "$PAIR_DIR/held.log" "$PAIR_B/twinvm" snapshot vm1 --out "$PAIR_DIR/never"
held=$SPAWNED_PID job=$SPAWNED_JOB
await "$AWAIT_S" "the epoch to be held still" still_open
kill -STOP "$held"
host_power_cut hostA
goes_on "on hostB, after the power cut"
await "$AWAIT_S" "the still to be given back" no_still
kill -CONT "$held"
! wait "$job" || fail "a snapshot was made of an epoch that was given up"
grep -q "a failover comes first" "$PAIR_DIR/held.log" || fail "the command says: $(<"$PAIR_DIR/held.log")"
[[ ! -e $PAIR_DIR/never ]] && ! compgen -G "$PAIR_DIR/never.*" >/dev/null || fail "a folder is left"
client_ends
