# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A real etcd cluster (Debian's etcd-server) in a host of tests/lib/hosts.sh; source it after that one.
#
#   etcd_up HOST [CERTS]     three members in HOST, which hosts_up or hosts_add made; waits until the cluster takes
#                            writes. ETCD_URL is its URL in the hosts' network, ETCD_LOCAL in HOST itself
#                            (127.0.0.1). CERTS: a folder of certs_make with HOST's certificate: TLS, and clients
#                            have to show a certificate of that CA, unless ETCD_NO_CLIENT_CERTS is set. ETCD_NET=client: reached through the client
#                            network, not the replication network
#   etcd_kill N, etcd_start N    kill -9 of member 1 to 3, and its start with the data it has
#   etcd_freeze N, etcd_thaw N   it hangs, and comes back
#   etcd_await_writes        waits until the cluster takes writes
#   ETCD_NO_ANSWER           how an arbiter tool's line begins that knows nothing, which must never look like an answer:
#                            neither success nor LOST nor ENOENT
#   arbiter HOST [OPTION]... URL COMMAND...  tools/arbiter in a host; with the certificates of etcd_up for etcds://
#
# Members end with the host. Their data are in the host's /var/lib/etcd-N, which outlives a power cut.

declare -A ETCD_PID=() ETCD_JOB=()
ETCD_HOST='' ETCD_ADDR='' ETCD_CERTS='' ETCD_URL='' ETCD_LOCAL=''
ETCD_TOOL=$HOSTS_ROOT/${B:-build}/tools/arbiter

ETCD_NO_ANSWER="^(ETIMEDOUT|EHOSTUNREACH|PROTOCOL) no answer from etcd: more than half"

_etcd_die() {
	echo "etcd: $*" >&2
	exit 1
}

etcd_start() {
	local n=$1 s='' tls=()
	if [[ -n $ETCD_CERTS ]]; then
		s=s
		tls=(--cert-file "$ETCD_CERTS/$ETCD_HOST.crt" --key-file "$ETCD_CERTS/$ETCD_HOST.key")
		[[ -n ${ETCD_NO_CLIENT_CERTS:-} ]] || tls+=(--trusted-ca-file "$ETCD_CERTS/ca.crt" --client-cert-auth)
	fi
	host_spawn "$ETCD_HOST" "$HOSTS_DIR/etcd-$n.log" etcd --name "m$n" --data-dir "/var/lib/etcd-$n" \
		--listen-client-urls "http$s://${ETCD_ANY:-0.0.0.0}:2379$n" \
		--advertise-client-urls "http$s://$ETCD_ADDR:2379$n" \
		--listen-peer-urls "http://127.0.0.1:2380$n" --initial-advertise-peer-urls "http://127.0.0.1:2380$n" \
		--initial-cluster m1=http://127.0.0.1:23801,m2=http://127.0.0.1:23802,m3=http://127.0.0.1:23803 \
		--initial-cluster-token "twinvm-$$" --snapshot-count 1000 "${tls[@]}"
	ETCD_PID[$n]=$SPAWNED_PID
	ETCD_JOB[$n]=$SPAWNED_JOB
}
etcd_kill() {
	kill -9 "${ETCD_PID[$1]}"
	wait "${ETCD_JOB[$1]}" 2>/dev/null || true
}
etcd_freeze() { kill -STOP "${ETCD_PID[$1]}"; }
etcd_thaw() { kill -CONT "${ETCD_PID[$1]}"; }

arbiter() {
	local host=$1 tls=()
	shift
	[[ " $* " != *" etcds://"* ]] || tls=(--ca "$ETCD_CERTS/ca.crt" --cert "$ETCD_CERTS/$ETCD_HOST.crt" --key "$ETCD_CERTS/$ETCD_HOST.key")
	host_run "$host" "$ETCD_TOOL" "${tls[@]}" "$@" 2>&1
}

_etcd_writes() {
	arbiter "$ETCD_HOST" "$ETCD_LOCAL" announce awaited 127.0.0.1:1 1 1 red >/dev/null
}
etcd_await_writes() {
	await 30 "etcd to take writes" _etcd_writes || {
		tail -n 20 "$HOSTS_DIR"/etcd-*.log >&2
		_etcd_die "the cluster does not come up"
	}
}

etcd_up() {
	local n s='' ETCD_ANY=
	[[ $(host_url "$1") != \[* ]] || ETCD_ANY='[::]'
	command -v etcd >/dev/null || _etcd_die "no etcd: run 'make deps'"
	ETCD_HOST=$1 ETCD_CERTS=${2:-} ETCD_ADDR=$(host_url "$1")
	[[ ${ETCD_NET:-} != client ]] || ETCD_ADDR=${HOST_ADDR[$1]}
	[[ -z $ETCD_CERTS ]] || s=s
	ETCD_URL=etcd$s://
	ETCD_LOCAL=etcd$s://
	for n in 1 2 3; do
		etcd_start "$n"
		ETCD_URL+=$ETCD_ADDR:2379$n,
		ETCD_LOCAL+=127.0.0.1:2379$n,
	done
	ETCD_URL=${ETCD_URL%,}
	ETCD_LOCAL=${ETCD_LOCAL%,}
	etcd_await_writes
}
