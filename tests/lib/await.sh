# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Waiting for a condition, bounded. The only place in the tests that sleeps between two looks.

# await SECONDS WHAT COMMAND...: runs COMMAND until it succeeds; fails with one line naming WHAT.
await() {
	local limit=$1 what=$2 end
	shift 2
	end=$((${EPOCHREALTIME/./} + ${limit%.*} * 1000000))
	until "$@"; do
		if ((${EPOCHREALTIME/./} > end)); then
			echo "gave up after $limit s waiting for $what" >&2
			return 1
		fi
		sleep 0.03
	done
}
