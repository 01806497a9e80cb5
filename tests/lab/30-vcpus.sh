#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests with 4 and with 2 vCPUs whose vCPUs all work lose their host: each vCPU continues, and the guest's clock
# goes backwards neither on one vCPU nor between two, nor does steal time run wild. The one with 4 has kvmclock, the
# one with 2 the TSC as clock: there what programs read without the kernel (vDSO) must not go back either.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

# Asked over the guest's shell port, on a connection of its own.
guest_sh() { host_run client timeout 20 bash -c 'exec 3<>/dev/tcp/10.77.0.2/7002; echo "$1; exit" >&3; cat <&3' - "$1"; }

labpair_up
declare -A words=([4]='' [2]=' clocksource=tsc tsc=reliable') source=([4]=kvm-clock [2]=tsc) wanted=([4]='' [2]='vdso_back=0 ')
for cpus in 4 2; do
	name=vm$cpus
	GUEST_SMP=$cpus GUEST_EXTRA="twinvm.shell=1 twinvm.work=1 twinvm.clock=1${words[$cpus]}" guest_start hostA "$name"
	[[ $(guest_sh nproc) = "$cpus" ]] || fail "the guest does not have $cpus CPUs"
	work() { guest_sh "cat /tmp/work.*" | xargs; }
	all_work() { [[ $(work | wc -w) = "$cpus" ]]; }
	await 60 "all vCPUs to work" all_work
	client_start
	protect "$name"
	client_more 300 20
	reads_committed "$name" 10
	before=$(work)
	client_cut
	host_power_cut hostA
	step "hostA's power was cut after $(client_acked) acknowledged writes"
	labpair_goes_on
	read -ra was <<<"$before"
	moved() {
		local i now
		read -ra now <<<"$(work)"
		for ((i = 0; i < cpus; i++)); do
			((now[i] > was[i])) || return 1
		done
	}
	await 60 "each vCPU to continue" moved
	step "each of the $cpus vCPUs continues"
	clock() { guest_sh 'cat /tmp/clock'; }
	reads=$(clock | sed -n 's/^reads=\([0-9]*\).*/\1/p')
	read_again() { (($(clock | sed -n 's/^reads=\([0-9]*\).*/\1/p') > reads + 100)); }
	await 120 "the clocks to be read after the failover" read_again
	clocksource=$(guest_sh 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource')
	step "clocks: $(clock), source $clocksource"
	[[ $clocksource = "${source[$cpus]}" ]] || fail "the guest's clock is $clocksource"
	clock | grep -q "backwards=0 .*steal_wrong=0 ${wanted[$cpus]}" || fail "the guest's clocks are wrong"
	host_power_cut hostB
	((cpus > 2)) || break
	host_boot hostA
	host_boot hostB
	host_wait hostA
	host_wait hostB
	daemon_start hostA
	daemon_start hostB
	step "both hosts are up again"
done
