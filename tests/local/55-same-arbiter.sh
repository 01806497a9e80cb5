#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Both hosts must see the same arbiter. Two directories of one name, and two etcds of one URL, are refused when the VM is protected,
# also when it is protected again, and nothing is left behind. While it is protected, a share that is not mounted any more on one
# host is a warning, until it is back. The primary's power is cut meanwhile: its backup keeps its copy, and runs it when the share
# is back.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file:///run/share'
. tests/lib/pair.sh

share() { host_run "$1" mount --bind "$PAIR_DIR/share" /run/share; }
unshare_it() { host_run "$1" umount /run/share; }
# nothing of a VM in that host's folder; hosts announce themselves there
nothing_left() { [[ -z $(host_run "$1" find /run/share -mindepth 1 ! -path '*/hosts*') ]]; }
has() { field_is "$1" vm1 "['$2']" "$3"; }
await_has() { await_field "$AWAIT_S" "$1" vm1 "['$2']" "$3"; }
refused() { # ARBITER
	tw_refuses hostA 3 "hostB: hostA and hostB do not see the same arbiter: .* is not there on hostB.*Mount the same directory on both hosts.*etcd" \
		protect vm1 --to hostB --arbiter "$1"
	[[ $(vm_state hostA vm1) = none && $(vm_state hostB vm1) = none ]] || fail "$1: $(tw hostA status; tw hostB status)"
	guest_lives vm1 "$1"
	unchanged vm1 "$before" "$1"
}

pair_up
mkdir "$PAIR_DIR/share"
for host in hostA hostB; do
	host_run "$host" mkdir /run/share
	daemon_restart "$host" # it finds its arbiter now
done
guest_start hostA vm1
before=$(vm_traces vm1)

# ---- two directories, two etcds ----
refused "$PAIR_ARBITER"
for host in hostA hostB; do await "$AWAIT_S" "nothing to be left at the arbiter of $host" nothing_left "$host"; done
echo "two directories: $PRINTED"
arbiter_allow etcd://127.0.0.1:2379
for host in hostA hostB; do
	daemon_restart "$host"
	host_spawn "$host" "$PAIR_DIR/$host-etcd.log" etcd --data-dir /var/lib/etcd --listen-client-urls http://127.0.0.1:2379 \
		--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
done
etcd_there() { [[ $(host_run "$1" "$PAIR_B/tools/arbiter" etcd://127.0.0.1:2379 read 00112233445566778899aabbccddeeff 2>&1) = ENOENT* ]]; }
for host in hostA hostB; do await "$AWAIT_S" "etcd on $host" etcd_there "$host"; done
refused etcd://127.0.0.1:2379
echo "two etcds: $PRINTED"

# ---- the same one ----
share hostA
share hostB
protect vm1
id=$(vm_field hostA vm1 "['id']")
await_epochs hostA vm1 2
[[ -z $(vm_field hostA vm1 "['warning']") && -z $(vm_field hostB vm1 "['warning']") ]] || fail "a warning: $(tw hostA status; tw hostB status)"

# ---- not there any more, on one host or the other, while all is well ----
gone='*the arbiter has no record of this VM, and had one*mounted*'
for host in hostA hostB; do
	unshare_it "$host"
	await_has "$host" warning "as $host sees it, $gone"
	has hostA state protected || fail "not protected: $(tw hostA status)"
	tw "$host" status | grep -q "warning: as $host sees it" || fail "status: $(tw "$host" status)"
	[[ $host = hostA ]] || await_has hostA reason "as hostB sees it, $gone"
	share "$host"
	await_has "$host" warning ''
	[[ $host = hostA ]] || await_has hostA reason ''
	echo "not mounted on $host, and back: a warning, and none"
done

# ---- protected again: proved again ----
unshare_it hostB
kill -9 "$(procs_of hostB "twinvmd replicate sink")"
await_has hostA reason '*hostA and hostB do not see the same arbiter*'
has hostA state alone || fail "protected with an arbiter of its own: $(tw hostA status)"
share hostB
await_state 60 hostA vm1 protected
[[ $(vm_field hostA vm1 "['id']") = "$id" ]] || fail "another id"
await_state "$AWAIT_S" hostB vm1 protected
echo "protected again only with the same arbiter"

# ---- the power cut, while the backup sees an empty folder ----
unshare_it hostB
await_has hostB warning "as hostB sees it, $gone"
host_power_cut hostA
GUEST_PID[vm1]=
await "$AWAIT_S" "hostB to ask twice" logged hostB 'arbiter: the arbiter has no record of this VM, and had one' 2
has hostB core ASKING || fail "hostB does not keep its copy: $(tw hostB status)"
[[ -n $(procs_of hostB qemu-system) ]] || fail "no standby on hostB any more"
share hostB
await "$AWAIT_S" "the guest to answer" guest_answers
await_primary hostB vm1
echo "the backup kept its copy, and runs it: $(tw hostB status)"
host_boot hostA
host_run hostA mkdir -p /run/share
share hostA
daemon_start hostA
await_pair hostB hostA vm1
tw_must hostB failover vm1
await_primary hostA vm1
await "$AWAIT_S" "the guest to answer on hostA" guest_answers
echo "planned back to hostA"
