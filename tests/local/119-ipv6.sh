#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A pair whose hosts reach each other by IPv6 alone: sessions, heartbeats, and addresses in what people read. The primary's power is
# cut, and the old one becomes the backup again, found by the address that it came from. Then the same the other way round by
# link-local addresses, which mean nothing without their scope, and with an etcd that is named by [V6]:PORT.
set -euo pipefail
cd "$(dirname "$0")/../.."
HOSTS_IPV6=1 PAIR_ARBITER='file'
. tests/lib/pair.sh
. tests/lib/etcd.sh

link_local() { # HOST: sets REPLY
	REPLY=$(host_run "$1" ip -6 -o addr show dev repl0 scope link -tentative | sed -n 's|.* inet6 \([^/]*\)/.*|\1|p')
	[[ $REPLY = fe80:* ]]
}
by_link_local() { # HOST OTHER: HOST's peer is there
	await "$AWAIT_S" "a link-local address of $2" link_local "$2"
	sed -i "s|^peer.$2 = .*|peer.$2 = [$REPLY%repl0]:7890|" "$PAIR_DIR/$1.conf"
	sed -i "s|^listen = .*|listen = [::]:7890|; \$a arbiters = $ETCD_URL" "$PAIR_DIR/$1.conf"
	host_run "$1" "$PAIR_B/twinvmd" --check --config "$PAIR_DIR/$1.conf" >"$PAIR_DIR/check" 2>&1 || fail "--check: $(<"$PAIR_DIR/check")"
	daemon_restart "$1"
}

pair_up
[[ -z $(host_run hostA ip -4 -o addr show dev repl0) ]] || fail "the hosts have IPv4 between them"
hosts_add arb
etcd_up arb
[[ $ETCD_URL = etcd://\[fd78::*\]:* ]] || fail "etcd is not named by IPv6: $ETCD_URL"
logged hostA "peers on \[::\]:7890" || fail "no brackets: $(head -n 3 "$PAIR_DIR/hostA.log")"

# ---- the shared directory as arbiter ----
guest_start hostA vm1
protect vm1
client_start
host_power_cut hostA
client_cut
goes_on "on hostB, hostA is off"
await_primary hostB vm1
host_back hostA
await_pair hostB hostA vm1
step "a power cut, and protected again, by IPv6 alone"

# ---- link-local addresses, and etcd ----
tw_must hostB unprotect vm1
by_link_local hostA hostB
by_link_local hostB hostA
tw_must hostB protect vm1 --to hostA --arbiter "$ETCD_URL"
await_pair hostB hostA vm1
goes_on "protected by link-local addresses"
host_power_cut hostB
client_cut
goes_on "on hostA, hostB is off"
await_primary hostA vm1
host_back hostB
await_pair hostA hostB vm1
client_ends
step "a power cut, and protected again, by link-local addresses with etcd at [V6]"
