# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How a test says what it sees and how it ends. hosts.sh brings it.
#
#   fail WORDS               ends the script: it has failed
#   skip WORDS               ends the script: it cannot run here, and why
#   step WORDS               what is being done, and how long the script has run
#   says PATTERN COMMAND...  whatever COMMAND's exit status is, it says exactly one line (stdout and stderr), which
#                            matches the regular expression of bash; sets PRINTED

BEGAN_US=${BEGAN_US:-${EPOCHREALTIME/./}}

fail() {
	echo "FAIL: $*"
	exit 1
}
skip() {
	echo "$*"
	exit 77
}
step() {
	local ms=$(((${EPOCHREALTIME/./} - BEGAN_US) / 1000))
	printf '[%3d.%d s] %s\n' $((ms / 1000)) $((ms / 100 % 10)) "$*"
}
says() {
	local pattern=$1
	shift
	PRINTED=$("$@" 2>&1) || true
	[[ $(wc -l <<<"$PRINTED") -eq 1 && $PRINTED =~ $pattern ]] || fail "$*: '$PRINTED' does not match '$pattern'"
}
