#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The NIC's frames go through the host's kernel (vhost-net), past QEMU: only the kernel can hold them.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/labpair.sh

GUEST_NETDEV=,vhost=on
labpair_working
# Its worker is a kernel thread up to 6.3, and one of QEMU's own since.
host_run hostA sh -c 'grep -q "^vhost-" /proc/[0-9]*/task/[0-9]*/comm' || fail "no vhost worker: the guest's frames take another way"
client_cut
host_power_cut hostA
step "hostA's power was cut after $(client_acked) acknowledged writes"
labpair_goes_on
one_runs hostB
