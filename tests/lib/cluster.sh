# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hosts that become a cluster by `twinvm cluster`, for tests; source it after pair.sh. No certificate is made otherwise.
#
#   cluster_hosts            the hosts of PAIR_HOSTS, with configurations that have neither certificates nor peers
#   cluster_init HOST [OPTION]...    HOST is the first, without an invitation
#   invite HOST LOG [OPTION]...      an invitation begins to wait; LINE: the words after `twinvm` that another host is to give;
#                            INVITE_JOB: what `wait` takes
#   joins HOST               HOST gives them, and must be admitted; PRINTED
#   cluster_file HOST NAME   a file of its folder
#   members HOST             its members' names, sorted, on one line
#   await_members HOST NAME...
LINE=() INVITE_JOB='' INVITE_PID=''

cluster_conf() {
	cat >"$PAIR_DIR/$1.conf" <<-END
		bridge = br0
		media = $PAIR_B:$PAIR_DIR:/usr/share:/usr/lib
		arbiters = file://$PAIR_DIR/arbiter
	END
}
cluster_hosts() {
	local host
	PAIR_DIR=$(mktemp -d /tmp/twinvm-pair.XXXXXX)
	chmod 711 "$PAIR_DIR"
	mkdir "$PAIR_DIR/arbiter"
	# shellcheck disable=SC2086 # words
	hosts_up $PAIR_HOSTS client
	for host in $PAIR_HOSTS; do
		cluster_conf "$host"
	done
}
cluster_init() {
	tw_must "$1" cluster init --no-invite --address "${HOST_REPL_ADDR[$1]}" --config "$PAIR_DIR/$1.conf" \
		--arbiter "file://$PAIR_DIR/arbiter" "${@:2}"
}
invite() {
	local log=$PAIR_DIR/$2.log
	host_spawn "$1" "$log" "$PAIR_B/twinvm" cluster invite --config "$PAIR_DIR/$1.conf" "${@:3}"
	# shellcheck disable=SC2034 # for the caller
	INVITE_JOB=$SPAWNED_JOB INVITE_PID=$SPAWNED_PID
	await "$AWAIT_S" "the line of $1" grep -q '^    twinvm cluster join' "$log"
	read -r -a LINE < <(sed -n 's/^    twinvm //p' "$log")
}
joins() { tw_must "$1" "${LINE[@]}" --config "$PAIR_DIR/$1.conf"; }
cluster_file() { host_path "$1" "/var/lib/twinvm/cluster/$2"; }
members() {
	tw "$1" cluster list --json --config "$PAIR_DIR/$1.conf" | python3 -c '
import json, sys
print(*sorted(m["name"] for m in json.load(sys.stdin)["members"]))' 2>/dev/null || true
}
_has_members() { [[ $(members "$1") = "${*:2}" ]]; }
await_members() { await "$AWAIT_S" "$1 to have the members ${*:2}" _has_members "$@"; }
