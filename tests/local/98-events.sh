#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What happened, as both hosts tell it: protected, a power cut, protected again, a planned switch. In the right order over both hosts, with
# cause, effect and measured outage; over restarts of a daemon, also for one who follows; by --since; acknowledged; and in the journal.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh

kinds() { tw "$1" events vm1 --json | jq -r '.[].kind' | tr '\n' ' '; }
has_kind() { [[ " $(kinds "$1")" = *" $2 "* ]]; }
# field HOST KIND FILTER: of the last event of that kind
field() { tw "$1" events vm1 --json | jq -r "[.[] | select(.kind == \"$2\")] | last | $3"; }
# in_order HOST:KIND...: they are among the events of both hosts, one after the other
in_order() {
	local all want
	all=$(jq -rs 'add | sort_by(.unix_ms) | .[] | .host + ":" + .kind' <(tw hostA events vm1 --json) <(tw hostB events vm1 --json))
	want=$(tr ' ' '\n' <<<"$*")
	awk 'NR == FNR { want[++n] = $0; next } at < n && $0 == want[at + 1] { at++ }
		END { if (at < n) { print "not there, or too early: " want[at + 1]; exit 1 } }' <(echo "$want") <(echo "$all") || {
		echo "$all"
		fail "events of both hosts"
	}
}
# outage_adds_up HOST KIND: its phases follow each other, and are the whole outage
outage_adds_up() {
	[[ $(field "$1" "$2" '.data | .outage_ms > 0 and
		((.silence_ms + .record_ms + .apply_ms + .load_ms - .outage_ms) | fabs) < 0.01 and .load_ms > 0') = true ]] ||
		fail "$2 on $1: $(field "$1" "$2" '.data')"
}

pair_up
host_run hostB mkdir -p /run/systemd/journal
cat >"$PAIR_DIR/journal.py" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/run/systemd/journal/socket")
	while True:
	    sys.stdout.buffer.write(s.recv(65536) + b"\n")
	    sys.stdout.flush()
END
host_spawn hostB "$PAIR_DIR/journal" python3 "$PAIR_DIR/journal.py"
await "$AWAIT_S" "the journal's socket" host_run hostB test -S /run/systemd/journal/socket
host_spawn hostB "$PAIR_DIR/follow" "$PAIR_B/twinvm" events --follow
qemu_start hostA vm1 -M q35 -m 64 -nodefaults -display none
protect vm1
await_pair hostA hostB vm1
await "$AWAIT_S" "hostB's copy" has_kind hostB standby-ready
in_order hostA:protect-asked hostA:copy-begun hostA:copy-finished hostA:protected
in_order hostA:protect-asked hostB:standby-begun hostB:standby-ready hostA:protected
step "protected: $(kinds hostA)/ $(kinds hostB)"

daemon_restart hostB
await_pair hostA hostB vm1
host_power_cut hostA
await_primary hostB vm1
[[ $(field hostB failover .data.cause) = @(silence|closed) ]] || fail "cause: $(field hostB failover .data)"
outage_adds_up hostB failover
host_back hostA
await_pair hostB hostA vm1
in_order hostA:protected hostB:primary-lost hostB:promoting hostB:failover hostB:backup-sought hostA:standby-begun hostA:standby-ready hostB:protected
has_kind hostA vm-ended || fail "hostA lost its VM: $(kinds hostA)"
step "a power cut: $(field hostB failover .text)"

tw_must hostB failover vm1
await_pair hostA hostB vm1
in_order hostB:protected hostB:switch-asked hostA:take-over hostA:promoting hostA:failover hostA:protected
in_order hostA:promoting hostB:switched hostB:standby-begun
[[ $(field hostA failover .data.cause) = planned ]] || fail "cause: $(field hostA failover .data)"
outage_adds_up hostA failover
[[ $(field hostB switched '.data.outage_ms > 0') = true ]] || fail "switched: $(field hostB switched .)"
step "a planned switch: $(field hostB switched .text)"

# ---- each once; by time; who follows; acknowledged ----
[[ $(kinds hostB | tr ' ' '\n' | grep -c '^failover$') -eq 1 ]] || fail "more than one failover: $(kinds hostB)"
since=$(field hostB switch-asked .time)
[[ $(tw hostB events vm1 --since "$since" --json | jq -r '.[0].kind') = switch-asked ]] || fail "--since $since"
[[ $(tw hostB events --since 2100-01-01 --json) = '[]' ]] || fail "events of the future"
tw_refuses hostB 2 "'soon' is no time" events --since soon
daemon_restart hostB
followed() { grep -q "hostB  *$1 " "$PAIR_DIR/follow"; }
await "$AWAIT_S" "who follows to see it" followed switched
for kind in standby-ready daemon-stopped failover; do
	followed "$kind" || fail "who follows has not seen $kind: $(<"$PAIR_DIR/follow")"
done
id=$(field hostB failover .id)
tw_must hostB events vm1
grep -q "not acknowledged: twinvm events --ack $id" <<<"$PRINTED" || fail "$PRINTED"
tw_must hostB events --ack "$id"
daemon_restart hostB
[[ $(field hostB failover .acknowledged) = 20*Z ]] || fail "acknowledged: $(field hostB failover .)"
tw_refuses hostB 1 "is no failover" events --ack "$(field hostB switched .id)"
await_pair hostA hostB vm1

# ---- the journal ----
journal() { grep -aq "^$1\$" "$PAIR_DIR/journal"; }
for line in MESSAGE_ID=546f8f1b70624c4ca2329cb21a5b054d TWINVM_EVENT=failover TWINVM_VM=vm1 "TWINVM_GENERATION=2" \
	"TWINVM_CAUSE=\(silence\|closed\)" 'TWINVM_OUTAGE_MS=[0-9.]*' "MESSAGE=vm1 failed over from hostA: .*"; do
	journal "$line" || fail "not in the journal: $line"
done
