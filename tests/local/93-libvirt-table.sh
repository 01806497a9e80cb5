#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The table of docs/LIBVIRT.md, row by row: what virsh reports for each command that is given to a protected domain, and what
# protection does. After each row one host runs the VM, or none for rows that end it.
# time limit: 900
# ROWS=REGEX: only rows that match. MONITOR=libvirt: without a second monitor. SUSPENDS=10: how many are tried
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/libvirt.sh

in_guest() { host_run client bash -c "echo '$1' >/dev/tcp/$GUEST_IP/7002" || fail "no shell in the guest for: $1"; }
trim() { sed -E 's/^ *//; s/ *$//' <<<"$1"; }
ends_logged() { times_logged hostA "session ends: "; }
ended_by() { sed -n 's/.*session ends: //p' "$PAIR_DIR/hostA.log" | tail -n +$((ends + 1)) | grep -qF -- "$because"; }
replicas() { find "$(host_path hostB /var/lib/twinvm/disks)" -name '*-0.raw' 2>/dev/null | wc -l; }
no_replicas() { (($(replicas) == 0)); }
runs_on_hostB() { [[ $(vm_field hostB web "['role']") = primary ]]; }

# libvirt took one of our pauses for the domain's own: it left it, or will start it, paused.
resume_if_left() {
	says "^VM status: " vsh hostA qemu-monitor-command web --hmp "info status"
	[[ $PRINTED != *running* ]] || return 0
	step "$row: libvirt left it so: $PRINTED"
	vsh_must hostA resume web
}
stands_still() {
	says "^VM status: " vsh hostA qemu-monitor-command web --hmp "info status"
	[[ $PRINTED = *paused* ]]
}
# Some are lost, and the last is not.
suspend_until_it_holds() {
	local i lost=0
	for ((i = 1; ; i++)); do
		vsh_must hostA suspend web
		if ! stands_still; then
			lost=$((lost + 1))
		elif ((i < ${SUSPENDS:-10})); then
			vsh_must hostA resume web
		else
			break
		fi
		((lost < 100)) || fail "every suspend is lost"
	done
	step "$lost of $i suspends were lost"
}

# ---- what a row's first cell says ----
# The words of `...` are virsh's; $reply and $rc are its answer.
give() {
	local cell=${1#\`} words=() host=hostA
	[[ $1 != *", on the backup" ]] || host=hostB
	reply='' rc=0
	case $1 in
	"libvirtd is restarted") lv_restart hostA ;;
	"libvirtd is killed, and started")
		lv_stop hostA KILL
		lv_start hostA
		;;
	"\`suspend web\`") suspend_until_it_holds ;;
	\`*\`*)
		eval "words=(${cell%\`*})"
		for _ in {1..20}; do
			rc=0
			reply=$(cd "$PAIR_DIR" && vsh $host "${words[@]}") || rc=$?
			[[ $reply = *"domain is not running"* ]] || break # it came in a pause
		done
		case ${1##*\`} in
		"" | ", on the backup") ;;
		", the guest powers off") in_guest "poweroff -f" ;;
		", resumed if need be") resume_if_left ;;
		*) fail "what is '${1##*\`}'?" ;;
		esac
		;;
	*) fail "what is '$1'?" ;;
	esac
}
# ---- the second ----
answered() {
	local refusal
	[[ $1 =~ ^refused\ \((.*)\)(, or done)?$ ]] || {
		[[ $1 = "done" ]] || fail "what is '$1'?"
		((rc == 0)) || fail "$row: virsh refuses: $reply"
		return 0
	}
	refusal=${BASH_REMATCH[1]}
	[[ -z ${BASH_REMATCH[2]} || $rc -ne 0 ]] || return 0
	((rc != 0)) || fail "$row: virsh does it: $reply"
	grep -qF -- "$refusal" <<<"$reply" || fail "$row: virsh says: $reply"
}

# ---- the third ----
# Sets role, state, reason and epoch of hostA's status, of one moment.
look() {
	IFS=$'\x1f' read -r role state reason epoch < <(tw hostA status web --json 2>/dev/null |
		jq -r '[.role, .state, .reason, .epoch_committed] | join("\u001f")' 2>/dev/null || echo none)
}
epoch_past() { look && [[ $epoch = [0-9]* ]] && ((epoch > $1)); }
works() {
	look
	await "$AWAIT_S" "epochs after $row" epoch_past $((epoch + 2))
	[[ $1 = @(continues|none)", it boots" ]] || await 200 "the guest to answer after $row" guest_answers
	[[ $role = primary ]] || fail "$row: $(tw hostA status)"
	{ ! runs_on_hostB && lv_is hostB web "paused*"; } || fail "$row: hostB runs it, too: $(tw hostB status), $(lv_state hostB web)"
}
is_silent() { ! guest_answers; }
is_well() { look && [[ $state = protected && -z $reason ]]; }
continues_protected() {
	# What was given may not have begun.
	[[ $1 != "continues, it boots" ]] || await "$AWAIT_S" "the guest to go down after $row" is_silent
	works "$1"
	await "$AWAIT_S" "the VM to be protected after $row, with no reason why not" is_well
	(($(ends_logged) == ends)) || fail "$row: the session ended: $(grep "session ends: " "$PAIR_DIR/hostA.log" | tail -n 1)"
}
has_reason() { look && [[ $reason = *"$because"* ]]; }
waits() {
	await "$AWAIT_S" "'$because' in the status" has_reason
	[[ $state = protected ]] || fail "$row: $(tw hostA status)"
	lv_is hostA web "paused*" || fail "$row: libvirt says $(lv_state hostA web)"
}
# What QEMU has beside devices, one a line.
belongings() {
	local ask out=
	for ask in '"query-named-block-nodes"' '"query-chardev"' '"query-iothreads"' '"qom-list", "arguments": {"path": "/objects"}'; do
		says '"return"' vsh hostA qemu-monitor-command web "{\"execute\": $ask}"
		out+=$(jq -r '.return[] | .["node-name"] // .label // .id // .name' <<<"$PRINTED")$'\n'
	done
	vsh_must hostA qemu-monitor-command web --hmp "info network"
	out+=$(grep -o 'hostnet[0-9]*' <<<"$PRINTED")
	grep -vE '^(twinvm|#block|type$)' <<<"$out" | sort -u
}
as_before() {
	now=$(belongings)
	[[ $now = "$had" ]]
}
again() {
	await "$AWAIT_S" "the session to end by '$because' after $row" ended_by
	await_pair hostA hostB web
	[[ $row != \`detach-* ]] || as_before || fail "$row leaves in QEMU: $(diff <(echo "$had") <(echo "$now"))"
	works ""
}
no_qemu() {
	await "$AWAIT_S" "the standby on hostB to end" no_procs hostB qemu-system
	no_procs hostA qemu-system || fail "$row: a QEMU is left on hostA"
}
nobody_runs_it() {
	await_state "$AWAIT_S" hostA web none
	await_state "$AWAIT_S" hostB web none
	no_qemu
	await "$AWAIT_S" "no replica on hostB" no_replicas
}
# Both hosts know of it, and neither runs it.
saved() {
	await_state "$AWAIT_S" hostA web stopped
	await_field "$AWAIT_S" hostA web "['reason']" "*written it to a file *protected again when it is started here*"
	await_state "$AWAIT_S" hostB web stopped
	no_qemu
	(($(replicas) > 0)) || fail "$row: hostB has no replica any more"
}
back() {
	await_pair hostA hostB web
	works ""
}
follows() {
	[[ ${MONITOR:-own} = own || $row != "libvirtd is"* ]] || set -- again # the connection to its monitor has ended
	because=
	[[ $1 =~ ^([a-z]+)(\ \((.*)\))?$ || $1 = @(continues|none)", it boots" ]] ||
		fail "what is '$1'?"
	because=${BASH_REMATCH[3]:-}
	case $1 in
	continues*) continues_protected "$1" ;;
	waits*) waits ;;
	again*) again ;;
	ends) nobody_runs_it ;;
	saved) saved ;;
	back) back ;;
	none*)
		[[ $1 = "none, it boots" ]] || await 200 "the guest to answer after $row" guest_answers
		[[ $(vm_state hostA web) = none ]] || fail "$row: $(tw hostA status)"
		protect web
		;;
	moves)
		await_primary hostB web
		lv_is hostB web "running*" || fail "$row: libvirt on hostB says $(lv_state hostB web)"
		await 200 "the guest to answer after $row" guest_answers
		;;
	*) fail "what is '$1'?" ;;
	esac
}

PAIR_ARBITER='file' pair_up
lv_up hostA
lv_up hostB
# The second monitor is the document's. MONITOR=libvirt: without it.
lines=$(sed -n '/^## The monitor/,/^## /p' docs/LIBVIRT.md)
monitor=()
if [[ ${MONITOR:-own} = own ]]; then
	monitor=(qmp="$(sed -n "s/.*value='unix:\([^,]*\),server=on,wait=off'.*/\1/p" <<<"$lines")")
	host_run hostA bash -c "$(sed -n 's/^    \(install -d .*\)/\1/p' <<<"$lines")" || fail "the folder of the monitor"
fi
qemu-img create -q -f qcow2 "$(host_path hostA "$LV_IMAGES/extra.qcow2")" 16M
echo "<input type='keyboard' bus='usb'/>" >"$PAIR_DIR/usb.xml"
GUEST_EXTRA="twinvm.shell=1 twinvm.plug=1" lv_domain hostA web "${monitor[@]}" max_vcpus=2 ${SERIAL_LOG:+log="$SERIAL_LOG"}
protect web
step "$(host_run hostA env PATH="$PAIR_B:$PATH" python3 tests/tools/libvirt_cost.py web 3)"
mapfile -t rows < <(sed -n '/^| virsh command /,/^$/p' docs/LIBVIRT.md | tail -n +3 | grep '^|')
((${#rows[@]} >= 30)) || fail "docs/LIBVIRT.md has only ${#rows[@]} rows"
for line in "${rows[@]}"; do
	[[ $line =~ ${ROWS:-.} ]] || continue
	IFS='|' read -r _ command answer protection _ <<<"$line"
	row=$(trim "$command")
	ends=$(ends_logged)
	[[ $row != \`attach-* ]] || had=$(belongings)
	give "$row"
	answered "$(trim "$answer")"
	follows "$(trim "$protection")"
	step "$row: $(trim "$answer"); $(trim "$protection")"
done
echo "${#rows[@]} rows"
