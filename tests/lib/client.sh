# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The witness: tools/redis_client works in the host "client" over one TCP connection, each acknowledged write on record,
# and at the end compares what it was promised with what is there. pair.sh brings it; it needs PAIR_DIR.
#
#   client_start [OPTION...]    with more options of redis_client; waits for its first acknowledged writes
#   client_acked                how many writes are acknowledged until now
#   client_more SECONDS N       waits for N more; fails at once when the client has given up
#   goes_on WHAT                the VM answers requests that are sent from now on; WHAT says when that is
#   no_answer_since N WHAT      the VM has not answered since N writes were acknowledged
#   client_cut                  lets the client know that the fault was just injected
#   client_ends                 stops it; fails unless nothing was lost, nothing was made up, the connection lives
#
# CLIENT=NAME before any of them: one of several clients (client). Its files are $PAIR_DIR/NAME.record, .json and .log.

CLIENT=client
CLIENT_OPTIONS=(--timeout-ms 60000 --pause-us 2000)
declare -A CLIENT_PID=() CLIENT_JOB=()

client_start() {
	rm -f "$PAIR_DIR/$CLIENT".{record,json}
	host_spawn client "$PAIR_DIR/$CLIENT.log" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" \
		--record "$PAIR_DIR/$CLIENT.record" --out "$PAIR_DIR/$CLIENT.json" "${CLIENT_OPTIONS[@]}" "$@"
	CLIENT_PID[$CLIENT]=$SPAWNED_PID CLIENT_JOB[$CLIENT]=$SPAWNED_JOB
	client_more "$AWAIT_S" 20
}
client_acked() { wc -l 2>/dev/null <"$PAIR_DIR/$CLIENT.record" || echo 0; }
_client_past() {
	kill -0 "${CLIENT_PID[$CLIENT]}" 2>/dev/null || fail "the $CLIENT ended: $(tail -n 3 "$PAIR_DIR/$CLIENT.log")"
	(($(client_acked) >= $1))
}
client_more() {
	await "$1" "$2 more acknowledged writes" _client_past $(($(client_acked) + $2))
}
# One answer could be to a request that was sent before.
goes_on() {
	await "$AWAIT_S" "the VM to answer: $1" _client_past $(($(client_acked) + 6))
}
no_answer_since() {
	(($(client_acked) == $1)) || fail "$2: answers from nowhere, $(client_acked) and not $1"
}
client_cut() { kill -USR1 "${CLIENT_PID[$CLIENT]}"; }
client_ends() {
	local status=0 report=$PAIR_DIR/$CLIENT.json
	kill -TERM "${CLIENT_PID[$CLIENT]}"
	wait "${CLIENT_JOB[$CLIENT]}" || status=$?
	[[ -s $report ]] || fail "the $CLIENT wrote no report: $(tail -n 3 "$PAIR_DIR/$CLIENT.log")"
	jq -c '{acked_writes,acked_after_outage,lost_writes,phantom_reads,connection_survived,outage_ms,longest_gap_ms,why_broken}' "$report"
	jq -e '.lost_writes == 0 and .phantom_reads == 0 and .connection_survived' "$report" >/dev/null &&
		((status == 0)) || fail "the $CLIENT lost something (exit status $status): $(<"$report")"
	step "nothing lost, nothing made up, the connection lives"
}
