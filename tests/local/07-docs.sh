#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the docs draw of the decision tables is what the tables say.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! diff -u docs/FAILOVER.md <("${B:-build}/tools/fo_tables"); then
	echo "docs/FAILOVER.md is behind failover/core.c: run 'make docs'"
	exit 1
fi
