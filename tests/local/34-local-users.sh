#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Local users who are not root: a QEMU of theirs is no VM here, does not make a name ambiguous, and no process of theirs
# can stand in for a VM at its QMP socket; unless the operator names them (vm_users). And QEMUs that gave up their rights
# (-runas), encrypted disks and secrets: refused, or left behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

user=nobody
uid=$(id -u "$user")
pair_up
chmod 711 "$PAIR_DIR"
theirs=$PAIR_DIR/theirs
mkdir -m 777 "$theirs"

# user_qemu NAME ARGS...: a QEMU of that user on hostA, its QMP socket at $theirs/NAME
user_qemu() {
	local name=$1
	shift
	host_spawn hostA "$PAIR_DIR/$name-user.log" setpriv --reuid "$uid" --regid "$uid" --clear-groups \
		qemu-system-x86_64 -name "$name" -accel tcg -M q35 -m 64 -nodefaults -display none \
		-qmp "unix:$theirs/$name,server=on,wait=off" "$@"
	await "$AWAIT_S" "QMP of $user's $name" test -S "$theirs/$name"
}
kill_all() {
	local pid
	for pid in $(procs_of hostA "$1"); do
		kill -9 "$pid"
	done
	await "$AWAIT_S" "the end of $1" no_procs hostA "$1"
}

# ---- a QEMU of that user is no VM ----
user_qemu web
tw_refuses hostA 3 "$user.*vm_users" protect web --to hostB
step "a QEMU of $user: $PRINTED"
web=$(procs_of hostA "name web")
tw_refuses hostA 3 "$user" protect "$theirs/web" --to hostB

# ---- nor does it make a name ambiguous ----
qemu_start hostA web -M q35 -m 64 -nodefaults -display none
protect web
await_state 60 hostA web protected
tw_must hostA unprotect web
kill -0 "${web%% *}" || fail "$user's QEMU was touched"
step "root's VM of the same name is found"

# ---- a process of that user at a VM's socket ----
mv "${GUEST_QMP[web]}" "$PAIR_DIR/moved"
host_spawn hostA "$PAIR_DIR/squat.log" setpriv --reuid "$uid" --regid "$uid" --clear-groups \
	/usr/bin/python3 -c 'import signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(5)
signal.pause()' "$theirs/squat"
await "$AWAIT_S" "the other listener" test -S "$theirs/squat"
ln "$theirs/squat" "${GUEST_QMP[web]}"
tw_refuses hostA 3 "served by process .* user $uid" protect web --to hostB
step "another process at its socket: $PRINTED"
rm "${GUEST_QMP[web]}"
mv "$PAIR_DIR/moved" "${GUEST_QMP[web]}"
protect web
await_state 60 hostA web protected
tw_must hostA unprotect web
kill_all "name web"

# ---- in the background, whose parent has ended: the socket is the child's ----
host_run hostA qemu-system-x86_64 -name back -accel tcg -M q35 -m 64 -nodefaults -display none -daemonize \
	-qmp "unix:$PAIR_DIR/back,server=on,wait=off"
protect back
await_state 60 hostA back protected
tw_must hostA unprotect back
kill_all "name back"

# ---- a user that the operator names ----
echo "vm_users = games:$user" >>"$PAIR_DIR/hostA.conf"
daemon_restart hostA
host_run hostA setpriv --reuid "$uid" --regid "$uid" --clear-groups qemu-system-x86_64 -name named -accel tcg \
	-M q35 -m 64 -nodefaults -display none -daemonize -qmp "unix:$theirs/named,server=on,wait=off"
await "$AWAIT_S" "QMP of named" test -S "$theirs/named"
protect named
await_state 60 hostA named protected
tw_must hostA unprotect named
kill_all "name named"
step "with vm_users a QEMU of $user is a VM, in the background too"

# ---- -runas, with an image that its user cannot open any more ----
truncate -s 16M "$PAIR_DIR/own.raw" "$theirs/open.raw"
chmod 600 "$PAIR_DIR/own.raw"
chmod 666 "$theirs/open.raw"
# runas NAME IMAGE
runas() {
	qemu_start hostA "$1" -M q35 -m 64 -nodefaults -display none -runas "$user" \
		-drive "file=$2,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0
}
runas own "$PAIR_DIR/own.raw"
tw_refuses hostA 3 "d0 .*own.raw.* cannot be opened.*-runas" protect own --to hostB
step "-runas and an image of root's: $PRINTED"
kill -0 "${GUEST_PID[own]}" || fail "the VM ended"
kill_all "name own"
runas open "$theirs/open.raw"
protect open # its standby has a user of its own
await_state 60 hostA open protected
tw_must hostA unprotect open
step "-runas and an image of that user's: protected"
kill -0 "${GUEST_PID[open]}" || fail "the VM ended"
kill_all "name open"

# ---- an encrypted disk ----
qemu-img create -q --object secret,id=s,data=passw0rd -f luks -o key-secret=s,iter-time=10 "$PAIR_DIR/luks.img" 16M
qemu_start hostA luks -M q35 -m 64 -nodefaults -display none -object secret,id=s,data=passw0rd \
	-blockdev "driver=luks,node-name=n0,key-secret=s,file.driver=file,file.filename=$PAIR_DIR/luks.img" \
	-device virtio-blk-pci,drive=n0
tw_refuses hostA 3 "luks.img.* encrypted.*replica_plaintext" protect luks --to hostB
step "an encrypted disk: $PRINTED"
echo "replica_plaintext = yes" >>"$PAIR_DIR/hostA.conf"
daemon_restart hostA
protect luks
await_state 60 hostA luks protected
for pid in $(procs_of hostB "name luks"); do
	! grep -aqE 'passw0rd|secret' "/proc/$pid/cmdline" || fail "a secret is on the standby's command line"
done
! grep -raq passw0rd "$PAIR_DIR"/*.log || fail "a secret is in a log"
step "with replica_plaintext it is protected, and its secret stays on hostA"
