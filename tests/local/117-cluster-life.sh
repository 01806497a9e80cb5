#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What happens to a cluster of `twinvm cluster`: a third host, of which all learn; certificates that end, that are renewed by
# hand and by themselves, while a VM is protected under load; a host that is revoked, also in the middle of its session, for
# good; one that leaves.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_HOSTS="hostA hostB hostC"
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/cluster.sh

print_of() { openssl x509 -noout -fingerprint -sha256 -in "$(cluster_file "$1" host.pem)"; }
has_event() { tw "$1" events --json >"$PAIR_DIR/events.$1" && grep -q "\"kind\": *\"$2\"" "$PAIR_DIR/events.$1"; }
await_event() { await "$AWAIT_S" "the event $2 on $1" has_event "$1" "$2"; }
cluster() { tw_must "$1" cluster "${@:2}" --config "$PAIR_DIR/$1.conf"; }

step "three hosts"
cluster_hosts
for host in $PAIR_HOSTS; do
	echo "heartbeat_ms = 300" >>"$PAIR_DIR/$host.conf"
done
cluster_init hostA --days 10
daemon_start hostA
await_event hostA certificate-ends
for host in hostB hostC; do
	invite hostA "invite-$host"
	joins "$host"
	wait "$INVITE_JOB" || fail "$(cat "$PAIR_DIR/invite-$host.log")"
	daemon_start "$host"
done
for host in $PAIR_HOSTS; do
	await_members "$host" hostA hostB hostC
done
await_event hostB members-changed
guest_start hostA vm1
protect vm1
client_start

step "new certificates under load"
session=$(procs_of hostA "twinvmd replicate source")
for host in hostB hostA; do
	before=$(print_of "$host")
	cluster "$host" rotate
	[[ $(print_of "$host") != "$before" ]] || fail "$host has the same certificate"
	await_event "$host" certificate-renewed
	goes_on "$host has a new certificate"
done
before=$(print_of hostC)
daemon_restart hostC TWINVM_FAULT=certificate_due
await_event hostC certificate-renewed
[[ $(print_of hostC) != "$before" ]] || fail "hostC has the same certificate"
[[ -n $session && $(procs_of hostA "twinvmd replicate source") = "$session" ]] || fail "the session of vm1 has ended"
await_pair hostA hostB vm1
# The new ones serve: each host dials, and is dialled.
qemu_start hostC vm2 -m 64 -display none -nodefaults
tw_must hostC protect vm2 --to hostB
tw_must hostC unprotect vm2
tw_must hostC protect vm2 --to hostA
tw_must hostC unprotect vm2
echo "renewed by hand and by itself, in one session"

step "a host is revoked"
tw_refuses hostB 1 'does not have the key of the CA.*on hostA' cluster revoke hostC --config "$PAIR_DIR/hostB.conf"
tw_refuses hostA 1 'hostA has the key of the CA' cluster revoke hostA --config "$PAIR_DIR/hostA.conf"
tw_refuses hostA 1 'hostX is no member' cluster revoke hostX --config "$PAIR_DIR/hostA.conf"
cp "$(cluster_file hostB host.pem)" "$PAIR_DIR/stolen.pem"
cp "$(cluster_file hostB ca.crt)" "$PAIR_DIR/ca.crt"
chmod 600 "$PAIR_DIR/stolen.pem"
cluster hostA revoke hostB
await_event hostA peer-revoked
await_members hostC hostA hostC
await_pair hostA hostC vm1
goes_on "protected by hostC"
qemu_start hostB vm3 -m 64 -display none -nodefaults
refused_by() { ! tw hostB protect vm3 --to "$1" >"$PAIR_DIR/refused" && grep -q 'rejected.*revoked' "$PAIR_DIR/refused"; }
for host in hostA hostC; do
	await "$AWAIT_S" "$host to refuse hostB: $(cat "$PAIR_DIR/refused" 2>/dev/null || true)" refused_by "$host"
	daemon_restart "$host"
	refused_by "$host" || fail "$host has forgotten it: $(cat "$PAIR_DIR/refused")"
done
await_pair hostA hostC vm1

step "it joins again, by a new certificate"
tw_refuses hostB 3 'in a cluster already' cluster join 10.0.0.1:1 --token "${LINE[4]}" --fingerprint "${LINE[6]}" --config "$PAIR_DIR/hostB.conf"
daemon_stop hostB
cluster hostB leave --force --for 1
[[ ! -e $(cluster_file hostB host.pem) ]] || fail "a key is left"
invite hostA invite-again
joins hostB
wait "$INVITE_JOB" || fail "$(cat "$PAIR_DIR/invite-again.log")"
daemon_start hostB
for host in $PAIR_HOSTS; do
	await_members "$host" hostA hostB hostC
done
tw_must hostB protect vm3 --to hostC
for host in hostA hostC; do
	out=$(host_run hostB "$PAIR_B/tools/hostile_peer" "$PAIR_DIR/ca.crt" "$PAIR_DIR/stolen.pem" "$PAIR_DIR/stolen.pem" \
		connect "${HOST_REPL_ADDR[$host]}" 7890 host=hostB protocol=4 hello 2>&1) || true
	grep -q 'rejected.*revoked' <<<"$out" || fail "the former certificate at $host: $out"
done

step "a host leaves"
tw_refuses hostB 3 'VMs run here' cluster leave --config "$PAIR_DIR/hostB.conf"
tw_refuses hostA 3 'VMs run here' cluster leave --config "$PAIR_DIR/hostA.conf"
tw_must hostB unprotect vm3
cluster hostB leave
[[ ! -e $(cluster_file hostB host.pem) ]] || fail "a key is left"
daemon_stop hostB
for host in hostA hostC; do
	await_members "$host" hostA hostC
done
await_pair hostA hostC vm1
client_ends
