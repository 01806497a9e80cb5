#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair whose arbiter is an etcd cluster behind TLS. The primary's power is cut while the backup cannot reach the cluster
# and one member of it dies too: nobody promotes until the backup reaches the rest, then it does, with nothing lost.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/etcd.sh

fail() {
	echo "FAIL: $*"
	exit 1
}
answered() { wc -l <"$PAIR_DIR/record"; }
more_answers() { (($(answered) > $1)); }
said() { grep -q "$2" "$PAIR_DIR/$1.log"; }
goes_on() {
	local n
	n=$(answered)
	await 30 "the VM to answer: $1" more_answers $((n + 3))
}
recorded() { arbiter arb "$ETCD_LOCAL" read "$(vm_field hostB vm1 "['id']")"; }

pair_up
hosts_add arb
CERTS_SAN=IP:127.0.0.1,IP:${HOST_REPL_ADDR[arb]} certs_make "$PAIR_DIR/certs" arb
etcd_up arb "$PAIR_DIR/certs"
for host in hostA hostB; do
	cat >>"$PAIR_DIR/$host.conf" <<-END
		arbiter_ca = $PAIR_DIR/certs/ca.crt
		arbiter_cert = $PAIR_DIR/certs/$host.crt
		arbiter_key = $PAIR_DIR/certs/$host.key
	END
	kill "${DAEMON_PID[$host]}"
	wait "${DAEMON_JOB[$host]}" 2>/dev/null || true
	daemon_start "$host"
done
guest_start hostA vm1

# ---- a pair is not begun with an arbiter that one of the two does not reach ----
host_cut_off hostB arb
out=$(tw hostA protect vm1 --to hostB --arbiter "$ETCD_URL") && fail "protected although the backup cannot reach the arbiter"
[[ $(wc -l <<<"$out") -eq 1 && $out = *hostB*"no answer from etcd"*"${HOST_REPL_ADDR[arb]}:23791: no answer"* ]] || fail "protect said: $out"
host_join hostB arb
host_cut_off hostA arb
out=$(tw hostA protect vm1 --to hostB --arbiter "$ETCD_URL") && fail "protected although the primary cannot reach the arbiter"
[[ $(wc -l <<<"$out") -eq 1 && $out = *"no answer from etcd"* ]] || fail "protect said: $out"
host_join hostA arb
echo "refused: $out"

# ---- the record goes with the protection ----
tw hostA protect vm1 --to hostB --arbiter "$ETCD_URL" >/dev/null || fail "protect"
id=$(vm_field hostA vm1 "['id']")
[[ $(arbiter arb "$ETCD_LOCAL" read "$id") = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(arbiter arb "$ETCD_LOCAL" read "$id")"
tw hostA unprotect vm1 >/dev/null || fail "unprotect"
forgotten() { [[ $(arbiter arb "$ETCD_LOCAL" read "$id") = ENOENT* ]]; }
await 20 "the record to be removed" forgotten

tw hostA protect vm1 --to hostB --arbiter "$ETCD_URL" >/dev/null || fail "protect"
[[ $(recorded) = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(recorded)"
host_spawn client "$PAIR_DIR/client.json" "$PAIR_B/tools/redis_client" --host "$GUEST_IP" --timeout-ms 60000 \
	--record "$PAIR_DIR/record" --pause-us 2000
client_pid=$SPAWNED_PID client_job=$SPAWNED_JOB
await 20 "the client's first answers" test -s "$PAIR_DIR/record"

# ---- the primary alone does not reach the arbiter: nothing comes of it while the pair is whole ----
host_cut_off hostA arb
goes_on "while the primary cannot reach the arbiter"
host_join hostA arb

# ---- the power cut ----
host_cut_off hostB arb
etcd_kill 1
host_power_cut hostA
await 20 "the backup to ask" said hostB "arbiter: no answer from etcd"
before=$(answered)
etcd_await_writes # an election, perhaps: long enough for a promotion that should not be
[[ $(recorded) = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(recorded)"
(($(answered) == before)) || fail "the VM answered on the backup without a record: $before, then $(answered)"
host_join hostB arb
goes_on "on the backup, once it reaches the arbiter"
runs_there() { [[ $(vm_state hostB vm1) =~ ^(alone|syncing)$ ]]; }
await 20 "hostB to know that it runs the VM" runs_there || fail "hostB: $(tw hostB status)"
[[ $(recorded) = *"generation=2 state=alone primary=hostB"* ]] || fail "recorded: $(recorded)"
echo "promoted by the record: $(recorded)"

# ---- the old primary is back: it becomes the backup again, by the same arbiter ----
host_boot hostA
daemon_start hostA
tw hostB protect vm1 --to hostA --arbiter "$ETCD_URL" >/dev/null 2>&1 || true
await_state 60 hostB vm1 protected
[[ $(recorded) = *"generation=2 state=paired primary=hostB backup=hostA"* ]] || fail "recorded: $(recorded)"
kill "$client_pid"
wait "$client_job" || fail "the client: $(cat "$PAIR_DIR/client.json")"
cat "$PAIR_DIR/client.json"
id=$(vm_field hostB vm1 "['id']")
tw hostB unprotect vm1 >/dev/null || fail "unprotect"
# the VM has changed hosts: this record stays, for an old primary that wakes up late
[[ $(arbiter arb "$ETCD_LOCAL" read "$id") = *"generation=2 state=alone primary=hostB"* ]] || fail "recorded: $(arbiter arb "$ETCD_LOCAL" read "$id")"
