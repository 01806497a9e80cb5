#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make test-lab: builds, makes the lab's image and runs tests/lab/NN-*.sh one after the other. Each test says
# what it did and when; the last line is exactly "N passed, N failed, N skipped". What a test wrote and its
# hosts' logs and consoles are in BUILD/lab-logs. A test that cannot run here exits 77, the reason in its last
# line. Hosts are ended with the test that booted them, whatever ends it.
# usage: run.sh [PATTERN]...      only tests whose name contains one of the patterns
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
export B=${B:-build}
logs=$B/lab-logs
limit=600 # seconds; a script that needs more has a line "# time limit: N"
passed=0 failed=0 skipped=0

wanted() {
	local pattern
	(($# > 1)) || return 0
	for pattern in "${@:2}"; do
		[[ $1 = *"$pattern"* ]] && return 0
	done
	return 1
}
summary() {
	((passed + failed + skipped > 0)) || {
		echo "FAIL  no test has such a name"
		failed=1
	}
	echo "$passed passed, $failed failed, $skipped skipped"
	((failed == 0))
	exit
}
prepare() {
	mkdir -p "$logs"
	if ((EUID != 0)); then
		echo "the lab needs root: namespaces, tap devices"
		failed=1
		summary
	fi
	make -j"$(nproc)" B="$B" all tools >"$logs/build.log" 2>&1 && make B="$B" guest >>"$logs/build.log" 2>&1 &&
		tests/lab/mklab.sh "$B" >>"$logs/build.log" 2>&1 && return
	tail -n 40 "$logs/build.log"
	echo "FAIL  the build"
	failed=1
	summary
}
run_one() {
	local name=$1 log=$logs/$1.log begin=${EPOCHREALTIME/./} seconds status own
	own=$(sed -nE 's/^# time limit: ([0-9]+).*/\1/p' "tests/lab/$name.sh" | head -n 1)
	echo "---- $name: $(sed -n '3,/^[^#]/s/^# //p' "tests/lab/$name.sh" | grep -v '^time limit' | tr "\n" " ")"
	timeout --foreground --kill-after=20 "${own:-$limit}" bash "tests/lab/$name.sh" 2>&1 </dev/null | tee "$log"
	status=${PIPESTATUS[0]}
	seconds=$(awk -v us=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { printf "%.1f", us / 1e6 }')
	case $status in
	0)
		passed=$((passed + 1))
		echo "ok    $name ($seconds s)"
		;;
	77)
		skipped=$((skipped + 1))
		echo "skip  $name: $(tail -n 1 "$log")"
		;;
	*)
		failed=$((failed + 1))
		((status != 124 && status != 137)) || echo "stopped after its time limit of ${own:-$limit} s"
		echo "FAIL  $name ($seconds s), exit status $status; logs: $logs/$name/"
		;;
	esac
}

trap 'exit 130' INT
trap 'exit 143' TERM
prepare
for script in tests/lab/[0-9]*.sh; do
	name=$(basename "$script" .sh)
	wanted "$name" "$@" && run_one "$name"
done
summary
