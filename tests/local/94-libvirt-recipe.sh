#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The six lines of README for libvirt, each given as it is written there, for a domain without a second monitor. Then what a domain
# that changed hosts is good for: the old host's power is cut, the guest is shut down by virsh, and starts from its disk where
# it is now.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/libvirt.sh

in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
counter() {
	host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379 && printf 'GET twinvm:counter\r\n' >&3 && read -r _ <&3 && read -r x <&3 && echo \"\${x%%\$'\r'}\""
}
shows() { grep -qE "$1" <<<"$out" || fail "$line: $out"; }
lists_running() { # it says paused when an epoch is taken at that moment
	out=$(vsh hostB list) && grep -qE "web +running" <<<"$out"
}
is_off() { lv_is hostB web "shut off*"; }

PAIR_ARBITER='file' pair_up
lv_up hostA
lv_up hostB
lv_hook hostB # the cold start in the end is allowed by it
export GUEST_EXTRA=twinvm.shell=1
lv_define hostA web

mapfile -t lines < <(sed -n '/^### libvirt in six lines/,/^### [^l]/p' README.md | sed -n 's/^    \(host[AB]# .*\)/\1/p')
((${#lines[@]} == 6)) || fail "README has ${#lines[@]} lines"
for line in "${lines[@]}"; do
	host=${line%%#*} line=${line#*# } line=${line%%  *#*}
	out=$(host_run "$host" env PATH="$PAIR_B:$PATH" bash -c "$line" 2>&1) || fail "$host: $line: $out"
	step "$host: $line: $(tail -n 1 <<<"$out")"
	case $line in
	"virsh start"*)
		await 120 "the guest to answer" guest_answers
		client_start --pause-us 5000
		;;
	"twinvm protect"*) await_pair hostA hostB web ;;
	"twinvm status"*) shows "web .*hostB .*protected" ;;
	"virsh list --all") shows "web +paused" ;;
	"twinvm failover"*) await_pair hostB hostA web ;;
	"virsh list") await "$AWAIT_S" "virsh list to say running" lists_running ;;
	*) fail "what is to be seen after '$line'?" ;;
	esac
done
goes_on "after the six lines"
lv_is hostA web "paused*" || fail "hostA's libvirt: $(lv_state hostA web)"

host_power_cut hostA
goes_on "hostA is off"
client_ends
before=$(counter)
vsh_must hostB shutdown web
in_guest "sync; poweroff -f"
await "$AWAIT_S" "the domain to be off" is_off
await_state "$AWAIT_S" hostB web none
vsh_must hostB start web
await 120 "the guest to answer after a cold start" guest_answers
[[ $before = [1-9]* && $(counter) = "$before" ]] || fail "the counter was $before, and is $(counter)"
step "a cold start on hostB, with the disk as it was: $before"
