#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# TLS to an etcd cluster that wants certificates. Who is not who the CA says, or is not asked for it, decides nothing: each
# case is a clear sentence. With user accounts: by password alone, and not without.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/certs.sh
. tests/lib/etcd.sh

VM=0123456789abcdef0123456789abcdef
# answers PATTERN OPTION...: three questions with these options, each answered with one line that matches
answers() {
	local question
	for question in "read $VM" "claim promote $VM B A s1 1" "claim alone $VM A B s1 1"; do
		# shellcheck disable=SC2086 # words
		says "$1" host_run "$ETCD_HOST" "$ETCD_TOOL" "${@:2}" $question
	done
	echo "$PRINTED"
}

hosts_up arb
dir=$HOSTS_DIR/certs
CERTS_SAN=IP:127.0.0.1,IP:${HOST_REPL_ADDR[arb]} certs_make "$dir" arb
certs_make "$dir" hostA
certs_make "$HOSTS_DIR/strangers" arb hostA
etcd_up arb "$dir"
good=(--ca "$dir/ca.crt" --cert "$dir/hostA.crt" --key "$dir/hostA.key")

host_run arb "$ETCD_TOOL" "${good[@]}" "$ETCD_LOCAL" claim pair $VM A B s1 1 | grep -q "^0 version=1" || fail "TLS with all in order"
host_run arb "$ETCD_TOOL" "${good[@]}" "$ETCD_URL" claim pair $VM A B s1 1 | grep -q "^0 version=2" || fail "TLS with all in order"
TWINVM_TEST_ETCD=$ETCD_LOCAL TWINVM_TEST_CA=$dir/ca.crt TWINVM_TEST_CERT=$dir/hostA.crt TWINVM_TEST_KEY=$dir/hostA.key \
	host_run arb "${B:-build}/tests/test_arbiter" >"$HOSTS_DIR/unit.log" 2>&1 || fail "test_arbiter: $(cat "$HOSTS_DIR/unit.log")"
[[ $(grep -c 'Running' "$HOSTS_DIR/unit.log") -eq 2 ]] || fail "test_arbiter did not use etcd"

answers "$ETCD_NO_ANSWER.*127.0.0.1:23791: .*(self.signed|unable to get local issuer|verif)" \
	--ca "$HOSTS_DIR/strangers/ca.crt" --cert "$dir/hostA.crt" --key "$dir/hostA.key" "$ETCD_LOCAL"
answers "$ETCD_NO_ANSWER.*127.0.0.1:23791: .*(alert|certificate|does it take arbiter_cert)" \
	--ca "$dir/ca.crt" --cert "$HOSTS_DIR/strangers/hostA.crt" --key "$HOSTS_DIR/strangers/hostA.key" "$ETCD_LOCAL"
answers "$ETCD_NO_ANSWER.*127.0.0.1:23791: .*(alert|certificate|does it take arbiter_cert)" --ca "$dir/ca.crt" "$ETCD_LOCAL"
# its certificate is for 127.0.0.1, not for this name
answers "$ETCD_NO_ANSWER.*localhost:23791: .*(subject name|match)" "${good[@]}" "etcds://localhost:23791"
# plain text to a TLS port, TLS to a plain text port
answers "$ETCD_NO_ANSWER.*127.0.0.1:23791: .*does it speak TLS .etcds" "${ETCD_LOCAL/etcds:/etcd:}"
# etcd's own ports between members are plain text here
answers "$ETCD_NO_ANSWER.*127.0.0.1:23801: .*does it speak TLS" "${good[@]}" etcds://127.0.0.1:23801
# what is wrong in the configuration
answers "^EINVAL .*needs arbiter_ca" "$ETCD_LOCAL"
answers "^EINVAL .*without the configured TLS.*use etcds://" "${good[@]}" "${ETCD_LOCAL/etcds:/etcd:}"
answers "^EINVAL arbiter_cert and arbiter_key belong together" --ca "$dir/ca.crt" --cert "$dir/hostA.crt" "$ETCD_LOCAL"
answers "^ENOENT arbiter_ca /no/ca.crt: No such file" --ca /no/ca.crt "$ETCD_LOCAL"
answers "$ETCD_NO_ANSWER.*23791: .*(key|certificate)" --ca "$dir/ca.crt" --cert "$dir/hostA.crt" --key "$HOSTS_DIR/strangers/hostA.key" "$ETCD_LOCAL"

# a member whose certificate is over: TLS ends before etcd's part, so that any TLS server will do
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=old -keyout "$dir/old.key" -out "$dir/old.csr" 2>/dev/null
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >"$dir/old.ext"
openssl x509 -req -in "$dir/old.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days -1 -set_serial 7 -extfile "$dir/old.ext" \
	-out "$dir/old.crt" 2>/dev/null
host_spawn arb "$HOSTS_DIR/old.log" openssl s_server -accept 23790 -cert "$dir/old.crt" -key "$dir/old.key" -WWW
await 10 "the TLS server" grep -q ACCEPT "$HOSTS_DIR/old.log"
answers "$ETCD_NO_ANSWER.*127.0.0.1:23790: .*certificate has expired" "${good[@]}" etcds://127.0.0.1:23790
# beside sound members it does not matter
host_run arb "$ETCD_TOOL" "${good[@]}" "etcds://127.0.0.1:23790,${ETCD_LOCAL#etcds://}" claim pair $VM A B s1 1 | grep -q "^0 version=1" ||
	fail "one member's certificate is over"
answers "^0 version=|^LOST" "${good[@]}" "$ETCD_LOCAL"

# ---- user accounts ----
# Where etcd has accounts, its gateway refuses certificates with a common name.
hosts_add accounts
CERTS_SAN=IP:127.0.0.1,IP:${HOST_REPL_ADDR[accounts]} certs_make "$dir" accounts
ETCD_NO_CLIENT_CERTS=1 etcd_up accounts "$dir"
good=(--ca "$dir/ca.crt")
ctl() { # PATH JSON: of etcd's gateway, as root when there are accounts
	host_run accounts curl -sS --http1.1 --fail-with-body --cacert "$dir/ca.crt" \
		-H "Authorization: ${token:-}" -d "$2" "https://127.0.0.1:23791/v3/auth/$1" >"$HOSTS_DIR/ctl.log" 2>&1 ||
		fail "etcd, $1: $(cat "$HOSTS_DIR/ctl.log")"
}
ctl user/add '{"name":"root","password":"secret"}'
ctl role/add '{"name":"root"}'
ctl user/grant '{"user":"root","role":"root"}'
ctl role/add '{"name":"twinvm"}'
# /twinvm/ and all below it
ctl role/grant '{"name":"twinvm","perm":{"permType":"READWRITE","key":"L3R3aW52bS8=","range_end":"L3R3aW52bTA="}}'
ctl user/add '{"name":"hosts","password":"pass \"word\""}'
ctl user/grant '{"user":"hosts","role":"twinvm"}'
ctl user/add '{"name":"nobody","password":"nothing"}'
ctl enable '{}'
ctl authenticate '{"name":"root","password":"secret"}'
token=$(sed 's/.*"token":"\([^"]*\)".*/\1/' "$HOSTS_DIR/ctl.log")
printf 'pass "word"\n' >"$HOSTS_DIR/password"
echo nothing >"$HOSTS_DIR/nothing"
account=("${good[@]}" --user hosts --password-file "$HOSTS_DIR/password")
answers "$ETCD_NO_ANSWER.*(user name is empty: it wants arbiter_user|HTTP status 401)" "${good[@]}" "$ETCD_LOCAL"
answers "arbiter_user: no answer from etcd.*authentication failed" "${good[@]}" --user hosts --password-file "$HOSTS_DIR/nothing" "$ETCD_LOCAL"
answers "$ETCD_NO_ANSWER.*permission denied" "${good[@]}" --user nobody --password-file "$HOSTS_DIR/nothing" "$ETCD_LOCAL"
answers "^EINVAL .*belong together" "${good[@]}" --user hosts "$ETCD_LOCAL"
answers "^EINVAL .*in plain text: use etcds" --user hosts --password-file "$HOSTS_DIR/password" "${ETCD_LOCAL/etcds:/etcd:}"
answers "^ENOENT arbiter_password_file /no/file" "${good[@]}" --user hosts --password-file /no/file "$ETCD_LOCAL"
answers "^0 version=|^LOST|^ENOENT" "${account[@]}" "$ETCD_LOCAL"
account_may() {
	host_run accounts "$ETCD_TOOL" "${account[@]}" "$ETCD_LOCAL" "$@" >"$HOSTS_DIR/may.log" 2>&1 || fail "$*: $(cat "$HOSTS_DIR/may.log")"
}
account_may announce hostA 127.0.0.1:1 1 1 green
account_may members
grep -q hostA "$HOSTS_DIR/may.log" || fail "no host: $(cat "$HOSTS_DIR/may.log")"
account_may forget "$VM"
# One handle: accounts change, and the token that it has does not count any more.
{
	echo
	await "$AWAIT_S" "the first answer" grep -q '^0' "$HOSTS_DIR/probes.log"
	ctl user/add '{"name":"another","password":"x"}'
	echo
} | host_run accounts "$ETCD_TOOL" "${account[@]}" "$ETCD_LOCAL" probes >"$HOSTS_DIR/probes.log" 2>&1 || fail "$(cat "$HOSTS_DIR/probes.log")"
[[ $(grep -c '^0' "$HOSTS_DIR/probes.log") -eq 2 ]] || fail "a token that does not count: $(cat "$HOSTS_DIR/probes.log")"
echo "user accounts: by password alone"
