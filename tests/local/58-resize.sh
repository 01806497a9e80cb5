#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk that is resized: QEMU refuses it while the VM is protected, and nothing is harmed; before, it is protected at its new size,
# and has that on the backup after a power cut and after a planned switch. And where the sockets of a VM are that has failed over:
# `sockets` of status names them, and they work: a console, a monitor, the display.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
PAIR_CALM=1
. tests/lib/pair.sh

in_guest() {
	host_run client timeout 20 bash -c "exec 3<>/dev/tcp/$GUEST_IP/7002 && echo '$1' >&3 && read -r x <&3 && echo \"\$x\"" ||
		fail "the guest's shell: $1"
}
size_in() { in_guest "cat /sys/block/vda/size"; }
has_sectors() { [[ $(size_in) = "$1" ]]; }
socket_of() { vm_field "$1" vm1 "['sockets']" | python3 -c 'import ast, sys; print(*[s["path"] for s in ast.literal_eval(sys.stdin.read()) if s["name"] == sys.argv[1]])' "$2"; }
# says HOST: what the guest writes to its second serial port comes out there
console_works() {
	local path
	path=$(socket_of "$1" console.sock)
	[[ -n $path ]] || fail "$1 names no console: $(tw "$1" status vm1 --json)"
	host_spawn "$1" "$PAIR_DIR/console" python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("listens", flush=True)
print(s.makefile().readline().strip(), flush=True)' "$path"
	await "$AWAIT_S" "a connection to the console on $1" grep -q listens "$PAIR_DIR/console"
	in_guest "echo from the guest >/dev/ttyS1; echo done" >"$PAIR_DIR/answer"
	await "$AWAIT_S" "the guest's words on the console" grep -q 'from the guest' "$PAIR_DIR/console"
}

# A viewer gets a picture at the VM's display, without a password.
display_works() {
	local path
	path=$(socket_of "$1" vnc.sock)
	[[ -n $path ]] || fail "$1 names no display: $(tw "$1" status vm1 --json)"
	says '^picture [1-9][0-9]*x[1-9]' host_run "$1" timeout 60 python3 -c 'import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rb")
s.sendall(f.read(12)) # the version
assert 1 in f.read(f.read(1)[0]), "a password is asked for"
s.sendall(b"\1")
assert f.read(4) == b"\0\0\0\0"
s.sendall(b"\1") # shared
width, height = struct.unpack(">HH", f.read(4))
f.read(16)
f.read(struct.unpack(">I", f.read(4))[0]) # its name
s.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height)) # all of it
kind, _, rectangles = struct.unpack(">BBH", f.read(4))
assert kind == 0 and rectangles > 0
print(f"picture {width}x{height}")' "$path"
}

pair_up
GUEST_EXTRA='twinvm.shell=1' guest_start_disk hostA vm1 -qmp "unix:$PAIR_DIR/second.qmp,server=on,wait=off" \
	-chardev "socket,id=con,path=$PAIR_DIR/console.sock,server=on,wait=off" -serial chardev:con \
	-vga std -vnc 127.0.0.1:77,password=on
resize() { host_run hostA python3 tests/tools/qmp.py "$PAIR_DIR/second.qmp" block_resize "{\"device\": \"d0\", \"size\": $1}" 2>&1; }
protect vm1
client_start
! refusal=$(resize $((96 << 20))) || fail "a mirrored disk was resized"
echo "QEMU: $refusal"
await_epochs hostA vm1 2
[[ $(vm_state hostA vm1) = protected ]] || fail "a refused resize ended protection: $(tw hostA status)"
[[ $(vm_field hostA vm1 "['sockets']") = '[]' ]] || fail "hostA names sockets that twinvm has not made"
tw_must hostA unprotect vm1
resize $((96 << 20)) || fail "the disk could not be resized"
protect vm1
await "$AWAIT_S" "the guest to see the new size" has_sectors $((96 << 11))
host_power_cut hostA
goes_on "on hostB"
await_primary hostB vm1
has_sectors $((96 << 11)) || fail "the disk has $(size_in) sectors on hostB"
(($(stat -c %s "$(replica_of hostB)") == 96 << 20)) || fail "the replica has $(stat -c %s "$(replica_of hostB)") bytes"
console_works hostB
display_works hostB
host_back hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
goes_on "back on hostA"
await_pair hostA hostB vm1
has_sectors $((96 << 11)) || fail "the disk has $(size_in) sectors on hostA"
console_works hostA
display_works hostA
client_ends
