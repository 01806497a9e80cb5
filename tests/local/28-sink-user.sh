#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A sink, which parses what another host sends, has no rights: not root, no capabilities, no new privileges, system calls filtered. It
# stays so while a VM is protected, during a promotion, a planned switch and with a copy that is kept. What has the rights is its
# monitor. Monitor, sink and daemon are killed during protection and during a promotion: the protected VM runs on, or the promoted one.
# Without the user, a session is refused with what to do.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

sinks_of() { procs_of "$1" "twinvmd replicate sink"; }
monitors_of() { procs_of "$1" "^twinvmd monitor"; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

SINK_UID=$(id -u twinvm)
is_sink() { tr '\0' ' ' <"/proc/$1/cmdline" | grep -q '^twinvmd replicate sink '; } 2>/dev/null
# Before that it loads keys, and forks the monitor: nothing has been read from the other host.
has_begun() { ! is_sink "$1" || ! grep -q $'^Uid:\t0' "/proc/$1/status"; } 2>/dev/null
# All of them, as they are now. A process that ends meanwhile has no status.
look_at_sinks() { # HOST WHEN
	local pid status cap owner n=0
	for pid in $(sinks_of "$1"); do
		await "$AWAIT_S" "a sink of $1 to give up its rights ($2)" has_begun "$pid"
		is_sink "$pid" || continue
		status=$(cat "/proc/$pid/status" 2>/dev/null) || continue
		grep -q $'^Uid:\t'"$SINK_UID"$'\t'"$SINK_UID"$'\t'"$SINK_UID"$'\t'"$SINK_UID\$" <<<"$status" ||
			fail "$2: the sink on $1 is of $(grep ^Uid: <<<"$status")"
		for cap in Eff Prm Inh Bnd Amb; do
			grep -qE "^Cap$cap:[[:space:]]+0+\$" <<<"$status" || fail "$2: the sink has $(grep "^Cap$cap" <<<"$status")"
		done
		grep -qE '^NoNewPrivs:[[:space:]]+1$' <<<"$status" || fail "$2: the sink may gain privileges"
		grep -qE '^Seccomp:[[:space:]]+2$' <<<"$status" || fail "$2: the sink's system calls are not filtered"
		grep -qE '^Groups:[[:space:]]*$' <<<"$status" || fail "$2: the sink is in $(grep ^Groups <<<"$status")"
		owner=$(stat -c %u "/proc/$pid/fd" 2>/dev/null) || continue
		[[ $owner = 0 ]] || fail "$2: its memory can be read by processes of its user"
		n=$((n + 1))
	done
	SINKS_SEEN=$n
}
some_without_rights() { # HOST WHEN
	look_at_sinks "$@"
	((SINKS_SEEN)) || fail "$2: no sink on $1"
	echo "$2: $SINKS_SEEN without rights"
}
# Looks before a command begins, and again and again while it runs: a planned switch can be over before the second look.
watch_sinks() { # HOST WHEN COMMAND...
	local host=$1 when=$2 job seen=0
	shift 2
	look_at_sinks "$host" "$when"
	seen=$SINKS_SEEN
	"$@" &
	job=$!
	while kill -0 "$job" 2>/dev/null; do
		look_at_sinks "$host" "$when"
		seen=$((seen + SINKS_SEEN))
	done
	wait "$job" || fail "$when: $*"
	((seen)) || fail "$when: no sink was seen"
	echo "$when: $seen looks"
}
protect_by_arbiter() { protect vm1 --arbiter "file://$PAIR_DIR/arbiter"; }
protected_again() { # WHAT
	await_pair hostA hostB vm1
	guest_lives vm1 "$1"
	goes_on "$1"
	some_without_rights hostB "$1"
}

# Without its user hostB takes no VM, and names what to do.
PAIR_CONF='sink_user = no-such-user'
pair_up
logged hostB "hostB has no user 'no-such-user'" || fail "hostB's daemon does not warn: $(cat "$PAIR_DIR/hostB.log")"
guest_start_disk hostA vm1
tw_refuses hostA 1 "hostB has no user 'no-such-user'.*useradd.*sink_user in $PAIR_DIR/hostB.conf" protect vm1 --to hostB
for host in hostA hostB; do
	sed -i '/^sink_user/d' "$PAIR_DIR/$host.conf"
	daemon_restart "$host"
done
echo "no user: refused"

# ---- CAP_SYS_ADMIN: the keeper has it, and of all that it starts and is nothing else ----
sys_admin() { # PID SET
	local mask
	mask=$(sed -n "s/^Cap$2:[[:space:]]*//p" "/proc/$1/status")
	((0x$mask >> 21 & 1))
}
keepers=$(procs_of hostA "^twinvmd keeper")
[[ $(wc -w <<<"$keepers") = 2 ]] || fail "keepers on hostA: $keepers"
for pid in $keepers; do
	# SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH
	grep -q $'^CapEff:\t0000000000280004$' "/proc/$pid/status" || fail "keeper: $(grep ^Cap "/proc/$pid/status")"
	grep -q $'^Seccomp:\t2$' "/proc/$pid/status" || fail "the keeper's system calls are not filtered"
done
! grep -q $'^CapEff:\t0000000000000000$' "/proc/${DAEMON_PID[hostA]}/status" || fail "the daemon has no rights"
for set in Eff Prm Inh Bnd Amb; do
	! sys_admin "${DAEMON_PID[hostA]}" "$set" || fail "the daemon has CAP_SYS_ADMIN: Cap$set"
done

# ---- protection, from the first byte on ----
protect_slowly() {
	protect_by_arbiter
	await_pair hostA hostB vm1
}
watch_sinks hostB "first copy" protect_slowly
client_start
protected_again "protected"
for pid in $(procs_of hostA "^twinvmd replicate source"); do
	! sys_admin "$pid" Bnd || fail "the source could have CAP_SYS_ADMIN"
done
dir=$(host_path hostB /var/lib/twinvm/disks)
[[ $(stat -c '%U %a' "$dir") = "twinvm 711" ]] || fail "the folder of replicas is $(stat -c '%U %a' "$dir")"
[[ $(stat -c %U "$dir"/*-0.raw) = twinvm ]] || fail "a replica belongs to $(stat -c %U "$dir"/*-0.raw)"
! host_run hostB setpriv --reuid twinvm --clear-groups cat /var/lib/twinvm/vms/*.json 2>/dev/null ||
	fail "the sinks' user can read what the daemon keeps"
# Its user may register, and nothing else: no commands.
out=$(host_run hostB setpriv --reuid twinvm --regid twinvm --clear-groups "$PAIR_B/twinvm" status 2>&1) &&
	fail "a sink's user may give commands: $out"

# ---- each of the processes dies while the VM is protected ----
old=$(sinks_of hostB)
kill -9 "$(monitors_of hostB)"
await "$AWAIT_S" "the sink to end without its monitor" is_gone "$old"
await_state 60 hostA vm1 "@(alone|syncing|protected)"
protected_again "the monitor died"
old=$(monitors_of hostB)
kill -9 "$(sinks_of hostB)"
await "$AWAIT_S" "the monitor to end with its sink" is_gone "$old"
protected_again "the sink died"
old=$(sinks_of hostB)
kill -9 "${DAEMON_PID[hostB]}"
daemon_start hostB
await_pair hostA hostB vm1
[[ $(sinks_of hostB) = "$old" ]] || fail "the sink did not outlive its daemon"
protected_again "the daemon died"

# ---- planned, there and back ----
switch() {
	tw_must "$1" failover vm1
	await_pair "$2" "$1" vm1
}
watch_sinks hostB "planned switch" switch hostA hostB
switch hostB hostA
GUEST_PID[vm1]=''
protected_again "back"

# ---- power cut; the daemon is killed in the middle. The monitor, which asks the arbiter, waits until the sink was looked at ----
asks=$(monitors_of hostB)
kill -STOP "$asks"
host_power_cut hostA
kill -9 "${DAEMON_PID[hostB]}"
some_without_rights hostB "promotion without a daemon"
kill -CONT "$asks"
goes_on "on hostB, promoted without a daemon"
daemon_start hostB
await_primary hostB vm1
host_back hostA
await_pair hostB hostA vm1
some_without_rights hostA "the other way round"

client_ends
for host in hostA hostB; do # nothing that a sink does needs a right that it does not have
	! grep -E "Operation not permitted|Permission denied" "$PAIR_DIR/$host.log" || fail "a right is missing on $host"
done

# ---- power cut; the monitor, then another time the sink, dies as soon as the VM is this host's by record ----
promote_and_kill() { # HOST OTHER WHICH: what dies on HOST when OTHER has lost its power
	local n pid
	n=$(times_logged "$1" " -> PROMOTING")
	pid=$("$3" "$1")
	host_power_cut "$2"
	await "$AWAIT_S" "$1 to promote" logged "$1" " -> PROMOTING" $((n + 1))
	kill -9 "$pid" 2>/dev/null || true # it may have ended already, after its work
	await 60 "the end of it on $1" is_over "$1"
}
is_over() { [[ $(vm_field "$1" vm1 "['core']") = KEPT || $(vm_state "$1" vm1) = @(none|alone) ]] && ! has_sink_at_work "$1"; }
has_sink_at_work() { [[ $(vm_field "$1" vm1 "['core']") = PROMOTING ]]; }

promote_and_kill hostA hostB monitors_of
if field_is hostA vm1 "['role']" primary; then
	guest_answers || tw hostA status | grep -q "no network" || fail "it runs, and status does not say why it has no network"
	echo "the monitor died during a promotion: the VM runs"
else
	some_without_rights hostA "kept"
	has_procs hostA "qemu-system.*vm1" || fail "kept without its QEMU"
	echo "the monitor died during a promotion: the copy is kept"
	exit 0
fi
host_back hostB
await_pair hostA hostB vm1
promote_and_kill hostB hostA sinks_of
if field_is hostB vm1 "['role']" primary; then
	has_procs hostB "qemu-system.*vm1" || fail "hostB believes that it runs the VM"
	echo "the sink died during a promotion: the VM runs"
else
	await "$AWAIT_S" "no half of it to be left" no_procs hostB "qemu-system.*vm1"
	echo "the sink died during a promotion: nothing of it is left"
fi
