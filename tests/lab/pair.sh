#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Boots a pair of lab hosts with daemons and gives a shell in which the lab's functions work on them. With
# "guest", a Redis guest "vm1" runs on hostA. The hosts end with the shell. LAB_KERNEL=6.1 for the other kernel.
# usage: tests/lab/pair.sh [guest] [-c COMMANDS]      -c: runs them instead of a shell
set -euo pipefail
cd "$(dirname "$0")/../.."
[[ -e ${B:-build}/lab/root.ext4 && -x ${B:-build}/tools/labagent ]] || make -s lab-image
. tests/lib/labpair.sh

labpair_up
if [[ ${1:-} = guest ]]; then
	shift
	guest_start hostA vm1
fi
if [[ ${1:-} = -c ]]; then
	eval "$2"
	exit
fi
cat <<END

Logs and consoles: $PAIR_DIR. For example (the heads of tests/lib/lab.sh and labpair.sh list everything):
  host_shell hostA                    a shell there
  host_run hostB dmesg                a command there
  guest_start hostA vm1; protect vm1; tw hostA status; client_start; client_ends
  host_power_cut hostA; host_freeze hostA; host_thaw hostA; host_link hostA down repl; host_panic hostA
END
# The same shell, made interactive: functions and tables stay, errors no longer end it. A line that calls a
# function which gives up (exit) is run in a child, so that the hosts live on.
set +euo pipefail
while IFS= read -r -e -p 'lab> ' line; do
	history -s "$line"
	[[ $line != exit ]] || break
	case $line in
	host_power_cut* | host_boot* | guest_start* | client_start* | daemon_start* | *=*) eval "$line" ;; # they set variables
	*) (trap - EXIT && eval "$line") ;;
	esac
done
exit 0
