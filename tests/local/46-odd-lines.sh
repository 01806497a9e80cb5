#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What managers seldom write and people do: a daemonized QEMU with relative paths, its monitor in a configuration file, 20 disks,
# 10 NICs, two NUMA nodes with a back end each, a random generation id. Protected, through a power cut and a planned
# switch, the same VM.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

PAIR_ARBITER="file"
pair_up
dir=$PAIR_DIR/home
mkdir "$dir"
cat >"$dir/vm.cfg" <<-'END'
	[name]
	  guest = "odd"
	[chardev "m"]
	  backend = "socket"
	  path = "./odd.qmp"
	  server = "on"
	  wait = "off"
	[mon "q"]
	  chardev = "m"
	  mode = "control"
	[device "gen"]
	  driver = "vmgenid"
	  guid = "auto"
END
# shellcheck disable=SC2054 # QEMU's commas
words=(-readconfig vm.cfg -daemonize -accel tcg -M q35 -m 256 -smp 2 -nodefaults -display none
	-object memory-backend-ram,id=n0,size=128M -object memory-backend-memfd,id=n1,size=128M
	-numa node,cpus=0,memdev=n0 -numa node,cpus=1,memdev=n1 -device virtio-scsi-pci,id=s)
for ((i = 0; i < 20; i++)); do
	truncate -s 1M "$dir/d$i.raw"
	words+=(-drive "file=d$i.raw,if=none,id=d$i,format=raw" -device "scsi-hd,bus=s.0,drive=d$i,serial=disk$i")
done
for ((i = 0; i < 10; i++)); do
	words+=(-netdev "user,id=n$i" -device "virtio-net-pci,netdev=n$i,id=n$i,romfile=")
done
host_run hostA env -C "$dir" PWD="$dir" qemu-system-x86_64 "${words[@]}"
await "$AWAIT_S" "QMP" test -S "$dir/odd.qmp"
id=$(python3 tests/tools/qmp.py "$dir/odd.qmp" query-vm-generation-id)

protect odd
await_pair hostA hostB odd
await_epochs hostA odd 2
images=("$(host_path hostB /var/lib/twinvm/disks)"/*.raw)
((${#images[@]} == 20)) || fail "hostB has ${#images[@]} replicas"
step "protected"

host_power_cut hostA
await_state "$AWAIT_S" hostB odd alone
qmp() { python3 tests/tools/qmp.py "$(host_path "$1" /run/twinvm)"/*/standby.qmp "$2"; }
has_id() { [[ $(qmp "$1" query-vm-generation-id) = "$id" ]]; }
same_on() { # HOST
	await "$AWAIT_S" "the generation id $id on $1" has_id "$1"
	says '"running": true' qmp "$1" query-status
	step "the same VM runs on $1"
}
same_on hostB

host_back hostA
await_pair hostB hostA odd
step "protected by hostA"
tw_must hostB failover odd
await_primary hostA odd
tw_must hostA unprotect odd # its monitor is free
same_on hostA
