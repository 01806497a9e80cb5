#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What the documents name is there: files, functions, keys, variables (tests/lint/docs.py); for each behaviour in
# docs/ARCHITECTURE.md the file and the function. What they draw of the decision tables is what the tables are.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/lint/docs.py
if ! diff -u docs/FAILOVER.md <("${B:-build}/tools/fo_tables"); then
	echo "docs/FAILOVER.md is behind failover/core.c: run 'make docs'"
	exit 1
fi
