#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power cuts, killed daemons, partitions of every kind, a host that hangs and comes back: the VM answers from one
# host only, a client loses nothing, and the VM is protected again without being asked. The arbiter is an etcd
# cluster on a third host. SCENARIOS picks some of them by name.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/etcd.sh

changes() { grep -c "c-" "$PAIR_DIR/talk" || true; }

# The host that runs the VM, protected by the other: P, and the other one: Q.
P=hostA Q=hostB
is_whole() {
	local host
	for host in hostA hostB; do
		[[ -n ${HOST_INIT[$host]:-} ]] || return 1
		[[ $(vm_field "$host" vm1 "['role']") = primary && $(vm_state "$host" vm1) = protected ]] || continue
		P=$host Q=hostA
		[[ $P != hostA ]] || Q=hostB
		[[ $(vm_field "$Q" vm1 "['role']") = backup ]]
		return
	done
	return 1
}
# A QEMU that nobody is attached to does not run: what was fenced is stopped.
fenced_are_stopped() {
	local host sock
	for host in hostA hostB; do
		for sock in "${GUEST_QMP[vm1]}" /run/twinvm/*/standby.qmp; do
			host_run "$host" python3 - "$sock" <<-'END' || fail "a second instance runs on $host ($sock)"
				import json, glob, socket, sys
				for path in glob.glob(sys.argv[1]):
				    s = socket.socket(socket.AF_UNIX)
				    s.settimeout(1)
				    try:
				        s.connect(path)
				        f = s.makefile("rw")
				        f.readline()
				    except OSError:
				        continue  # ended, or somebody is attached to it
				    for cmd in ("qmp_capabilities", "query-status"):
				        f.write(json.dumps({"execute": cmd}) + "\n")
				        f.flush()
				        line = json.loads(f.readline())
				        while "event" in line:
				            line = json.loads(f.readline())
				    if line["return"]["running"]:
				        sys.exit(1)
			END
		done
	done
}
scenario() {
	local name=$1 before took=$SECONDS turns=1
	[[ -z ${SCENARIOS:-} || " $SCENARIOS " = *" $name "* ]] || return 0
	before=$(changes)
	"scene_$name"
	await 60 "the VM to be protected again by itself after $name" is_whole
	goes_on "at the end of $name"
	# What was released and lay in QEMU's socket when it froze comes once, at the thaw (netbuffer/README.md). That
	# nothing is released then is asserted in production (netbuffer/gate.c).
	[[ $name != frozen ]] || turns=3
	(($(changes) - before <= turns)) || fail "$name: two hosts spoke for the VM: $(tail -n 4 "$PAIR_DIR/talk")"
	fenced_are_stopped
	echo "ok $name: $((SECONDS - took)) s, runs on $P"
}

scene_primary_power() {
	local was=$P
	host_power_cut "$was"
	goes_on "on the backup"
	host_back "$was"
}
scene_backup_power() {
	local was=$Q
	host_power_cut "$was"
	goes_on "alone"
	host_back "$was"
}
scene_both_daemons() {
	kill -9 "${DAEMON_PID[hostA]}" "${DAEMON_PID[hostB]}"
	goes_on "without daemons"
	daemon_start hostA
	daemon_start hostB
}
scene_partition() {
	host_cut_off hostA hostB
	goes_on "on one side"
	host_join hostA hostB
}
scene_backup_deaf() {
	local from=$P to=$Q
	host_deafen "$from" "$to"
	goes_on "on one side"
	host_hear "$from" "$to"
}
scene_primary_deaf() {
	local from=$Q to=$P
	host_deafen "$from" "$to"
	goes_on "on one side"
	host_hear "$from" "$to"
}
scene_arbiter_away() {
	host_cut_off "$P" arb
	goes_on "while the primary does not reach the arbiter"
	host_cut_off "$Q" arb
	goes_on "while nobody reaches the arbiter"
	host_join hostA arb
	host_join hostB arb
}
# Neither backup nor arbiter: the VM here is stopped, the other side takes it.
scene_primary_cut_off() {
	local was=$P
	host_cut_off "$was" arb
	host_cut_off hostA hostB
	goes_on "on the side that reaches the arbiter"
	host_join hostA hostB
	host_join "$was" arb
}
scene_frozen() {
	local was=$P
	host_freeze "$was"
	let_pass 5
	goes_on "on the backup"
	host_thaw "$was"
}

pair_up
hosts_add arb
etcd_up arb
arbiter_allow "$ETCD_URL"
host_spawn switch "$PAIR_DIR/talk" python3 tests/tools/who_talks.py 52:54:00:77:00:02 c-
await 20 "the watch on the switch" grep -q ready "$PAIR_DIR/talk"
guest_start hostA vm1
protect vm1 --arbiter "$ETCD_URL"
client_start
goes_on "before anything happens"

for name in primary_power backup_power both_daemons partition backup_deaf primary_deaf arbiter_away primary_cut_off \
	frozen; do
	scenario "$name"
done
client_ends
