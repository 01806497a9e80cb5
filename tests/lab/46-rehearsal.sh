#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Rehearsals under real KVM, output held by the kernel's plug queue: a clone of the running VM answers on the backup with what
# was acknowledged, both copies are compared, and a QEMU runs on from a snapshot's files. The VM stays protected, its client
# loses nothing, and a failover after all of it works.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

# In the clone's network: the client's counter there. A host's sh is busybox's.
read -r -d '' counter <<'END' || true
bash -c 'exec 3<>"/dev/tcp/$TWINVM_GUEST/6379"; printf "GET twinvm:counter\r\n" >&3; read -r n <&3; read -r v <&3; echo "${v%?}"'
END
# The last INCR that is acknowledged: the client sends INCR and RPUSH in turn.
counted() { echo $((($(client_acked) + 1) / 2)); }
field() { jq -r "$1" <<<"$PRINTED"; }
left() {
	host_run hostB sh -c 'for p in /proc/[0-9]*; do tr "\0" " " <$p/cmdline 2>/dev/null | cut -c1-40; echo; done | grep -E "^(qemu-|twinvmd)" | sort
		ls /sys/class/net; ls -A /var/lib/twinvm/clones 2>/dev/null || true'
}

labpair_working
[[ $(vm_field hostA vm1 "['output_held_by']") = plug ]] || fail "output is not held by the plug queue"

before=$(left)
low=$(counted)
tw_must hostB test-failover vm1 --probe redis --probe "$counter" --json
high=$(counted)
[[ $(field .result) = passed ]] || fail "$PRINTED"
value=$(field '.probes[1].output')
((value >= low && value <= high + 1)) || fail "the clone has $value; acknowledged were $low before and $high after"
after=$(left)
[[ $after = "$before" ]] || fail "left behind: $(diff <(echo "$before") <(echo "$after"))"
step "a clone under KVM had $value, between $low and $high; running after $(field .running_ms) ms"
client_more 300 20

tw_must hostA verify vm1 --json
[[ $(field .mismatched_pages) = 0 && $(field .mismatched_parts) = 0 ]] || fail "$PRINTED"
(($(field .pages) >= 131072 && $(field .parts) > 0)) || fail "not all was compared: $PRINTED"
step "$(field .pages) pages and $(field .parts) parts of the device state are the same"

! guest_runs_on hostB || fail "a VM runs on hostB already"
tw_must hostB snapshot vm1 --out /run/snap --json
# The same command line with files of its own, and a tap that leads nowhere.
host_run hostB ip tuntap add dev tap-vm1 mode tap vnet_hdr
host_spawn hostB "$PAIR_DIR/restored.log" sh -c '
	eval "set -- $(tr -d "\0" </run/snap/command.txt)"
	for word; do
		shift
		case $word in
		unix:*.qmp,*) word=unix:/run/restored.qmp,server=on,wait=off ;;
		file:*-serial.log) word=file:/run/restored-serial.log ;;
		esac
		set -- "$@" "$word"
	done
	exec "$@" -incoming "exec:cat /run/snap/memory.qemu"
'
await "$AWAIT_S" "the VM to run from the files" guest_runs_on hostB
host_kill hostB KILL "$SPAWNED_PID"
step "a VM runs from a snapshot's files"

client_more 300 20
await_pair hostA hostB vm1
client_cut
host_power_cut hostA
labpair_goes_on
guest_runs_on hostB || fail "no VM runs on hostB"
