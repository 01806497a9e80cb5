# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file system of a host that hangs: whoever writes to it waits, and no signal ends that. Source it after pair.sh.
#
#   fs_freeze HOST DIR   one at a time
#   thaw                 it moves again; also at the test's end, as nothing in a host ends while it waits for it

FROZEN=()
fs_freeze() {
	host_run "$1" fsfreeze -f "$2"
	FROZEN=("$1" "$2")
}
thaw() {
	host_run "${FROZEN[0]}" fsfreeze -u "${FROZEN[1]}"
	FROZEN=()
}
eval "$(declare -f at_exit | sed '1s/at_exit/pair_at_exit/')"
at_exit() {
	((${#FROZEN[@]} == 0)) || thaw
	pair_at_exit "$1"
}
