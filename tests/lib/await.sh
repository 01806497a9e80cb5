# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Waiting for a condition, bounded. The only place in the tests that sleeps between two looks.
#
#   await SECONDS WHAT COMMAND...  runs COMMAND until it succeeds; fails with one line naming WHAT
#   let_pass SECONDS               time that is itself part of what is tested; never to wait for something
#   moment MS                      a random moment within MS (at most 1000): what follows must hold whenever it comes.
#                                  SEED, which is printed, picks the moments. Not in a subshell
#
# AWAIT_S is the time-out of all that waits without a limit of its own. It asserts nothing about speed: it is
# what a machine busy with other things may need.

AWAIT_S=90

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

let_pass() { sleep "$1"; }

_SEEDED=
moment() {
	if [[ -z $_SEEDED ]]; then
		_SEEDED=${SEED:-$$}
		echo "SEED=$_SEEDED"
		RANDOM=$_SEEDED
	fi
	let_pass "$(printf '0.%03d' $((RANDOM % $1)))"
}
