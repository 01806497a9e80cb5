#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The part of `make test-lab` that every run of the tests has: whole emulated hosts, real KVM, the kernel's plug queue.
# Hosts that do not reach each other but an etcd cluster (no host dies); vhost with two queues, a killed replicator,
# unprotecting and a power cut. (Linux 6.1: 40-kernel61, in make test-lab.)
# time limit: 900
# alone: its hosts are emulated, two CPUs busy
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/lib/verdict.sh

((EUID == 0)) || skip "lab hosts need root: namespaces, tap devices"
exec tests/lab/run.sh 23-both-cables 33-queues
