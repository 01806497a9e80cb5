#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The part of `make test-lab` that every run of the tests has: whole emulated hosts, real KVM, the kernel's plug queue.
# A power cut (a tap without vhost); hosts that do not reach each other but an etcd cluster (no host dies); vhost with
# two queues, a killed replicator, unprotecting, a power cut; and a power cut on Linux 6.1.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."

((EUID == 0)) || {
	echo "lab hosts need root: namespaces, tap devices"
	exit 77
}
exec tests/lab/run.sh 10-kvm-cut 23-both-cables 33-queues 40-kernel61
