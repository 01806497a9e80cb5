#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair whose arbiter is an etcd cluster behind TLS. The primary's power is cut while the backup cannot reach the cluster
# and one member of it dies too: nobody promotes until the backup reaches the rest, then it does, with nothing lost.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/etcd.sh

recorded() { arbiter arb "$ETCD_LOCAL" read "$(vm_field hostB vm1 "['id']")"; }

pair_up
hosts_add arb
CERTS_SAN=IP:127.0.0.1,IP:${HOST_REPL_ADDR[arb]} certs_make "$PAIR_DIR/certs" arb
etcd_up arb "$PAIR_DIR/certs"
arbiter_allow "$ETCD_URL"
for host in hostA hostB; do
	cat >>"$PAIR_DIR/$host.conf" <<-END
		arbiter_ca = $PAIR_DIR/certs/ca.crt
		arbiter_cert = $PAIR_DIR/certs/$host.crt
		arbiter_key = $PAIR_DIR/certs/$host.key
	END
	daemon_restart "$host"
done
guest_start hostA vm1

# ---- a pair is not begun with an arbiter that one of the two does not reach ----
host_cut_off hostB arb
tw_refuses hostA 1 "hostB.*no answer from etcd.*${HOST_REPL_ADDR[arb]}:23791: no answer" protect vm1 --to hostB --arbiter "$ETCD_URL"
host_join hostB arb
host_cut_off hostA arb
tw_refuses hostA 1 "no answer from etcd" protect vm1 --to hostB --arbiter "$ETCD_URL"
host_join hostA arb
echo "refused: $PRINTED"

# ---- the record goes with the protection ----
protect vm1 --arbiter "$ETCD_URL"
id=$(vm_field hostA vm1 "['id']")
[[ $(arbiter arb "$ETCD_LOCAL" read "$id") = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(arbiter arb "$ETCD_LOCAL" read "$id")"
tw_must hostA unprotect vm1
forgotten() { [[ $(arbiter arb "$ETCD_LOCAL" read "$id") = ENOENT* ]]; }
await 20 "the record to be removed" forgotten

protect vm1 --arbiter "$ETCD_URL"
[[ $(recorded) = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(recorded)"
client_start

# ---- the primary alone does not reach the arbiter: nothing comes of it while the pair is whole ----
host_cut_off hostA arb
goes_on "while the primary cannot reach the arbiter"
host_join hostA arb

# ---- the power cut ----
host_cut_off hostB arb
etcd_kill 1
host_power_cut hostA
await 20 "the backup to ask" logged hostB "arbiter: no answer from etcd"
before=$(client_acked)
etcd_await_writes # an election, perhaps: long enough for a promotion that should not be
[[ $(recorded) = *"state=paired primary=hostA backup=hostB"* ]] || fail "recorded: $(recorded)"
no_answer_since "$before" "the backup without a record"
host_join hostB arb
goes_on "on the backup, once it reaches the arbiter"
await_state "$AWAIT_S" hostB vm1 '@(alone|syncing)' || fail "hostB: $(tw hostB status)"
[[ $(recorded) = *"generation=2 state=alone primary=hostB"* ]] || fail "recorded: $(recorded)"
echo "promoted by the record: $(recorded)"

# ---- the old primary is back: it becomes the backup again, by the same arbiter ----
host_back hostA
tw hostB protect vm1 --to hostA --arbiter "$ETCD_URL" >/dev/null 2>&1 || true
await_state 60 hostB vm1 protected
[[ $(recorded) = *"generation=2 state=paired primary=hostB backup=hostA"* ]] || fail "recorded: $(recorded)"
client_ends
id=$(vm_field hostB vm1 "['id']")
tw_must hostB unprotect vm1
# the VM has changed hosts: this record stays, for an old primary that wakes up late
[[ $(arbiter arb "$ETCD_LOCAL" read "$id") = *"generation=2 state=alone primary=hostB"* ]] || fail "recorded: $(arbiter arb "$ETCD_LOCAL" read "$id")"
