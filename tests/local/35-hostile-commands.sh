#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same peer with command lines that run programs, open files, or listen on the backup. Each is refused by name, or that part
# of it does not come to the standby's command line.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/hostile.sh

hostile_up

# ---- command lines ----
try_argv 'refuse.*icount' -icount "shift=auto,rr=record,rrfile=$CANARY"
try_argv 'refuse.*guestfwd|refuse.*netdev' -netdev "user,id=x,guestfwd=tcp:10.0.2.100:1-cmd:$EVIL"
try_argv 'refuse.*fsdev' -fsdev "local,id=x,path=/,security_model=none"
try_argv 'refuse.*virtfs' -virtfs "local,path=/,mount_tag=x,security_model=none"
try_argv 'refuse.*(drive|canary)' -drive "file=/var/lib/canary/disk,format=raw,if=none,id=x"
try_argv 'refuse.*(drive|readonly|read-only|canary)' -drive "file=$CANARY,format=raw,if=none,id=x,readonly=on"
try_argv 'refuse.*(blockdev|canary)' -blockdev "driver=file,node-name=x,filename=/var/lib/canary/disk"
try_argv 'refuse.*(blockdev|nbd)' -blockdev "driver=nbd,node-name=x,server.type=unix,server.path=$CANARY"
try_argv 'refuse.*rng-random' -object "rng-random,id=x,filename=/etc/shadow"
try_argv 'refuse.*secret|welcome' -object "secret,id=x,file=/etc/shadow"
try_argv 'refuse.*(memory-backend-file|mem-path|canary)' -object "memory-backend-file,id=x,size=64M,mem-path=/var/lib/canary/disk,share=on"
try_argv 'refuse.*input-linux' -object "input-linux,id=x,evdev=/dev/input/event0"
try_argv 'refuse.*vfio' -device "vfio-pci,host=00:00.0"
try_argv 'refuse.*usb-host' -device "usb-host,hostbus=1,hostaddr=1"
try_argv 'refuse.*(script|tap)|welcome' -netdev "tap,id=x,ifname=x0,script=$EVIL,downscript=$EVIL"
try_argv 'refuse.*(socket|netdev)' -netdev "socket,id=x,listen=:9999"
try_argv 'refuse.*(kernel|shadow)' -kernel /etc/shadow
try_argv 'refuse.*(initrd|shadow)' -initrd /etc/shadow
try_argv 'refuse.*(smbios|shadow)' -smbios "file=/etc/shadow"
try_argv 'refuse.*(acpitable|shadow)' -acpitable "file=/etc/shadow"
try_argv 'refuse.*(fw_cfg|shadow)' -fw_cfg "name=opt/x,file=/etc/shadow"
try_argv 'refuse.*readconfig' -readconfig "$CANARY"
try_argv 'refuse.*dump-vmstate' -dump-vmstate "$CANARY"
try_argv 'refuse.*(dumpdtb|machine)|welcome' -machine "q35,dumpdtb=$CANARY"
try_argv 'refuse.*tpmdev' -tpmdev "passthrough,id=x,path=$CANARY"
try_argv 'refuse.*chroot' -chroot /var/lib/canary
try_argv 'refuse.*no-such-option' -no-such-option -fsdev "local,id=x,path=/,security_model=none"
# options of the primary's host or session: left out, or refused
for words in "-D $CANARY" "-d exec" "-pidfile $CANARY" "-writeconfig $CANARY" "-trace file=$CANARY" "-plugin $CANARY" "-monitor unix:$CANARY,server=on,wait=off" \
	"-qmp tcp::9998,server=on,wait=off" "-gdb tcp::9997" "-serial file:$CANARY" "-incoming exec:$EVIL" "-sandbox off" "-runas root" \
	"-chardev file,id=x,path=$CANARY" "-audiodev wav,id=x,path=$CANARY" "-vnc :7"; do
	# shellcheck disable=SC2086 # words
	try_argv 'refuse|welcome' $words
done
for program in "$EVIL" "$PAIR_DIR/evil-bin/qemu-system-x86_64" "../../$PAIR_DIR/evil" /bin/sh sh qemu-system-x86_64/../sh ''; do
	jq --arg p "$program" '.argv[0] = $p' "$PAIR_DIR/base.json" >"$PAIR_DIR/try.json"
	try_words 'refuse|welcome' "argv[0] = '$program'"
done

hostile_ends 25
