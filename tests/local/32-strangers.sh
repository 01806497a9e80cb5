#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who gets in: a certificate of the CA is not enough, the name must be a peer's, and neither revoked by name nor by the CA's
# list, in both directions. A key that others can read is refused. Connections that send nothing cost no process and keep no
# peer out, wherever they come from.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/pair.sh

certs=
# knock PATTERN NAME: a Hello with NAME's certificate, from hostA to hostB; what the tool prints matches
knock() {
	local out
	out=$(host_run hostA "$PAIR_B/tools/hostile_peer" "$certs/ca.crt" "$certs/$2.crt" "$certs/$2.key" \
		connect "${HOST_REPL_ADDR[hostB]}" 7890 host="$2" protocol=4 hello 2>&1) || true
	grep -qiE -- "$1" <<<"$out" || fail "$2 at hostB: '$out' does not match '$1'"
	echo "$2: ${out##*$'\n'}"
}
log_has() { await "$AWAIT_S" "'$2' in the log of $1" logged "$1" "$2"; }
reload() {
	local before
	before=$(times_logged "$1" "$2")
	kill -HUP "${DAEMON_PID[$1]}"
	await "$AWAIT_S" "$1 to have read its configuration" logged "$1" "$2" $((before + 1))
}
crl_make() { # the CA revokes NAME...
	local name
	printf '[ca]\ndefault_ca=d\n[d]\ndatabase=%s\ndefault_md=sha256\ndefault_crl_days=%s\nunique_subject=no\n' \
		"$PAIR_DIR/ca.index" "${CRL_DAYS:-30}" >"$PAIR_DIR/ca.conf"
	touch "$PAIR_DIR/ca.index"
	for name in "$@"; do
		openssl ca -config "$PAIR_DIR/ca.conf" -keyfile "$certs/ca.key" -cert "$certs/ca.crt" -revoke "$certs/$name.crt" 2>&1
	done >"$PAIR_DIR/ca.log"
	openssl ca -config "$PAIR_DIR/ca.conf" -keyfile "$certs/ca.key" -cert "$certs/ca.crt" -gencrl \
		-out "$PAIR_DIR/ca.crl" >>"$PAIR_DIR/ca.log" 2>&1 || fail "no CRL: $(cat "$PAIR_DIR/ca.log")"
}

pair_up
certs=$PAIR_DIR/certs
certs_make "$certs" printer hostC hostD
sed -i "/^peer/d" "$PAIR_DIR/hostB.conf"
cat >>"$PAIR_DIR/hostB.conf" <<-END
	peer.hostA = ${HOST_REPL_ADDR[hostA]}:7890
	peer.hostC = -
	peer.hostD = -
END
daemon_restart hostB
qemu_start hostA vm1 -m 64 -display none -nodefaults

# ---- names ----
knock 'rejected this host.s certificate.*peer\.printer' printer
log_has hostB "printer is not a peer of hostB: add peer.printer to its configuration"
knock 'refuse:' hostC # past the handshake: its Hello is looked at
echo "revoked = hostC, hostX" >>"$PAIR_DIR/hostB.conf"
knock 'rejected.*revoked' hostC
log_has hostB "the certificate of hostC is revoked"
# the host that dials has a list, too
sed -i 's/^peer.hostB/peer.hostZ/' "$PAIR_DIR/hostA.conf"
reload hostA "configuration read again"
tw_refuses hostA 1 "hostB is not a peer of hostA: add peer.hostB" protect vm1 --to "${HOST_REPL_ADDR[hostB]}:7890"
sed -i 's/^peer.hostZ/peer.hostB/' "$PAIR_DIR/hostA.conf"
reload hostA "configuration read again"

# ---- the CA's list ----
knock 'refuse:' hostD
crl_make hostD
echo "crl = $PAIR_DIR/ca.crl" >>"$PAIR_DIR/hostB.conf"
reload hostB "configuration read again"
knock 'rejected.*revoked' hostD
protect vm1
tw_must hostA unprotect vm1
rm "$PAIR_DIR/ca.crl"
reload hostB "cannot read the CRL $PAIR_DIR/ca.crl.*old configuration stays"
tw_refuses hostA 1 "connection (lost|closed|reset)|closed the connection|reset" protect vm1 --to hostB
log_has hostB "sink.*cannot read the CRL $PAIR_DIR/ca.crl"
sed -i '/^crl/d' "$PAIR_DIR/hostB.conf"

# ---- keys ----
chmod 640 "$certs/hostB.key"
reload hostB "hostB.key can be read by other users (mode 640): chmod 600"
rc=0
out=$(host_run hostB "$PAIR_B/twinvmd" --config "$PAIR_DIR/hostB.conf" 2>&1) || rc=$?
[[ $rc -eq 1 && $out = *"can be read by other users (mode 640): chmod 600"* ]] || fail "a key that others can read: $rc, $out"
chmod 600 "$certs/hostB.key"
reload hostB "configuration read again"
echo "a key that others can read: $out"

# ---- silent connections ----
cat >"$PAIR_DIR/silent.py" <<-'END'
	import select, socket, sys
	def connect():
	    s = socket.create_connection((sys.argv[1], 7890))
	    s.setblocking(False)
	    return s
	held = [connect() for _ in range(int(sys.argv[2]))]
	print("connected", flush=True)
	while True:  # those that were ended come again, ten times a second: silence, not a flood
	    select.select([], [], [], 0.1)
	    for s in select.select(held, [], [], 0)[0]:
	        s.close()
	        held[held.index(s)] = connect()
END
host_spawn client "$PAIR_DIR/silent-client.log" python3 "$PAIR_DIR/silent.py" "${HOST_ADDR[hostB]}" 200
others=$SPAWNED_PID
host_spawn hostA "$PAIR_DIR/silent-hostA.log" python3 "$PAIR_DIR/silent.py" "${HOST_REPL_ADDR[hostB]}" 40
own=$SPAWNED_PID
await "$AWAIT_S" "200 silent connections" grep -q connected "$PAIR_DIR/silent-client.log"
await "$AWAIT_S" "40 silent connections" grep -q connected "$PAIR_DIR/silent-hostA.log"
no_procs hostB "twinvmd replicate sink" || fail "silent connections have processes"
fds=$(find "/proc/${DAEMON_PID[hostB]}/fd" -type l | wc -l)
((fds < 100)) || fail "twinvmd has $fds descriptors"
for ((i = 0; i < 5; i++)); do
	protect vm1
	tw_must hostA unprotect vm1
done
kill -0 "$others" "$own" || fail "the silent connections have ended"
log_has hostB "connection from .* ended: it was silent"
echo "200 silent connections of another address and 40 of hostA's: $fds descriptors, no process, 5 of 5 times protected"
kill "$others" "$own"
