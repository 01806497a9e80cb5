#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make test: builds, runs the unit tests and then tests/local/*.sh in order. Output is shown only of what
# failed, all of it is in BUILD/test-logs. A local test that cannot run here exits 77 with the reason in
# its last line. The last line is exactly "N passed, N failed, N skipped".
# usage: run.sh [PATTERN]...      only tests whose name contains one of the patterns
# Two local tests run at a time (TEST_JOBS): most of them wait most of the time. One with a line "# alone: WHY" shares
# the machine with no other.
# The lines before it name again what failed, and why: long output is cut in the middle where others read it.
# TEST_AGAIN=N: when at most N local tests failed, each runs a second time, alone, and that counts. What happened the
# first time is shown, and named before the last line: such a test, or what it tests, depends on time, and is to be mended.
# TEST_KEEP=1 keeps the folders of a local test that failed; its log has their names (lines "kept: ...").
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
export B=${B:-build}
# 13-other-monitors: 50 when it is run by itself; 14-hangs-in-a-pause: 500 and 20
export MEDDLE_ROUNDS=${MEDDLE_ROUNDS:-3} PAUSE_KILLS=${PAUSE_KILLS:-4} PAUSE_HANGS=${PAUSE_HANGS:-2} SUSPEND_ROUNDS=${SUSPEND_ROUNDS:-10}
export EPOCH_ROUNDS=${EPOCH_ROUNDS:-4} # 62-same-epoch: 200 when it is run by itself
logs=$B/test-logs
unit_limit=120
local_limit=600 # seconds; a script that needs more has a line "# time limit: N"
jobs=${TEST_JOBS:-$(($(nproc) > 1 ? 2 : 1))}
again=${TEST_AGAIN:-0}
passed=0 failed=0 skipped=0
broken=() # local tests
declare -A why=() # name of what failed -> why

wanted() {
	local pattern
	(($# > 1)) || return 0
	for pattern in "${@:2}"; do
		[[ $1 = *"$pattern"* ]] && return 0
	done
	return 1
}
# report RESULT NAME SECONDS DETAIL
report() {
	printf '%-5s %-36s %6.1f s  %s\n' "$1" "$2" "$3" "$4"
}
show() {
	sed 's/^/      | /' "$1" | tail -n "${2:-60}"
}
# What failed, in a line; what follows it in the log, of processes that end, is long.
reason() {
	grep -m 1 -E '^(FAIL:|stopped after)' "$1" || sed -n '$p' "$1"
}
# timed LIMIT LOG COMMAND...: sets status and seconds
timed() {
	local limit=$1 log=$2 begin=${EPOCHREALTIME/./}
	shift 2
	timeout --foreground --kill-after=20 "$limit" "$@" >"$log" 2>&1 </dev/null
	status=$?
	seconds=$(awk -v us=$((${EPOCHREALTIME/./} - begin)) 'BEGIN { printf "%.1f", us / 1e6 }')
	((status != 124 && status != 137)) || echo "stopped after its time limit of $limit s" >>"$log"
}
# count PATTERN LOG: the first number after what matches, summed over lines
count() {
	sed -nE "s/.*$1.*/\1/p" "$2" | awk '{ n += $1 } END { print n + 0 }'
}

run_unit() {
	local name=$1 log=$logs/$1.log total ok skip bad
	timed $unit_limit "$log" "$B/tests/$name"
	total=$(count 'Running ([0-9]+) test' "$log")
	ok=$(grep -c '^\[       OK \]' "$log")
	skip=$(count '^\[  SKIPPED \] ([0-9]+) test' "$log")
	bad=$((total - ok - skip))
	((bad > 0 || status == 0)) || bad=1
	((total > 0)) || bad=1 # a test program that tests nothing
	passed=$((passed + ok)) skipped=$((skipped + skip)) failed=$((failed + bad))
	if ((bad)); then
		why[$name]="$bad of $total, exit status $status"
		report FAIL "$name" "$seconds" "${why[$name]}"
		show "$log"
	else
		report ok "$name" "$seconds" "$ok tests$( ((skip)) && echo ", $skip skipped")"
	fi
}

# In the background; its result is in its log's .result.
run_local() {
	local name=$1 log=$logs/$1.log limit
	limit=$(sed -nE 's/^# time limit: ([0-9]+).*/\1/p' "tests/local/$name.sh" | head -n 1)
	timed "${limit:-$local_limit}" "$log" bash "tests/local/$name.sh"
	echo "$status $seconds" >"$log.result"
}
count_local() {
	local name=$1 log=$logs/$1.log
	read -r status seconds <"$log.result" || status=lost seconds=0
	case $status in
	0)
		passed=$((passed + 1))
		report ok "$name" "$seconds" ""
		;;
	77)
		skipped=$((skipped + 1))
		report skip "$name" "$seconds" "$(tail -n 1 "$log")"
		;;
	*)
		failed=$((failed + 1))
		broken+=("$name")
		why[$name]="exit status $status: $(reason "$log")"
		report FAIL "$name" "$seconds" "${why[$name]}"
		show "$log"
		;;
	esac
}

declare -A running=() # pid -> name
# Waits until at most N local tests run.
drain_to() {
	local pid
	while ((${#running[@]} > $1)); do
		pid=
		wait -n -p pid "${!running[@]}"
		[[ -n $pid ]] || break
		count_local "${running[$pid]}"
		unset "running[$pid]"
	done
}
start_local() {
	local alone=0
	! grep -q '^# alone: ' "tests/local/$1.sh" || alone=1
	drain_to $((alone ? 0 : jobs - 1))
	run_local "$1" &
	running[$!]=$1
	((!alone)) || drain_to 0
}
run_again() {
	local name tests=("${broken[@]}")
	((${#tests[@]} > 0 && ${#tests[@]} <= again)) || return 0
	echo "once more, alone: ${tests[*]}"
	for name in "${tests[@]}"; do
		mv "$logs/$name.log" "$logs/$name.first.log"
		failed=$((failed - 1)) broken=()
		start_local "$name"
		drain_to 0
		((${#broken[@]})) || why[$name]="passed the second time; the first time: ${why[$name]}"
	done
}
# What runs ends with this script, also when a signal ends that.
end_locals() {
	local pid
	for pid in "${!running[@]}"; do
		pkill -TERM -P "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

trap end_locals EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/*.result
if ! make -j"$(nproc)" B="$B" all unit tools >"$logs/build.log" 2>&1; then
	echo "the build failed:"
	show "$logs/build.log"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
for source in tests/unit/test_*.c; do
	name=$(basename "$source" .c)
	! wanted "$name" "$@" || run_unit "$name"
done

scripts=()
for script in tests/local/[0-9]*.sh; do
	! wanted "$(basename "$script" .sh)" "$@" || scripts+=("$script")
done
if ((EUID == 0 && ${#scripts[@]})); then
	if ! make B="$B" guest >"$logs/guest.log" 2>&1; then
		failed=$((failed + 1))
		echo "FAIL  the guest could not be made:"
		show "$logs/guest.log"
	fi
fi
for script in "${scripts[@]}"; do
	name=$(basename "$script" .sh)
	if ((EUID != 0)); then
		skipped=$((skipped + 1))
		report skip "$name" 0 "root is needed"
		continue
	fi
	start_local "$name"
done
drain_to 0
run_again

for name in "${!why[@]}"; do
	printf 'failed: %s: %.300s\n' "$name" "${why[$name]}"
done | sort
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
