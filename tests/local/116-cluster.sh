#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# From bare hosts to a protected VM with `twinvm cluster init` and the line that it prints. What must not join is refused,
# with the reason, and changes nothing: a wrong, used or expired token, a wrong fingerprint, a taken name, a host that is in
# a cluster. Strangers at the port of an invitation keep nobody out.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_HOSTS="hostA hostB hostC"
. tests/lib/pair.sh
. tests/lib/cluster.sh

version() { tw "$1" cluster list --json --config "$PAIR_DIR/$1.conf" | sed -n 's/.*"version": \([0-9]*\),/\1/p'; }
# not_joined PATTERN WORD...: hostC gives LINE with these words after it, is refused, and nothing has changed
not_joined() {
	local before
	before=$(version hostA)
	tw_refuses hostC 1 "$1" "${LINE[@]}" --config "$PAIR_DIR/hostC.conf" "${@:2}"
	[[ $(version hostA) = "$before" ]] || fail "$1: the roster has changed"
	[[ ! -e $(cluster_file hostC host.pem) && ! -e $(cluster_file hostC next.key) ]] || fail "$1: a key is left"
	if grep -q ^cluster "$PAIR_DIR/hostC.conf"; then fail "$1: the configuration has changed"; fi
	echo "refused: $PRINTED"
}

cluster_hosts

step "the first host"
tw_refuses hostA 1 'several addresses.*--address' cluster init --config "$PAIR_DIR/hostA.conf"
[[ ! -e $(cluster_file hostA ca.key) ]] || fail "a key was made"
host_spawn hostA "$PAIR_DIR/init.log" "$PAIR_B/twinvm" cluster init --address "${HOST_REPL_ADDR[hostA]}" \
	--config "$PAIR_DIR/hostA.conf" --arbiter "file://$PAIR_DIR/arbiter"
init=$SPAWNED_JOB
await "$AWAIT_S" "the line to join" grep -q '^    twinvm cluster join' "$PAIR_DIR/init.log"
read -r -a LINE < <(sed -n 's/^    twinvm //p' "$PAIR_DIR/init.log")
for file in ca.key host.pem; do
	[[ $(stat -c '%a %u' "$(cluster_file hostA "$file")") = "600 0" ]] || fail "$file: $(stat -c '%a %u' "$(cluster_file hostA "$file")")"
done

step "the second host"
joins hostB
wait "$init" || fail "init has failed: $(cat "$PAIR_DIR/init.log")"
print=$(tail -n 1 "$PAIR_DIR/init.log")
grep -qF -- "$print" <<<"$PRINTED" || grep -qF -- "${print// /}" <<<"$PRINTED" || fail "the two show other fingerprints: '$print', '$PRINTED'"
used=("${LINE[@]}")
for host in hostA hostB; do
	daemon_start "$host"
	await_members "$host" hostA hostB
done
qemu_start hostA vm1 -m 64 -display none -nodefaults
protect vm1
await_pair hostA hostB vm1
echo "protected, $(grep -c . "$PAIR_DIR/hostA.conf") lines of configuration"

step "what must not join"
tw_refuses hostA 3 'in a cluster already' cluster init --no-invite --address "${HOST_REPL_ADDR[hostA]}" --config "$PAIR_DIR/hostA.conf"
tw_refuses hostB 1 'the key of the CA is on hostA: invite there' cluster invite --config "$PAIR_DIR/hostB.conf"
invite hostA invite-1
good=("${LINE[@]}")
LINE=("${good[@]/${good[4]}/${used[4]}}")
not_joined 'used already, by hostB'
LINE=("${good[@]/${good[4]}/00000000000000000000000000000000}")
not_joined 'the token is wrong'
LINE=("${good[@]/${good[4]}/${good[4]::31}}")
not_joined 'the token is not whole'
wrong=$(rev <<<"${good[6]}")
LINE=("${good[@]/${good[6]}/$wrong}")
not_joined 'does not have the fingerprint.*Nothing was sent'
LINE=("${good[@]}")
not_joined 'hostB is taken.*--name' --name hostB
not_joined "no name for a host" --name 'host C'
tw_refuses hostB 3 'in a cluster already.*leave' "${LINE[@]}" --config "$PAIR_DIR/hostB.conf"
cp "$PAIR_DIR/hostC.conf" "$PAIR_DIR/own.conf"
echo "cert = /etc/x.crt" >>"$PAIR_DIR/own.conf"
tw_refuses hostC 3 'certificates of another making.*Nothing was changed' "${LINE[@]}" --config "$PAIR_DIR/own.conf"

step "strangers at the port"
cat >"$PAIR_DIR/strangers.py" <<-'END'
	import socket, sys
	held = []
	for n in range(60):
	    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
	    if n % 3 == 1: s.sendall(b"GET / HTTP/1.0\r\n\r\n")
	    if n % 3 == 2: s.sendall(b"\x16\x03\x01\x40\x00" + b"\xff" * 4096)
	    held.append(s)
	print("connected", flush=True)
	sys.stdin.read()
END
host_spawn client "$PAIR_DIR/strangers.log" bash -c "tail -f /dev/null | python3 $PAIR_DIR/strangers.py ${HOST_ADDR[hostA]} 7892"
await "$AWAIT_S" "60 connections" grep -q connected "$PAIR_DIR/strangers.log"
joins hostC
wait "$INVITE_JOB" || fail "the invitation has failed: $(cat "$PAIR_DIR/invite-1.log")"
daemon_start hostC
await_members hostA hostA hostB hostC
qemu_start hostC vm2 -m 64 -display none -nodefaults
tw_must hostC protect vm2 --to hostA

step "invitations end"
invite hostA invite-2 --for 1
rc=0
wait "$INVITE_JOB" || rc=$?
grep -q 'no host has joined within 1 s' "$PAIR_DIR/invite-2.log" && ((rc == 1)) || fail "$rc: $(cat "$PAIR_DIR/invite-2.log")"
expired=${LINE[4]}
hosts_add hostD
cluster_conf hostD
invite hostA invite-3
tw_refuses hostD 1 'the token has expired' "${LINE[@]/${LINE[4]}/$expired}" --config "$PAIR_DIR/hostD.conf"
for ((i = 1; i < 10; i++)); do
	tw_refuses hostD 1 'the token is wrong' "${LINE[@]/${LINE[4]}/0000000000000000000000000000000$i}" --config "$PAIR_DIR/hostD.conf"
done
tw hostD "${LINE[@]/${LINE[4]}/00000000000000000000000000000000}" --config "$PAIR_DIR/hostD.conf" >/dev/null && fail "a wrong token has joined"
rc=0
wait "$INVITE_JOB" || rc=$?
grep -q '10 wrong tokens came' "$PAIR_DIR/invite-3.log" && ((rc == 1)) || fail "$rc: $(cat "$PAIR_DIR/invite-3.log")"
withdrawn=${LINE[4]}
invite hostA invite-4
tw_refuses hostD 1 'the token has expired' "${LINE[@]/${LINE[4]}/$withdrawn}" --config "$PAIR_DIR/hostD.conf"
kill "$INVITE_PID"
wait "$INVITE_JOB" 2>/dev/null || true
tw_refuses hostD 1 'no connection to.*is the invitation over' "${LINE[@]}" --config "$PAIR_DIR/hostD.conf"
await_pair hostA hostB vm1
step "done"
