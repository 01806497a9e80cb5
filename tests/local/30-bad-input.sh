#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bad input: each case is one clear line and a non-zero exit status, and the VM is untouched by it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh

untouched() {
	unchanged vm1 "$before" "$1"
	guest_answers || fail "$1: the guest does not answer"
}
# refused NAME STATUS PATTERN COMMAND...: fails with that status and one line that matches
refused() {
	tw_refuses hostA "${@:2}"
	echo "$1: $PRINTED"
}

pair_up
guest_start hostA vm1
before=$(vm_traces vm1)

refused "no such VM" 1 "nosuch" protect nosuch --to hostB
refused "no such socket" 1 "/nowhere/qmp" protect /nowhere/qmp --to hostB
refused "no such pid" 1 "999999" protect 999999 --to hostB
refused "unknown host" 1 "no.such.host.*not (found|known)" protect vm1 --to no.such.host
refused "nobody listens" 1 "refused" protect vm1 --to 10.78.0.11:9
refused "ourselves" 1 "this host itself" protect vm1 --to 10.78.0.11:7890
refused "not protected" 1 "no VM" unprotect vm1
refused "unknown arbiter" 1 "ftp://x" protect vm1 --to hostB --arbiter ftp://x
refused "arbiter folder" 1 "/no/such/dir" protect vm1 --to hostB --arbiter file:///no/such/dir
refused "etcd without a host" 1 "etcd://.*HOST:PORT" protect vm1 --to hostB --arbiter etcd://
refused "etcd with a path" 1 "'a:1/v3' is not HOST:PORT" protect vm1 --to hostB --arbiter etcd://a:1/v3
refused "etcd member named twice" 1 "a:2379 is named twice" protect vm1 --to hostB --arbiter etcd://a,a:2379
refused "TLS without a CA" 1 "arbiter_ca" protect vm1 --to hostB --arbiter etcds://a
refused "no etcd there" 1 "no answer from etcd.*127.0.0.1:9: connection refused" protect vm1 --to hostB --arbiter etcd://127.0.0.1:9
untouched "wrong names"

# Not qemu_start: it has a name that is taken, and the next one no QMP.
host_spawn hostA "$PAIR_DIR/twin.log" qemu-system-x86_64 -name vm1 -accel tcg -m 64 -display none -nodefaults \
	-qmp "unix:$PAIR_DIR/twin.qmp,server=on,wait=off"
twin=$SPAWNED_PID
await 10 "the second VM" test -S "$PAIR_DIR/twin.qmp"
refused "two VMs of that name" 1 "vm1" protect vm1 --to hostB
kill -9 "$twin"

host_spawn hostA "$PAIR_DIR/noqmp.log" qemu-system-x86_64 -name noqmp -accel tcg -m 64 -display none -nodefaults
noqmp=$SPAWNED_PID
await 10 "the VM without QMP" has_procs hostA "name noqmp"
refused "no QMP socket" 1 "qmp" protect noqmp --to hostB
kill -9 "$noqmp"

truncate -s 16M "$PAIR_DIR/disk.img"
qemu_start hostA disk -m 64 -display none -nodefaults \
	-drive "file=$PAIR_DIR/disk.img,format=raw,if=none,id=data0" -device virtio-blk-pci,drive=data0,share-rw=on
refused "a shared disk" 3 "virtio.*share-rw" protect disk --to hostB
kill -9 "${GUEST_PID[disk]}"

host_spawn hostA "$PAIR_DIR/holder.log" python3 -c "
import socket,time,sys
s=socket.socket(socket.AF_UNIX); s.connect('${GUEST_QMP[vm1]}'); print(s.recv(100), flush=True); time.sleep(1000)"
holder=$SPAWNED_PID
await 10 "the other QMP client" grep -q QMP "$PAIR_DIR/holder.log"
refused "QMP socket in use" 1 "in use|another" protect vm1 --to hostB
kill -9 "$holder"
untouched "a held socket"

# ---- the backup's side ----
sed 's/^MemAvailable:.*/MemAvailable:     102400 kB/' /proc/meminfo >"$PAIR_DIR/meminfo"
host_run hostB mount --bind "$PAIR_DIR/meminfo" /proc/meminfo
refused "backup without memory" 1 "hostB.*memory" protect vm1 --to hostB
host_run hostB umount /proc/meminfo
untouched "no memory"

real=$(command -v qemu-system-x86_64)
cp "$real" "$PAIR_DIR/qemu-real"
modules=$(find /usr/lib -name accel-tcg-x86_64.so | head -n 1) # it looks for them beside itself
cat >"$PAIR_DIR/qemu-old" <<-END
	#!/bin/bash
	export QEMU_MODULE_DIR=${modules%/*}
	[[ \$* != *"-machine none"* ]] || { "$PAIR_DIR/qemu-real" "\$@" | sed -u s/pc-q35-7.2/pc-q35-7.1x/g; exit; }
	exec "$PAIR_DIR/qemu-real" "\$@"
END
chmod +x "$PAIR_DIR/qemu-old"
host_run hostB mount --bind "$PAIR_DIR/qemu-old" "$real"
refused "backup without the machine type" 1 "hostB.*pc-q35-7.2" protect vm1 --to hostB
host_run hostB umount "$real"
await "$AWAIT_S" "no standby" no_procs hostB qemu-system || fail "a standby is left"
untouched "no machine type"

# ---- who may speak ----
certs_make "$PAIR_DIR/other" hostA
sed -i "s#certs/hostA#other/hostA#" "$PAIR_DIR/hostA.conf"
daemon_restart hostA
refused "wrong certificate" 1 "certificate" protect vm1 --to hostB
pair_conf hostA
daemon_restart hostA TWINVM_TEST_PROTOCOL=99
refused "other protocol version" 1 "version [0-9]+,.*99" protect vm1 --to hostB
daemon_restart hostA
untouched "certificates and versions"

# ---- damaged and hostile bytes ----
daemon_restart hostA TWINVM_FAULT=encoder_corrupt:5
refused "corrupted record in the first copy" 1 "record|checksum" protect vm1 --to hostB
daemon_restart hostA TWINVM_FAULT=encoder_truncate:5
refused "truncated record in the first copy" 1 "record|checksum" protect vm1 --to hostB
untouched "damage in the first copy"
daemon_restart hostA TWINVM_FAULT=encoder_corrupt:600
protect vm1 --mode remus
await_field 60 hostA vm1 "['reason']" '*hostB:*' # the damaged epoch is found
echo "corrupted record in an epoch: $(vm_field hostA vm1 "['reason']")"
guest_answers || fail "the guest does not answer after a damaged epoch"
daemon_restart hostA
await_state 30 hostA vm1 protected
refused "already protected" 1 "already protected" protect vm1 --to hostB
tw_must hostA unprotect vm1
untouched "damage in an epoch"

hostile() { # BYTES (printf): with a good certificate, behind TLS
	# shellcheck disable=SC2059
	printf "$1" | host_run hostA timeout 5 openssl s_client -connect 10.78.0.12:7890 -quiet -no_ign_eof \
		-CAfile "$PAIR_DIR/certs/ca.crt" -cert "$PAIR_DIR/certs/hostA.crt" -key "$PAIR_DIR/certs/hostA.key" \
		>/dev/null 2>&1 || true
}
refusals=$(times_logged hostB "connection refused or broken")
hostile '\x02\x00Vt\xff\xff\xff\xff\0\0\0\0\0\0\0\0'
hostile '\x01\x00Vt\xff\xff\xff\xff\0\0\0\0\0\0\0\0'
hostile '\x07\x00Vt\x10\0\0\0\0\0\0\0\0\0\0\0'
hostile 'GET / HTTP/1.0\r\n\r\n'
hostile '\x01\x00Vt\x10\0'
host_run hostA bash -c 'printf "plain text\n" >/dev/tcp/10.78.0.12/7890'
await "$AWAIT_S" "the hostile peers' processes to end" no_procs hostB "twinvmd replicate sink"
logged hostB "connection refused or broken" $((refusals + 1)) || fail "nothing was logged about the hostile peers"
protect vm1 # the backup serves still
tw_must hostA unprotect vm1
untouched "hostile peers"
