#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The floor of 30-vcpus: 200 times QEMU's own stop and cont, without twinvm, of a guest with 4 vCPUs and kvmclock. The
# kernel's clock must not go back; how often the vDSO's does is printed: that is KVM's and QEMU's doing (hv/README.md).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

clock() { host_run client timeout 30 bash -c 'exec 3<>/dev/tcp/10.77.0.2/7002; echo "cat /tmp/clock; exit" >&3; cat <&3'; }
reads() { clock | sed -n 's/^reads=\([0-9]*\).*/\1/p'; }
read_on() { (($(reads) > $1)); }

step "booting a host"
lab_up hostA client
PAIR_DIR=$HOSTS_DIR
GUEST_SMP=4 GUEST_EXTRA='twinvm.shell=1 twinvm.clock=1' guest_start hostA vm4 \
	-monitor "tcp:${HOST_ADDR[hostA]}:4444,server=on,wait=off"
await 60 "clocks to be read" read_on 100
step "before: $(clock)"
# Each command is answered by the prompt, "(qemu) ".
host_run client bash -c 'exec 3<>"/dev/tcp/$0/4444"; answer() { read -r -t 20 -d ")" x <&3; }; answer
	for i in {1..200}; do for c in stop cont; do echo $c >&3; answer || exit 1; done; done' "${HOST_ADDR[hostA]}" ||
	fail "the monitor does not answer"
await 60 "clocks to be read again" read_on $(($(reads) + 100))
step "after 200 stops: $(clock)"
clock | grep -q 'backwards=0 .*steal_wrong=0 ' || fail "the guest's clocks are wrong"
