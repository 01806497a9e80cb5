#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An old primary that comes back alive: its VM is stopped, and its host is the backup all the same, by itself; nothing of the new
# standby collides with what is kept, not even when that was a standby once. With an arbiter nothing is lost with the copy that was
# stopped: it ends, with its memory and its images, when the VM is protected again, so that hangs do not add up. Without an
# arbiter, two hosts run the VM after an operator forced promotion by mistake: as soon as they learn of each other the lower generation stops,
# whoever speaks first.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

kept() { vm_field "$1" vm1 "['kept'][$2]['$3']"; }
keeps() { (($(vm_field "$1" vm1 "['kept'].__len__()") == $2)); }
paused() { # a kept QEMU, by its process in the host, is alive and stopped
	host_run "$1" kill -0 "$2" || fail "$1: the kept QEMU (pid $2) is gone"
	python3 - "$(host_path "$1" "$3")" <<-'END' || fail "$1: the kept QEMU runs"
		import json, socket, sys
		s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rw")
		f.readline()
		for c in "qmp_capabilities", "query-status":
		    f.write(json.dumps({"execute": c}) + "\n"); f.flush()
		    r = json.loads(f.readline())
		sys.exit(r["return"]["status"] != "paused")
	END
}
# QEMU gives up an fd set only while its VM runs: the one for device states stays, with nothing of us behind it.
no_traces() {
	vm_traces vm1 paused >"$PAIR_DIR/traces" || true
	grep -q '^fds' "$PAIR_DIR/traces" || fail "the kept VM: $(cat "$PAIR_DIR/traces")"
	! grep '^left:' "$PAIR_DIR/traces" | grep -v 'fd set\|memfd:twinvm-state' || fail "left in the kept VM"
}
says_what_it_keeps() {
	tw "$1" status | grep -q "kept.*pid $(kept "$1" 0 pid), generation [0-9]*, [1-9][0-9]* MiB of memory, [0-9]* MiB of images" ||
		fail "$1 does not say what it keeps: $(tw "$1" status)"
}
images() { host_run "$1" find /var/lib/twinvm/disks -name '*.raw' | wc -l; }
one_qemu() { (($(procs_of "$1" qemu-system | wc -l) == 1)); }
# frozen FROM TO: FROM hangs, TO takes over, FROM comes back and is TO's backup: only the standby is left there, and
# the VM's frames came from FROM's port, and from TO's since then, but for one burst.
frozen() {
	local ports
	ports=$(wc -l <"$PAIR_DIR/talk")
	host_freeze "$1"
	goes_on "on $2 while $1 hangs"
	await_primary "$2" vm1
	host_thaw "$1"
	await_pair "$2" "$1" vm1
	await "$AWAIT_S" "the old instance on $1 to end" keeps "$1" 0
	logged "$1" 'is kept for inspection' || fail "$1 never stopped its instance"
	logged "$1" 'is ended: the VM is protected again, and nothing of it is lost' || fail "$1 does not report the end"
	one_qemu "$1" || fail "$1 has more than the standby: $(procs_of "$1" qemu-system)"
	(($(images "$1") == 1)) || fail "$1 has images of nobody: $(host_run "$1" ls -la /var/lib/twinvm/disks)"
	goes_on "protected by $1"
	ports=$(tail -n "+$((ports + 1))" "$PAIR_DIR/talk" | awk '{ printf "%s ", $2 }')
	# Once, at the thaw, what was released and lay in QEMU's socket when it froze (netbuffer/README.md).
	ports=${ports/"c-${HOST_NO[$2]} c-${HOST_NO[$1]} c-${HOST_NO[$2]} "/"c-${HOST_NO[$2]} "}
	[[ $ports = "c-${HOST_NO[$2]} " ]] || fail "after $1 hung the VM's frames came from the ports $ports, and not from $2's alone"
}

# ---- a host that hangs and comes back, twice: what is stopped first was never ours, then once our standby ----
PAIR_ARBITER='file'
pair_up
host_spawn switch "$PAIR_DIR/talk" python3 tests/tools/who_talks.py 52:54:00:77:00:02 c-
TALK_PID=$SPAWNED_PID
await "$AWAIT_S" "the switch to be watched" grep -q ready "$PAIR_DIR/talk"
guest_start_disk hostA vm1
protect vm1
client_start --prefix a
frozen hostA hostB
host_power_cut hostB
goes_on "back on hostA"
host_back hostB
await_state 60 hostA vm1 protected
frozen hostA hostB
echo "hung twice: $(tw hostA status)"
host_power_cut hostB
goes_on "on hostA for the third time"
client_ends
kill "$TALK_PID"
tw_must hostA unprotect vm1
host_run hostA bash -c 'kill -9 $(pidof qemu-system-x86_64)' || fail "the last QEMU"

# ---- no arbiter, an operator's mistake: both run it. The new primary connects first, then the old one does ----
host_boot hostB
for speaks in hostB hostA; do
	for host in hostA hostB; do
		pair_conf "$host"
		sed -i '/^arbiter/d' "$PAIR_DIR/$host.conf"
		kill -TERM "${DAEMON_PID[$host]}" 2>/dev/null || true
	done
	[[ $speaks = hostB ]] || echo 'reprotect = no' >>"$PAIR_DIR/hostB.conf"
	for host in hostA hostB; do
		wait "${DAEMON_JOB[$host]}" 2>/dev/null || true
		daemon_start "$host"
	done
	host_run hostA ip link del tap-vm1
	rm -f "$PAIR_DIR/vm1-serial.log"
	guest_start hostA vm1
	protect vm1
	client_start --prefix "$speaks"
	host_link hostA down
	lost() { [[ $(vm_state hostA vm1) = alone && $(vm_field hostB vm1 "['core']") = WAITING ]]; }
	await 20 "both to lose each other" lost
	tw_must hostB failover vm1 --force
	goes_on "on hostB by force"
	field_is hostA vm1 "['role']" primary || fail "hostA gave up its VM without knowing of another: $(tw hostA status)"
	host_link hostA up
	await 30 "hostA to learn of the higher generation" keeps hostA 1
	paused hostA "$(kept hostA 0 pid)" "$(kept hostA 0 qmp)"
	says_what_it_keeps hostA
	no_traces
	if [[ $speaks = hostB ]]; then
		await_pair hostB hostA vm1
		# a daemon that restarts still knows
		kill -9 "${DAEMON_PID[hostA]}"
		daemon_start hostA
		await_state 30 hostA vm1 protected
		keeps hostA 1 || fail "the note is gone: $(tw hostA status --json)"
		paused hostA "$(kept hostA 0 pid)" "$(kept hostA 0 qmp)"
	else
		[[ $(vm_state hostA vm1) = stopped && $(vm_state hostB vm1) = alone ]] || fail "$(tw hostA status; tw hostB status)"
		vm_field hostB vm1 "['reason']" | grep -q 'reprotect = no' || fail "hostB does not say why: $(tw hostB status)"
		tw_refuses hostA 3 "stopped here because another host runs it" protect vm1 --to hostB
	fi
	goes_on "after the two learned of each other"
	client_ends
	echo "both ran it, $speaks spoke first: $(tw hostA status | tail -n 1)"
	tw_must hostB unprotect vm1
	# the notes go at a word, the process is the user's
	pid=$(kept hostA 0 pid)
	tw hostA unprotect vm1 >/dev/null || tw hostA unprotect vm1 --kept >/dev/null || fail "forget"
	host_run hostA kill -0 "$pid" || fail "a kept QEMU was ended by us"
	tw_refuses hostA 1 "no stopped QEMU .* is kept" unprotect vm1 --kept
	host_run hostA kill -9 "$pid"
	host_run hostB bash -c 'kill -9 $(pidof qemu-system-x86_64)'
done

# ---- no arbiter: fenced while its daemon was away. The next daemon does not let it run ----
for host in hostA hostB; do
	pair_conf "$host"
	sed -i '/^arbiter/d' "$PAIR_DIR/$host.conf"
	echo 'reprotect = no' >>"$PAIR_DIR/$host.conf" # so that hostB does not correct it
	daemon_restart "$host"
done
host_run hostA ip link del tap-vm1
rm -f "$PAIR_DIR/vm1-serial.log"
guest_start hostA vm1
protect vm1
client_start --prefix fenced
host_freeze hostA
await_field 20 hostB vm1 "['core']" WAITING
tw_must hostB failover vm1 --force
goes_on "on hostB by force, hostA hangs"
kill -9 "${DAEMON_PID[hostA]}"
host_thaw hostA
await "$AWAIT_S" "hostA's replicator to stop its VM and to end" no_procs hostA "twinvmd replicate"
daemon_start hostA
await 30 "hostA to keep its VM, stopped" keeps hostA 1
paused hostA "$(kept hostA 0 pid)" "$(kept hostA 0 qmp)"
no_traces
goes_on "on hostB, and only there"
client_ends
! logged hostA "vm1 keeps running" || fail "hostA let a fenced VM run"
echo "fenced without a daemon: $(tw hostA status | tail -n 1)"
