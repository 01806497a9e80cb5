#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make lint. Errors: formatting, who includes whom, sleeping tests, shellcheck. Warnings: sizes.
# A tool that is not installed is said to be missing, not passed over in silence.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
here=tests/lint
bad=0
step() {
	local what=$1
	shift
	if "$@"; then
		echo "ok    $what"
	else
		echo "FAIL  $what"
		bad=1
	fi
}
c_files() { find . -name 'build*' -prune -o -name '.git' -prune -o -name '*.[ch]' -printf '%P\n' | sort; }
scripts() { find tests bench .ci -name '*.sh' -o -path .ci/run; }

# Names the files only: `clang-format -i FILE` mends them.
format() {
	local found
	found=$(c_files | xargs -r -n 1 sh -c 'clang-format --dry-run -Werror "$0" >/dev/null 2>&1 || echo "$0"')
	[[ -z $found ]] || {
		echo "$found"
		return 1
	}
}
# SC1091: sourced files are checked by themselves; SC2034: their variables are for others
shell() { scripts | xargs -r shellcheck -x -S warning -e SC1091,SC2034; }
no_sleep() {
	local found
	found=$(grep -rnwE 'sleep|usleep|nanosleep' tests --include='*.sh' --include='*.c' --include='rc' |
		grep -vE '^[^:]+:[0-9]+:[[:space:]]*(#|\*|/\*|//)' | grep -vFf "$here/sleep.allow")
	[[ -z $found ]] || {
		echo "$found"
		echo "      wait for an event (tests/lib/await.sh) instead, or list the file in $here/sleep.allow"
		return 1
	}
}

if command -v clang-format >/dev/null; then
	step "clang-format" format
else
	echo "skip  clang-format is not installed"
fi
step "who includes whom (.may_include)" "$here/includes.py"
step "tests do not sleep" no_sleep
if command -v shellcheck >/dev/null; then
	step "shellcheck" shell
else
	echo "skip  shellcheck is not installed"
fi
"$here/sizes.sh"
exit $bad
