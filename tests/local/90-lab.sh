#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The shortest of the lab's tests (tests/lab): two whole hosts, a guest under KVM, a power cut. No test run goes
# without KVM and a kernel that is not this machine's.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/lab/mklab.sh "${B:-build}"
exec bash tests/lab/10-kvm-cut.sh
