#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A VM as Proxmox VE starts it, with one monitor for all: its number is its name, and its tools work as before while it is
# protected, by a proxy in the place of ID.qmp. A client that asks as `qm` does, ten times a second all the while, meets no
# time-out, whatever is killed; what hostile clients do to the proxy harms nobody. Put back at every end.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/proxmox.sh

pair_up
pve_up
dir=$(host_path hostA /run/qemu-server)

step "README's recipe"
mapfile -t recipe < <(sed -n '/^### Proxmox VE/,/^A VM/s/^    //p' README.md)
((${#recipe[@]} == 6)) || fail "README has not six lines about Proxmox VE: ${recipe[*]}"
args=''
is_dead() { ! kill -0 "$1" 2>/dev/null; }
twinvm() { tw_must hostA "$@" && echo "$PRINTED"; }
qm() {
	case $1 in
	set) args=$4 ;;
	shutdown)
		pve_qm "$2" quit >/dev/null
		await "$AWAIT_S" "the VM to end" is_dead "${GUEST_PID[bare]}"
		;;
	start)
		# shellcheck disable=SC2086 # words, as Proxmox VE splits them
		pve_start_bare "$2" bare $args
		;;
	status) pve_qm "$2" query-status ;;
	*) fail "README: qm $*" ;;
	esac
}
pve_start_bare 100 bare
for line in "${recipe[@]}"; do
	echo "+ $line"
	eval "$line"
	[[ $line != *protect*--to* ]] || {
		await_pair hostA hostB bare
		no_procs hostA "replicate proxy" || fail "a proxy, although the VM has a socket for twinvm"
	}
done

step "QEMU is killed while its monitor is shared"
args=''
qm shutdown 100 && qm start 100
protect 100
await_pair hostA hostB bare
has_procs hostA "replicate proxy" || fail "no proxy"
kill -9 "${GUEST_PID[bare]}"
await "$AWAIT_S" "nothing to be left of 100.qmp" pve_nothing_left "$dir"
await_state "$AWAIT_S" hostB bare "@(alone|syncing|protected)" # as with any QEMU that dies
tw_must hostB unprotect bare
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostB qemu-system)
await_state "$AWAIT_S" hostA bare none

pve_start 100 web
before=$(stat -c '%i %U %a' "$dir/100.qmp")

step "nobody protects it"
pve_tools_start 100
pve_asked 60
pve_count "unprotected"

step "protected by its number"
tw_must hostA protect 100 --to hostB
await_pair hostA hostB web
is_put_back() { [[ $(stat -c '%i %U %a' "$dir/100.qmp") = "$before" && $(cd "$dir" && echo *) = "100.pid 100.qga 100.qmp 100.vnc" ]]; }
! is_put_back || fail "no proxy is in the place of 100.qmp"
[[ $(stat -c '%U %a' "$dir/100.qmp") = "${before#* }" ]] || fail "who may connect has changed: $(stat -c '%U %a' "$dir/100.qmp")"
client_start
pve_asked 100
pve_count "protected"
tw_must hostA status 100

step "what the tools do"
says '"running"' pve_qm 100 query-status
says '^\{\}$' pve_qm 100 stop # qm suspend
says '"paused"' pve_qm 100 query-status
says '^\{\}$' pve_qm 100 cont
goes_on "after it was suspended and resumed"
says '^\{\}$' pve_qm 100 system_powerdown # qm shutdown; nothing in this guest listens to it
says 'is busy.*mirror' pve_qm 100 drive-backup "{\"device\":\"drive-scsi0\",\"target\":\"$PAIR_DIR/backup\",\"sync\":\"full\"}"
await_epochs hostA web 3

step "hostile clients"
bad=()
for kind in wrong many; do
	host_spawn hostA "$PAIR_DIR/bad.log" python3 tests/tools/bad_clients.py /run/qemu-server/100.qmp "$kind" "$PAIR_DIR/$kind"
	bad+=("$SPAWNED_PID")
	await "$AWAIT_S" "hostile clients: $kind" grep -qs "all there" "$PAIR_DIR/$kind"
done
await_epochs hostA web 10
pve_asked 20
for what in "huge line" "no object"; do
	await "$AWAIT_S" "'$what' to be ended" grep -q "ended: $what" "$PAIR_DIR/wrong"
done
await "$AWAIT_S" "one of too many to be ended" grep -q "ended: one of many" "$PAIR_DIR/many"
pve_count "beside hostile clients"
kill -9 "${bad[@]}"

step "the replicator is killed"
proxy=$(procs_of hostA "replicate proxy")
kill -9 "$(procs_of hostA "replicate source")"
await "$AWAIT_S" "the session to be noticed" logged hostA "replicator of web died"
await_pair hostA hostB web
goes_on "after the replicator was killed"
pve_count "while the replicator was killed"
[[ $(procs_of hostA "replicate proxy") = "$proxy" ]] || fail "the proxy has changed"

step "the proxy is killed"
kill -9 "$proxy"
await "$AWAIT_S" "QEMU's socket to be put back" logged hostA "proxy of a VM's monitor has ended"
await_state "$AWAIT_S" hostA web "@(alone|syncing|protected)"
await "$AWAIT_S" "another proxy" has_procs hostA "replicate proxy"
await_pair hostA hostB web
goes_on "after the proxy was killed"
# Who was connected at that moment has lost its connection.
PVE_MAY_FAIL=5 pve_count "while the proxy was killed"

step "unprotected"
tw_must hostA unprotect 100
await "$AWAIT_S" "100.qmp to be put back" is_put_back
await "$AWAIT_S" "the proxy to end" no_procs hostA "replicate proxy"
pve_asked 20
pve_count "while it was unprotected"

step "all of twinvm is killed"
tw_must hostA protect 100 --to hostB
await_pair hostA hostB web
# shellcheck disable=SC2046 # pids are words
kill -9 "${DAEMON_PID[hostA]}" $(procs_of hostA "twinvmd replicate")
wait "${DAEMON_JOB[hostA]}" 2>/dev/null || true
await "$AWAIT_S" "all of it to be dead" no_procs hostA "twinvmd replicate"
daemon_start hostA
await_pair hostA hostB web
pve_asked 20
says '"running"' pve_qm 100 query-status
PVE_MAY_FAIL=1000 pve_count "while all of twinvm was dead"

step "a planned switch"
tw_must hostA failover 100
await_primary hostB web
goes_on "after the switch"
await_pair hostB hostA web # its QEMU here was stopped, and is ended by now
await "$AWAIT_S" "nothing to be left of 100.qmp" pve_nothing_left "$dir"

step "a power cut"
client_cut
host_power_cut hostB
await_state "$AWAIT_S" hostA web alone
goes_on "after the power cut"
client_ends
