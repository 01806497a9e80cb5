#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Debian 12's default kernel, 6.1, has no PAGEMAP_SCAN: dirty pages come from soft-dirty bits. First hv alone
# against QEMUs under KVM, byte by byte, with private RAM and with shared RAM, and when shared RAM is refused.
# Then power cuts: hostA's, and hostB's after the promoted VM was protected by hostA again. In between the bits of its
# shared RAM get into doubt, which must cost the session and nothing else.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
LAB_KERNEL=6.1
. tests/lib/labpair.sh
THP=/sys/kernel/mm/transparent_hugepage

probe() { # NAME ARGS...
	local name=$1
	shift
	host_run hostA timeout 300 "$PAIR_B/tools/hv_probe_vm" "$@" >"$PAIR_DIR/probe.log" 2>&1 ||
		fail "hv on $name: $(tail -n 5 "$PAIR_DIR/probe.log")"
	step "hv on $name: $(grep -E 'epochs|first copy|never touched' "$PAIR_DIR/probe.log" | xargs)"
}
refused() { # NAME REMEDY ARGS...
	local name=$1 remedy=$2
	shift 2
	! host_run hostA timeout 300 "$PAIR_B/tools/hv_probe_vm" "$@" >"$PAIR_DIR/probe.log" 2>&1 || fail "hv takes $name"
	grep -qF -e "$remedy" "$PAIR_DIR/probe.log" || fail "hv on $name: $(tail -n 5 "$PAIR_DIR/probe.log")"
	step "hv refuses $name, and says: $remedy"
}
# What hv/dirty/softshared.c argues, on the real thing: COMMAND takes bits away, or may have, and no round counts any more.
spoiled() { # NAME COMMAND
	# shellcheck disable=SC2016 # $$ is that shell's
	host_run hostA sh -c 'echo $$ >/sys/fs/cgroup/vm/cgroup.procs; exec timeout 300 "$@"' sh \
		"$PAIR_B/tools/hv_probe_vm" -b -n 1 -u "$2" "${shared96[@]}" >"$PAIR_DIR/probe.log" 2>&1 ||
		fail "hv after $1: $(tail -n 5 "$PAIR_DIR/probe.log")"
	step "hv after $1: $(grep forgotten "$PAIR_DIR/probe.log")"
}
small=(qemu-system-x86_64 -M pc -accel kvm -m 256 -nodefaults -display none)
shared=(qemu-system-x86_64 -M "pc,memory-backend=m0" -accel kvm -m 384 -nodefaults -display none
	-object "memory-backend-memfd,id=m0,size=384M,share=on")
shared96=(qemu-system-x86_64 -M "pc,memory-backend=m0" -accel kvm -m 96 -nodefaults -display none
	-object "memory-backend-memfd,id=m0,size=96M,share=on")
named=(qemu-system-x86_64 -M "pc,memory-backend=m0" -accel kvm -m 256 -nodefaults -display none
	-object "memory-backend-file,id=m0,size=256M,mem-path=/dev/shm/ram,share=on")

labpair_up
[[ $(host_run hostA uname -r) = 6.1.* ]] || fail "not a 6.1 kernel"
# Small pages: only then one write is one page, and exactness can be checked.
host_run hostA sh -c "echo never >$THP/enabled"
probe "a firmware that writes all the time" -b -n 30 -a 2 "${small[@]}"
probe "shared RAM that somebody else filled" -w -b -n 30 -a 2 "${shared[@]}"
refused "RAM in a named file" "echo deny >$THP/shmem_enabled" -b -n 1 "${named[@]}"
host_run hostA sh -c "echo deny >$THP/shmem_enabled"
probe "RAM in a named file without huge pages" -b -n 10 "${named[@]}"
host_run hostA sh -c "echo advise >$THP/shmem_enabled"
refused "shared RAM that may get huge pages" "echo never >$THP/shmem_enabled" -b -n 1 "${shared[@]}"
host_run hostA sh -c "echo never >$THP/shmem_enabled; dd if=/dev/zero of=/var/lib/swap bs=1M count=160 2>/dev/null
	mkswap /var/lib/swap >/dev/null; swapon /var/lib/swap"
refused "shared RAM that may be swapped out" "swapoff -a" -b -n 1 "${shared[@]}"
probe "shared RAM that is locked, with swap" -A -b -n 10 "${shared96[@]}" -overcommit mem-lock=on
host_run hostA sh -c "swapoff /var/lib/swap; mount -t cgroup2 none /sys/fs/cgroup; mkdir /sys/fs/cgroup/vm
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control"
spoiled "it was swapped out and in again" \
	"swapon /var/lib/swap; echo 150M >/sys/fs/cgroup/vm/memory.reclaim; swapoff /var/lib/swap"
! grep -q "^0 of" "$PAIR_DIR/probe.log" || fail "swapping took no bits: is the argument wrong, or the test?"
spoiled "huge pages were allowed and forbidden" "echo always >$THP/shmem_enabled; echo never >$THP/shmem_enabled"
host_run hostA sh -c "echo always >$THP/enabled; rm /var/lib/swap"

_attached() { (($(grep -c "come from soft-dirty bits" "$PAIR_DIR/$1.log") >= $2)); }
# protected_by HOST PEER N: by soft-dirty bits, in HOST's Nth session or a later one
protected_by() {
	await 300 "$1 to use soft-dirty bits" _attached "$1" "$3"
	await_state 300 "$1" vm1 protected
	[[ $(vm_field "$1" vm1 "['peer']") = "$2" ]] || fail "$1: $(tw "$1" status)"
	step "vm1 runs on $1 and is protected by $2"
}
commits() { # HOST N: as reads_committed, for any host
	local n
	n=$(vm_field "$1" vm1 "['epoch_committed']")
	[[ $n = [0-9]* ]] || fail "no status of vm1: $n"
	await 300 "$2 epochs of vm1 to be committed" _commits_past "$1" $((n + $2))
}
_commits_past() {
	local n
	n=$(vm_field "$1" vm1 "['epoch_committed']")
	[[ $n = [0-9]* ]] && ((n >= $2))
}
cut() { # HOST
	client_more 300 20
	commits "$1" 10
	client_cut
	host_power_cut "$1"
	step "$1's power was cut after $(client_acked) acknowledged writes"
}

guest_start hostA vm1
client_start
protect vm1
protected_by hostA hostB 1
cut hostA
client_more 300 20
step "the client's work continues"
one_runs hostB
host_boot hostA
host_wait hostA
daemon_start hostA
protected_by hostB hostA 1

# Huge pages are allowed and forbidden again within one epoch: nobody can know what khugepaged unmapped.
_doubted() { grep -q "shmem_enabled changed" "$PAIR_DIR/hostB.log"; }
_refused() { vm_field hostB vm1 "['reason']" | grep -qF "echo never >$THP/shmem_enabled"; }
! _doubted || fail "the bits were doubted before"
host_run hostB sh -c "echo always >$THP/shmem_enabled; echo never >$THP/shmem_enabled"
await 60 "the session to end" _doubted
host_run hostB sh -c "echo advise >$THP/shmem_enabled"
await 120 "the next one to be refused" _refused
step "refused: $(vm_field hostB vm1 "['reason']")"
host_run hostB sh -c "echo never >$THP/shmem_enabled"
protected_by hostB hostA 2

cut hostB
labpair_goes_on
one_runs hostA
