#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make lint. Each step fails when it finds something. A tool that is not installed is reported as missing.
# usage: run.sh [STEP]...     all of them: format includes build circles sizes words docs numbers sleeps shell
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
here=tests/lint
export B=${B:-build}
bad=0

# step NAME COMMAND WHAT: runs it if it is wanted
step() {
	local name=$1 command=$2 what=$3
	((${#only[@]} == 0)) || [[ " ${only[*]} " = *" $name "* ]] || return 0
	if "$command"; then
		echo "ok    $what"
	else
		echo "FAIL  $what"
		bad=1
	fi
}
# step_with PROGRAM STEP...: the same, with a program that may be missing
step_with() {
	if command -v "$1" >/dev/null; then
		step "${@:2}"
	else
		echo "skip  $4: $1 is not installed"
	fi
}
c_files() { find . -name 'build*' -prune -o -name '.git' -prune -o -name '*.[ch]' -printf '%P\n' | sort; }
scripts() { find tests bench .ci -name '*.sh' -o -path .ci/run; }

# Names the files only: `clang-format -i FILE` repairs them.
format() {
	local found
	found=$(c_files | xargs -r -P 2 -n 24 clang-format --dry-run -Werror --ferror-limit=1 2>&1 |
		sed -nE 's/^([^: ]+):[0-9]+:.*/\1/p' | sort -u)
	[[ -z $found ]] || {
		echo "$found"
		return 1
	}
}
includes() { "$here/includes.py"; }
# The flags of the Makefile make a missing prototype, or any other warning, an error.
build() {
	local jobs='' log=$B/lint/build.log
	mkdir -p "$B/lint"
	[[ ${MAKEFLAGS:-} = *-j* ]] || jobs=-j$(nproc)
	make --no-print-directory -s $jobs all >"$log" 2>&1 && return
	grep -E 'error:|undefined|Error' "$log" || cat "$log"
	return 1
}
circles() { "$here/circles.py" . "$B"; }
sizes() { "$here/sizes.py"; }
words() { "$here/words.py"; }
docs() { "$here/docs.py"; }
# A test is called by its number: no two scripts of one folder share one.
numbers() {
	local folder twice
	twice=$(for folder in tests/local tests/lab; do
		basename -a "$folder"/[0-9]*.sh | sed 's/-.*//' | sort | uniq -d | sed "s|.*|$folder/&-*.sh: more than one|"
	done)
	[[ -z $twice ]] || {
		echo "$twice"
		return 1
	}
}
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
# Half a second a script, since each is read with all that it sources: those found clean before are
# left out, as long as neither they nor any script that is sourced has changed.
# SC1091: sourced files are checked by themselves; SC2034: their variables are for others
shell() {
	local known=$B/lint/shell.ok sourced todo
	mkdir -p "$B/lint"
	touch "$known"
	sourced=$(cat tests/lib/*.sh tests/lab/pair.sh "$here/run.sh" | sha256sum | cut -c1-16)
	todo=$(scripts | sort | xargs sha256sum | sed "s/^/$sourced /" | grep -vxFf "$known")
	[[ -n $todo ]] || return 0
	sed 's/.* //' <<<"$todo" | xargs -r -P 2 -n 4 shellcheck -x -S warning -e SC1091,SC2034 || return 1
	echo "$todo" >>"$known"
}

only=("$@")
step_with clang-format format format "clang-format"
step includes includes "who includes whom (.may_include)"
step build build "the build: no warning, each function with a prototype"
step circles circles "no circle of files that call each other"
step sizes sizes "files of 500 lines, functions of 70 (sizes.allow)"
step words words "words (words.list, words.allow)"
step docs docs "documents name what is there, lines of 100 columns"
step numbers numbers "numbers of test scripts are unique"
step sleeps no_sleep "tests do not sleep"
step_with shellcheck shell shell "shellcheck"
exit $bad
